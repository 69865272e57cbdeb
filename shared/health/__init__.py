"""Publishes the state of a worker process: an HTTP route for probes, and a heartbeat in Redis.

It may import ``shared.breaker``, ``shared.redis`` and what lies below them. Start with ``registry`` (the records in
Redis), then ``server`` (``/health`` and ``/metrics``).
"""
