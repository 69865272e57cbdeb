"""Accepts notifications over HTTP: a Flask application that answers 202 once RabbitMQ has confirmed a notification.

It may import ``shared``, never ``services``, ``ops`` or ``sandbox``. Start with ``app`` (the routes), then ``wiring``
(what stands behind them), then ``accept``.
"""
