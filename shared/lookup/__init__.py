"""Looks things up in services that answer ``GET {endpoint}/{key}``, through a breaker and two caches.

It may import ``shared.breaker``, ``shared.redis``, ``shared.http`` and what lies below them. Start with ``cached``.
"""
