"""Accepts notifications: validates, looks for duplicates, publishes with confirms, remembers what was accepted.

It may import ``shared`` and ``gateway.http``. Start with ``candidate`` (what one document becomes), then ``acceptor``
(from a candidate to its verdict).
"""
