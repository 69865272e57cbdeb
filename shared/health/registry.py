"""Exchanges data between worker processes and operators through Redis: heartbeats, and breakers forced by hand.

::

    notify-workers:<channel>    hash: instance -> JSON of the worker's state and at_ms, when it was written
    notify-breakers-forced      hash: <channel>/<provider or source> -> open | closed

Ages are measured by Redis' clock alone, so that machines with different clocks agree on which workers are alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson
import redis
import redis.asyncio

from shared.redis.client import store_errors

Forced = Literal["open", "closed"]

#: The names of the breakers in front of the user and the template service: each worker of a channel has its own, and
#: no provider has such a name.
SOURCES = ("users", "templates")

#: A worker counts as dead after this number of missed heartbeats.
HEARTBEATS_MISSED = 3
#: A worker that has been forwarding a message for this long is degraded, seconds. It is the default of
#: ``PUBLISH_DEADLINE_S``, for which the first publish of a forward may wait for its confirm.
SLOW_FORWARD_S = 5.0
_FORCED = "notify-breakers-forced"
# It deletes an entry only if it is unchanged since it was read: its worker may have come back in between.
_FORGET = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end"


class WorkerState:
    """Writes and reads the records of one worker. Every method raises RedisUnavailable.

    ``heartbeat_s``: interval of its heartbeats, seconds.
    """

    def __init__(self, client: redis.asyncio.Redis, channel: str, instance: str, heartbeat_s: float) -> None:
        self._client = client
        self._channel = channel
        self._key = _workers_key(channel)
        self._instance = instance
        self._life_ms = round(HEARTBEATS_MISSED * heartbeat_s * 1000)

    async def beat(self, state: Mapping[str, Any]) -> None:
        """Writes ``state`` with the current time, and deletes the entries of dead workers.

        Without a further heartbeat the entry stops counting after three heartbeat intervals.
        """
        with store_errors():
            at_ms = _ms(await self._client.time())
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hset(self._key, self._instance, orjson.dumps({**state, "at_ms": at_ms}))
            pipeline.pexpire(self._key, self._life_ms)
            pipeline.hgetall(self._key)
            *_, entries = await pipeline.execute()
            for instance, value in entries.items():
                if _living(value, at_ms - self._life_ms) is None:
                    await self._client.eval(_FORGET, 1, self._key, instance, value)

    async def remove(self) -> None:
        """Removes the entry; a worker that shuts down gracefully calls this."""
        with store_errors():
            await self._client.hdel(self._key, self._instance)

    async def forced(self) -> dict[str, Forced]:
        """Returns provider -> open|closed for this channel's breakers that an operator has forced."""
        with store_errors():
            found = _readable(await self._client.hgetall(_FORCED))
        return {provider: how for (channel, provider), how in found.items() if channel == self._channel}


def read_workers(
    client: redis.Redis, channels: Iterable[str], heartbeat_s: float
) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns channel -> instance -> state of the live workers. Writes nothing. Raises RedisUnavailable."""
    names = tuple(channels)
    with store_errors(), client.pipeline(transaction=False) as pipeline:
        pipeline.time()
        for channel in names:
            pipeline.hgetall(_workers_key(channel))
        time, *hashes = pipeline.execute()
    oldest_ms = _ms(time) - round(HEARTBEATS_MISSED * heartbeat_s * 1000)
    return {
        channel: {
            instance.decode("utf-8", "replace"): state
            for instance, value in entries.items()
            if (state := _living(value, oldest_ms)) is not None
        }
        for channel, entries in zip(names, hashes, strict=True)
    }


def force_breaker(client: redis.Redis, channel: str, provider: str, how: Forced | None) -> None:
    """Forces a provider's breaker open or closed; None lets the breakers decide again. Raises RedisUnavailable.

    Every worker of the channel applies it at its next heartbeat.
    """
    with store_errors():
        if how is None:
            client.hdel(_FORCED, f"{channel}/{provider}")
        else:
            client.hset(_FORCED, f"{channel}/{provider}", how)


def forced_breakers(client: redis.Redis) -> dict[tuple[str, str], Forced]:
    """Returns (channel, provider) -> open|closed of all forced breakers. Raises RedisUnavailable."""
    with store_errors():
        return _readable(client.hgetall(_FORCED))


def _living(value: bytes, oldest_ms: int) -> dict[str, Any] | None:
    """Returns the state of a worker with a heartbeat since ``oldest_ms``; None if it is older or unreadable."""
    try:
        state = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(state, dict) or not isinstance(state.get("at_ms"), int):
        return None
    return state if state["at_ms"] >= oldest_ms else None


def _readable(forced: Mapping[Any, Any]) -> dict[tuple[str, str], Forced]:
    """Returns the valid entries; ignores values except open and closed, as the operator's command writes no other."""
    found: dict[tuple[str, str], Forced] = {}
    for name, value in forced.items():
        channel, _, provider = name.decode("utf-8", "replace").partition("/")
        how = _HOW.get(value)
        if provider and how is not None:
            found[channel, provider] = how
    return found


_HOW: Mapping[bytes, Forced] = {b"open": "open", b"closed": "closed"}


def _workers_key(channel: str) -> str:
    return f"notify-workers:{channel}"


def _ms(time: tuple[int, int]) -> int:
    seconds, microseconds = time
    return seconds * 1000 + microseconds // 1000
