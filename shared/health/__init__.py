"""What a worker process tells about itself: an HTTP route for probes, and a heartbeat in Redis.

It may import ``shared.breaker``, ``shared.redis`` and what lies below them. Start with ``registry`` (what is in
Redis), then ``server`` (``/health`` and ``/metrics``).
"""
