"""Hears messages of many Redis channels over one connection, and says when it may have missed some.

redis-py's PubSub subscribes again silently after a lost connection, and a caller does not learn that messages are
missing. Here every loss is told: after it, all channels are subscribed anew, and ``on_restored`` is called.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from itertools import groupby

import hiredis
import structlog

from shared.errors import RedisUnavailable
from shared.redis.client import TIMEOUT_S
from shared.redis.connection import MORE, Wire, log_in, pack

log = structlog.get_logger(__name__)

#: Most channels in one command.
CHANNELS_AT_ONCE = 500
#: Most messages that are handled before the loop may do something else.
MESSAGES_AT_ONCE = 250
#: A connection on which nothing has arrived for this long is asked for a sign of life, seconds.
QUIET_S = 5.0
#: The first and the longest wait before another attempt to connect, seconds; each wait is a random part of it.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
_TICK_S = 0.25


class Subscriber:
    """Keeps one connection open while ``run`` runs.

    ``on_message`` is given each channel and message; it must be quick. ``on_restored`` is called once all channels are
    subscribed of which one was subscribed without a connection, or lost it: what was published meanwhile has not been
    heard.
    """

    def __init__(
        self,
        url: str,
        on_message: Callable[[bytes, bytes], None],
        on_restored: Callable[[], None],
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._url = url
        self._on_message = on_message
        self._on_restored = on_restored
        self._timeout_s = timeout_s
        self._channels: set[bytes] = set()
        self._ear: _Ear | None = None
        #: what is to be sent at the end of this turn of the loop: (command, channel)
        self._unsent: list[tuple[str, bytes]] = []
        #: whether somebody believes to hear a channel that was not subscribed at some time since then
        self._is_missing_some = False
        self._lost = False

    @property
    def connected(self) -> bool:
        """Tells whether the connection is open."""
        return self._ear is not None and not self._ear.closed

    async def subscribe(self, channel: bytes) -> None:
        """Subscribes a channel, and returns once Redis has confirmed it: every later message will be heard.

        Without a connection it returns at once. The channel is subscribed with the next one, before ``on_restored``.
        """
        self._channels.add(channel)
        ear = self._ear
        if ear is None or ear.closed:
            self._is_missing_some = True
            return
        confirmed = ear.expect(channel)
        self._send("SUBSCRIBE", channel)
        await confirmed

    def unsubscribe(self, channel: bytes) -> None:
        """Unsubscribes a channel. Messages that are on their way may still be heard."""
        self._channels.discard(channel)
        if self.connected:
            self._send("UNSUBSCRIBE", channel)

    async def run(self) -> None:
        """Connects, and connects again whenever the connection was lost, until it is cancelled."""
        wait_s = FIRST_WAIT_S
        while True:
            ear = _Ear(self._timeout_s, self._on_message)
            try:
                await log_in(ear, self._url, self._timeout_s)
                await self._listen(ear)
                wait_s = FIRST_WAIT_S
                await self._watch(ear)
            except RedisUnavailable as exc:
                if not self._lost:
                    log.warning("subscriptions_lost", error=str(exc))
                self._lost = self._is_missing_some = True
            finally:
                self._ear = None
                ear.drop("closed")
            await asyncio.sleep(random.uniform(0, wait_s))
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _listen(self, ear: _Ear) -> None:
        """Subscribes every channel. Raises RedisUnavailable unless all are confirmed."""
        ear.listen()
        self._unsent.clear()
        self._ear = ear
        confirmed = [ear.expect(channel) for channel in self._channels]
        for channel in self._channels:
            self._send("SUBSCRIBE", channel)
        if confirmed:
            await asyncio.wait(confirmed)
        if ear.closed:
            raise RedisUnavailable(ear.why)
        if self._lost:
            log.info("subscriptions_restored", channels=len(self._channels))
            self._lost = False
        if self._is_missing_some:
            self._is_missing_some = False
            self._on_restored()

    async def _watch(self, ear: _Ear) -> None:
        """Returns never; raises RedisUnavailable once the connection has ended or is silent."""
        while True:
            await asyncio.sleep(_TICK_S)
            ear.check()
            if ear.closed:
                raise RedisUnavailable(ear.why)

    def _send(self, command: str, channel: bytes) -> None:
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append((command, channel))

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._ear is None:
            return
        for command, run in groupby(unsent, lambda one: one[0]):
            channels = [channel for _, channel in run]
            for first in range(0, len(channels), CHANNELS_AT_ONCE):
                self._ear.tell(pack(command, *channels[first : first + CHANNELS_AT_ONCE]))


class _Ear(Wire):
    """Is a connection that hears messages once it has logged in."""

    def __init__(self, timeout_s: float, on_message: Callable[[bytes, bytes], None]) -> None:
        super().__init__(timeout_s, lambda: None)
        self._on_message = on_message
        self._listening = False
        self._reading = False
        self._heard_at = self._loop.time()
        self._asked_at: float | None = None
        #: the confirmations that are expected for each channel, oldest first, with the time of each request
        self._expected: dict[bytes, deque[tuple[float, asyncio.Future[None]]]] = {}
        self.why = "the connection to Redis was lost"

    def listen(self) -> None:
        """Begins to take what arrives as messages, because the login is over."""
        self._listening = True
        self._heard_at = self._loop.time()

    def expect(self, channel: bytes) -> asyncio.Future[None]:
        """Returns a future that is done once the next SUBSCRIBE of the channel is confirmed, or the connection ends."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self.closed:
            future.set_result(None)
        else:
            self._expected.setdefault(channel, deque()).append((self._loop.time(), future))
        return future

    def tell(self, payload: bytes) -> None:
        if self._transport is not None and not self.closed:
            self._transport.write(payload)

    def check(self) -> None:
        """Drops the connection if Redis does not answer; asks for a sign of life if it has been silent."""
        if self.closed:
            return
        now = self._loop.time()
        oldest = min((waiting[0][0] for waiting in self._expected.values()), default=now)
        if now - oldest > 2 * self._timeout_s + _TICK_S or (
            self._asked_at is not None and now - self._asked_at > 2 * self._timeout_s + _TICK_S
        ):
            self.drop("Redis does not answer on the connection of the subscriptions")
        elif self._asked_at is None and now - self._heard_at > QUIET_S:
            self._asked_at = now
            self.tell(pack("PING"))

    def drop(self, why: str, cause: BaseException | None = None) -> None:
        if not self.closed:
            self.why = why
        super().drop(why, cause)
        expected, self._expected = self._expected, {}
        for waiting in expected.values():
            for _, future in waiting:
                if not future.done():
                    future.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self._listening:
            super().data_received(data)
        elif not self.closed:
            self._heard_at, self._asked_at = self._loop.time(), None
            self._reader.feed(data)
            if not self._reading:
                self._read()

    def _read(self) -> None:
        """Handles what has arrived; after many messages it lets the loop do something else first."""
        self._reading = False
        for _ in range(MESSAGES_AT_ONCE):
            if self.closed:
                return
            try:
                arrived = self._reader.gets()
            except hiredis.ProtocolError as exc:
                self.drop("Redis sent an invalid reply", exc)
                return
            if arrived is MORE:
                return
            self._handle(arrived)
        self._reading = True
        self._loop.call_soon(self._read)

    def _handle(self, arrived: object) -> None:
        match arrived:
            case [b"message", bytes(channel), bytes(body)]:
                try:
                    self._on_message(channel, body)
                except Exception:
                    # The connection belongs to all users; what was missed is found by the check of positions.
                    log.exception("message_not_handled")
            case [b"subscribe", bytes(channel), _]:
                waiting = self._expected.get(channel)
                if waiting:
                    _, future = waiting.popleft()
                    if not future.done():
                        future.set_result(None)
                    if not waiting:
                        del self._expected[channel]
            case hiredis.ReplyError():
                self.drop(f"Redis refuses: {arrived}")
            case _:
                pass
