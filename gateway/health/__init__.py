"""Gathers the answers to ``GET /health`` and ``GET /metrics`` of the gateway.

It may import ``shared`` and ``gateway.accept``. Start with ``report``.
"""
