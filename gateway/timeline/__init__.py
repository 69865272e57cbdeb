"""Reads the timeline for the HTTP API.

It may import ``shared`` and ``gateway.http``. Start with ``timelines``; ``answers`` is what callers see.
"""
