"""Writes the timeline: consumes ``events.queue``, and keeps the events in the database.

Start with ``intake`` (from a message to its ack), then ``reconciler`` (publishes again what has got lost).
"""
