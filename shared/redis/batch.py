"""Calls Redis in micro-batches: all calls of one turn of the event loop are sent together, one command per script.

The cost of a round trip, in Python and in system calls, is paid once per batch instead of once per call. While one
batch is in flight the next one gathers, so batches grow with the load and stay small without it. Measured side by side
with 256 calls in flight (``python -m bench.redis_clients``, on a busy machine: the ratio is what counts): 7 us of CPU
per call, against 229 us with redis-py's asyncio client and a pool of 64 connections. A message needs two calls, a claim
and a record, and its whole delivery takes about 100 us.

If a call was sent and got no answer, it fails together with its whole batch; it may have been carried out, so every
script can be repeated safely. If a call was not sent when a connection ended, it is sent over the next one. No failure
leaves a caller waiting or the batcher stuck, and a Redis that has lost its scripts (NOSCRIPT) gets them again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import hiredis

from shared.redis.client import TIMEOUT_S
from shared.redis.connection import Single, Wire, open_wire, pack, unavailable

#: most calls of one script in one command: Redis serves no other client while a script runs
MOST_CALLS = 128
#: with this many commands or more in flight, further calls wait and gather
MOST_IN_FLIGHT = 4


class Batcher:
    """Sends all scripts and commands of one process to one Redis, over one connection that it opens when needed."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._scripts: list[BatchedScript] = []
        self._singles: list[Single] = []
        self._again: list[Batch] = []
        self._wire: Wire | None = None
        self._connecting: asyncio.Task[Wire] | None = None
        self._scheduled = False
        self._closed = False

    def script(self, source: str, *constants: bytes) -> BatchedScript:
        """Registers the Lua text ``source``, and returns the script to call.

        The Lua code gets one key per call in KEYS; in ARGV it gets ``constants``, then the arguments of each call. It
        must return one value per call.
        """
        script = BatchedScript(self, source, constants)
        self._scripts.append(script)
        return script

    async def command(self, *words: bytes | str) -> Any:
        """Sends one plain command and returns Redis' reply. Raises RedisUnavailable."""
        single = Single(asyncio.get_running_loop().create_future(), *words)
        self._singles.append(single)
        self.schedule()
        return await single.future

    async def close(self) -> None:
        """Ends the connection; calls that still wait raise RedisUnavailable."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._wire is not None:
            self._wire.drop("closed")
        self._fail_unsent("closed")

    def schedule(self) -> None:
        """Sends the gathered calls at the end of this turn of the event loop."""
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn_over)

    def again(self, batch: Batch) -> None:
        """Sends ``batch`` once more, because Redis has lost its script."""
        self._again.append(batch)

    def _turn_over(self) -> None:
        self._scheduled = False
        self._flush()

    def _flush(self) -> None:
        wire = self._wire
        if wire is None or wire.closed:
            self._reconnect()
            return
        while wire.unanswered < MOST_IN_FLIGHT:
            round_trip = list(self._take())
            if not round_trip:
                return
            wire.send(b"".join([one.payload for one in round_trip]), round_trip)

    def _take(self) -> Iterator[Batch | Single]:
        yield from self._again
        yield from self._singles
        self._again, self._singles = [], []
        for script in self._scripts:
            if script.futures:
                yield script.take()

    def _reconnect(self) -> None:
        if self._closed:
            self._fail_unsent("closed")
        elif self._connecting is None and self._has_unsent():
            loop = asyncio.get_running_loop()
            self._connecting = loop.create_task(open_wire(self._url, self._timeout_s, self._flush))
            self._connecting.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[Wire]) -> None:
        self._connecting = None
        if task.cancelled():
            self._fail_unsent("closed")
        elif (error := task.exception()) is not None:
            # No error of any kind may leave a caller waiting.
            self._fail_unsent(str(error), error)
        else:
            self._wire = task.result()
            self._flush()

    def _has_unsent(self) -> bool:
        return bool(self._again or self._singles or any(script.futures for script in self._scripts))

    def _fail_unsent(self, why: str, cause: BaseException | None = None) -> None:
        while unsent := list(self._take()):
            for one in unsent:
                one.fail(why, cause)


class BatchedScript:
    """Gathers the calls of one Lua script. Each ``call`` is for one key."""

    __slots__ = ("_arguments", "_batcher", "_constants", "_keys", "_sha", "_source", "futures")

    def __init__(self, batcher: Batcher, source: str, constants: Sequence[bytes]) -> None:
        self._batcher = batcher
        self._constants = tuple(constants)
        self._source = source
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self._keys: list[bytes] = []
        self._arguments: list[bytes] = []
        self.futures: list[asyncio.Future[Any]] = []

    def call(self, key: bytes, *arguments: bytes) -> asyncio.Future[Any]:
        """Returns a future for the script's answer for ``key``; the future raises RedisUnavailable.

        All calls of a script must have the same number of arguments. If the waiting caller is cancelled, the call is
        made all the same.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._keys.append(key)
        self._arguments += arguments
        self.futures.append(future)
        self._batcher.schedule()
        return future

    def take(self) -> Batch:
        """Removes the oldest calls, at most ``MOST_CALLS``, and returns them as one command. There must be some."""
        calls = min(MOST_CALLS, len(self._keys))
        words = calls * (len(self._arguments) // len(self._keys))
        tail: tuple[bytes | str, ...] = (str(calls), *self._keys[:calls], *self._constants, *self._arguments[:words])
        batch = Batch(self._batcher, self._source, self._sha, tail, self.futures[:calls])
        del self._keys[:calls], self._arguments[:words], self.futures[:calls]
        return batch


class Batch:
    """Holds several calls of one script as one command; each caller gets the answer at its place in the reply."""

    __slots__ = ("_batcher", "_futures", "_source", "_tail", "payload")

    def __init__(
        self,
        batcher: Batcher,
        source: str,
        sha: str,
        tail: tuple[bytes | str, ...],
        futures: list[asyncio.Future[Any]],
    ) -> None:
        self._batcher = batcher
        self._source = source
        self._tail = tail
        self._futures = futures
        self.payload = pack("EVALSHA", sha, *tail)

    def answer(self, reply: object) -> None:
        if isinstance(reply, list) and len(reply) == len(self._futures):
            for future, answer in zip(self._futures, reply, strict=True):
                if future.done():
                    continue
                if isinstance(answer, hiredis.ReplyError):
                    future.set_exception(unavailable(str(answer), answer))
                else:
                    future.set_result(answer)
        elif isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            # Nothing was carried out. A restart of Redis or SCRIPT FLUSH removes its scripts; EVAL stores this one.
            self.payload = pack("EVAL", self._source, *self._tail)
            self._batcher.again(self)
        else:
            cause = reply if isinstance(reply, hiredis.ReplyError) else None
            self.fail(str(cause or "Redis did not give one answer per call"), cause)

    def fail(self, why: str, cause: BaseException | None) -> None:
        for future in self._futures:
            if not future.done():
                future.set_exception(unavailable(why, cause))
