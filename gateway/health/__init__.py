"""Gathers what ``GET /health`` and ``GET /metrics`` of the gateway say.

It may import ``shared`` and ``gateway.accept``. Start with ``report``.
"""
