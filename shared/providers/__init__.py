"""Defines what a provider is, reads provider URLs, and chooses the provider that gets the next call.

The vendors themselves are under ``services/``. The package may import ``shared.breaker``, ``shared.http`` and what
lies below them. Start with ``provider`` (what a vendor's class implements), then ``refusal`` (what its answers can
mean).
"""
