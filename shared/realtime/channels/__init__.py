"""Keeps channels: messages to whoever listens, with a short history. They are a cache in Redis and promise no more.

A channel keeps its last ``CHANNEL_KEEP`` messages of each priority for ``CHANNEL_KEEP_S`` seconds. One sequence numbers
the messages of all three priorities, so a subscriber has one position; within what is kept it can be continued, and it
is told when it cannot. Start with ``names``; ``sender`` sends, ``reader`` reads.
"""
