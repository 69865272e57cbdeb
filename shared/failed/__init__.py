"""``failed.queue`` for operators: list, show, replay and discard what could not be delivered.

``gateway`` and ``ops`` are its two faces. It may import ``shared.broker`` and what lies below it. Start with
``queue``.
"""
