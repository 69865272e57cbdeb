"""Talks to RabbitMQ: keeps connections, declares queues, publishes with confirms, consumes lane by lane, acks.

It is the only package that imports pika or writes an acknowledgement. It does not know what a message means. It may
import ``shared.settings``, ``shared.message`` and the modules of ``shared`` itself. Start with ``topology`` (all
names and arguments), then ``publisher`` and ``consumer``.
"""
