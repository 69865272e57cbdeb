"""Publishes the rows of an upstream's outbox: what an upstream commits in its own PostgreSQL reaches its users.

Start with ``relay``; ``rows`` makes a notification of a row. docs/outbox.md describes it for upstreams.
"""
