"""Lists, shows, replays and discards undelivered messages in ``failed.queue``, for operators.

``gateway`` and ``ops`` offer it to operators. It may import ``shared.broker`` and what lies below it. Start with
``queue``.
"""
