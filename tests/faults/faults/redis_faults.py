"""Breaks a Redis while it serves. All functions block: call them in a thread."""

from __future__ import annotations

import time

import redis

from ops.servers import RedisServer

#: limit of an fsync, seconds
FSYNC_S = 10.0


def flush(server: RedisServer) -> None:
    """Runs FLUSHALL: everything is deleted at once."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


def limit(server: RedisServer, maxmemory: str) -> None:
    """Sets the memory limit. ``1``: Redis is full from now on and refuses every write; ``0``: no limit."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", maxmemory)


def kill_between_fsyncs(server: RedisServer) -> None:
    """Kills Redis with SIGKILL at a moment when everything that it has acknowledged is in the kernel.

    Redis writes its append-only file before it answers, except while a background fsync of it runs: then up to two
    seconds of answers are in its own memory only. That is what ``appendfsync everysec`` means, and no fault of the
    product.
    """
    give_up_at = time.monotonic() + FSYNC_S
    with redis.Redis.from_url(server.url) as client:
        while client.info("persistence")["aof_pending_bio_fsync"]:
            if time.monotonic() > give_up_at:
                raise AssertionError(f"Redis has been in one fsync for {FSYNC_S:.0f} s")
            time.sleep(0.005)
        server.kill()
