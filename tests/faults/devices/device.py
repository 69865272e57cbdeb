"""Is one device: it keeps the rules of the Python client, comes back by itself, and records what it is sent."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from notify_client.inbox import Applied, GapFound, Inbox
from notify_client.reconnect import SLOWLY_S, Backoff, after_close
from tests.faults.devices.record import DeviceRecord, End
from tests.faults.harness.scale import FACTOR

#: how long a connection may take to be opened, seconds
OPEN_S = 10.0
_LOST = 1006


class Device:
    """Connects to one of ``ports``, drawn anew each time, as behind a balancer without health checks.

    Its waits are those of the product divided by ``FACTOR``, like all times.
    """

    def __init__(
        self,
        record: DeviceRecord,
        token: str,
        ports: Callable[[], Sequence[int]],
        draw: random.Random,
    ) -> None:
        self.record = record
        self.inbox = Inbox()
        #: the offset of its last load from nothing
        self.loaded_at = 0
        self.live = False
        #: the code after which it does not come back by itself
        self.stays_away: int | None = None
        #: cleared: it makes no new connection
        self.may_come = asyncio.Event()
        self.may_come.set()
        #: the node to which it is connected
        self.port: int | None = None
        self._token = token
        self._ports = ports
        self._draw = draw
        self._backoff = Backoff(draw.random)
        self._connection: ClientConnection | None = None
        self._reads = asyncio.Event()
        self._reads.set()
        self._leaving = False
        self._after_ms: int | None = None
        self._loads = 0
        self._sent: set[tuple[object, int]] = set()
        self._announced: set[tuple[int, str]] = set()

    @property
    def user(self) -> str:
        return self.record.user

    async def run(self) -> None:
        """Follows its inbox until it is cancelled, or until the server wants it to stay away."""
        while self.stays_away is None:
            await self.may_come.wait()
            began = time.monotonic()
            code = await self._connect_once()
            self._backoff.was_up((time.monotonic() - began) * FACTOR)
            await asyncio.sleep(self._wait_s(code) / FACTOR)

    async def say(self, kind: str, **fields: Any) -> None:
        """Sends a frame if it is connected, and does not wait for an answer."""
        if self._connection is not None and self.live:
            with suppress(ConnectionClosed):
                await self._connection.send(orjson.dumps({"type": kind, **fields}).decode())

    def cut(self) -> None:
        """Ends the connection without a word; the device comes back by itself."""
        if self._connection is not None:
            self._leaving = True
            self._connection.transport.abort()

    async def leave(self) -> None:
        """Closes the connection in good order; the device comes back by itself."""
        if self._connection is not None:
            self._leaving = True
            await self._connection.close()

    def stop_reading(self) -> None:
        """Takes nothing more from its socket until ``read_again``."""
        self._reads.clear()
        self.record.end(time.time())

    def read_again(self) -> None:
        self._reads.set()

    async def _connect_once(self) -> int | None:
        """Makes one connection, and reads it to its end. Returns the code of that, None if there was no connection."""
        port = self._draw.choice(self._ports())
        self.inbox.begin_connection()
        self._sent.clear()
        self._leaving, self._after_ms = False, None
        auth: dict[str, Any] = {"type": "auth", "token": self._token}
        if self.inbox.position is not None:
            auth["resume"] = self.inbox.position._asdict()
        code = _LOST
        try:
            async with connect(
                f"ws://127.0.0.1:{port}/ws",
                compression=None,
                proxy=None,
                open_timeout=OPEN_S,
                close_timeout=1,
                ping_interval=None,
                max_size=None,
            ) as connection:
                self._connection, self.port = connection, port
                await connection.send(orjson.dumps(auth).decode())
                while True:
                    await self._reads.wait()
                    self._take(orjson.loads(await connection.recv(decode=False)))
        except ConnectionClosed as closed:
            code = _LOST if closed.rcvd is None else closed.rcvd.code
        except GapFound:
            pass
        except (OSError, InvalidHandshake, TimeoutError):
            if self._connection is None:
                return None
        finally:
            self._connection = self.port = None
            self.live = False
            self.record.end(time.time())
        if self._leaving:
            self._backoff = Backoff(self._draw.random)
            return None
        self.record.ends.append(End(code, time.time(), self._after_ms))
        return code

    def _wait_s(self, code: int | None) -> float:
        """Returns how long the device waits before the next connection, in seconds of the product."""
        wait_s = self._backoff.next_s()
        if code is None:
            return wait_s
        match after_close(code):
            case "stay":
                self.stays_away = code
            case "told" if self._after_ms is not None:
                return self._after_ms / 1000
            case "slowly":
                return wait_s + SLOWLY_S
        return wait_s

    # -- What it is sent -----------------------------------------------------------------------------------------------

    def _take(self, frame: Mapping[str, Any]) -> None:
        """Applies a frame. Raises GapFound."""
        match frame["type"]:
            case "missed_notifications":
                self._look_at_pull(frame)
            case "notification" | "updated":
                self._look_at_live(frame)
            case "disconnect":
                self._after_ms = frame.get("after_ms")
                return
            case _:
                return
        try:
            applied = self.inbox.apply(frame)
        except GapFound:
            self.record.gaps.append(f"{frame['type']} {frame['prev']} to {frame['offset']} at {self.inbox.position}")
            raise
        if applied is not None:
            self._note(applied)

    def _look_at_pull(self, frame: Mapping[str, Any]) -> None:
        if not frame["recovered"]:
            # It is sent everything anew.
            self._sent.clear()
        for item in frame["items"]:
            self._was_sent(item["id"], item["offset"])

    def _look_at_live(self, frame: Mapping[str, Any]) -> None:
        offset = frame["offset"]
        position = self.inbox.position
        if position is not None and offset <= position.offset:
            self.record.doubles.append(f"{frame['type']} {frame['prev']} to {offset} came at {position.offset}")
        new = frame.get("notification")
        for item in frame.get("items", ()) if new is None else (new,):
            self._was_sent(item["id"], offset)

    def _was_sent(self, id_: int, offset: int) -> None:
        if (id_, offset) in self._sent:
            self.record.doubles.append(f"row {id_} of offset {offset} came twice on one connection")
        self._sent.add((id_, offset))

    def _note(self, applied: Applied) -> None:
        position, now = self.inbox.position, time.time()
        assert position is not None
        for row in applied.new:
            if (row.id, row.request_id) in self._announced:
                self.record.doubles.append(f"notification {row.id} was announced twice")
            self._announced.add((row.id, row.request_id))
        if applied.is_pull and not applied.recovered:
            self._loads += 1
            self.record.resets += self._loads > 1
            self.loaded_at = position.offset
        if self.live and applied.recovered and self.record.lives[-1].goes_on_in(position.epoch):
            self.record.reach(position.offset, now)
        else:
            self.record.begin(position.epoch, position.offset, now)
        self.live = True
