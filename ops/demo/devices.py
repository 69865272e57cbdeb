"""Runs the devices of one user for the demo. Each is the project's own Python client, connected over a real socket.

They run in an event loop in a thread of its own, because the steps of the demo wait where they are.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import TimeoutError as NotInTime
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ops.demo.stage import StepFailed
from ops.place import ROOT
from ops.signals import undisturbed

# The client is a package of its own. Here it is taken from the checkout, so that nobody has to install it.
sys.path.append(str(ROOT / "clients" / "python" / "src"))

from notify_client import (
    Arrived,
    Changed,
    Closed,
    Connected,
    Event,
    Listener,
    Missed,
    NotifyClientError,
    Row,
)

__all__ = ["Changed", "Device", "Devices", "Missed", "devices_of"]

T = TypeVar("T")
E = TypeVar("E")

#: How long a device may take to close its connection, or to get the answer to a change, in seconds.
_PATIENCE_S = 25.0


class Seen(NamedTuple):
    """Holds an event of a device, and the Unix time at which the device got it."""

    at_s: float
    event: Event


class Arrival(NamedTuple):
    """Says when a notification came, and how many were unread then."""

    at_s: float
    row: Row
    unread: int


class Device:
    """Is one device. ``listen`` makes its client; its position is kept while it is disconnected."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, listen: Callable[[], Listener]) -> None:
        self.name = name
        self._loop, self._listen = loop, listen
        self._listener: Listener | None = None
        self._task: asyncio.Task[None] | None = None
        #: what has happened since it connected
        self.seen: list[Seen] = []
        #: the close code after which it stays away, None while it does not
        self.closed: int | None = None

    def connect(self) -> None:
        """Begins to connect; what happens then is in ``seen``. Call it for a device that is not connected."""
        self.seen, self.closed = [], None
        self._listener = self._listen()
        self._run(self._start(self._listener))

    def disconnect(self) -> None:
        """Closes the connection. The device is offline when this returns."""
        self._run(self._stop())

    def read(self, ids: list[int]) -> None:
        """Marks notifications as read. Returns when the server has done it. Raises StepFailed."""
        if self._listener is None:
            raise StepFailed(f"{self.name} is not connected")
        try:
            self._run(self._listener.read(ids))
        except NotifyClientError as exc:
            raise StepFailed(f"{self.name} could not mark {ids} as read: {exc}") from exc

    @property
    def is_live(self) -> bool:
        """Tells whether it is connected and shows everything."""
        return self.closed is None and any(isinstance(seen.event, Connected) for seen in self.seen)

    def arrival(self, request_id: str) -> Arrival | None:
        """Returns how this notification came since the device connected; None if it has not come yet."""
        for at_s, event in list(self.seen):
            if isinstance(event, Arrived | Missed):
                # The first one of all comes by a pull, because only a pull says that there is an inbox now.
                rows = (event.row,) if isinstance(event, Arrived) else event.rows
                found = [row for row in rows if row.request_id == request_id]
                if found:
                    return Arrival(at_s, found[0], event.unread)
        return None

    def first(self, kind: type[E]) -> tuple[float, E] | None:
        """Returns the first event of this kind, with its time; None if there is none yet."""
        for at_s, event in list(self.seen):
            if isinstance(event, kind):
                return at_s, event
        return None

    async def _start(self, listener: Listener) -> None:
        self._task = asyncio.create_task(self._follow(listener))

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._task = self._listener = None

    async def _follow(self, listener: Listener) -> None:
        async with listener:
            try:
                async for event in listener:
                    self.seen.append(Seen(time.time(), event))
            except Closed as closed:
                self.closed = closed.code

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs ``work`` in the loop of the devices, and returns its result. Raises its error, or StepFailed."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)
        except NotInTime:
            raise StepFailed(f"{self.name} has not answered within {_PATIENCE_S:.0f} s") from None


class Devices:
    """Holds all devices of the user ``user_id``, by name. ``url`` is that of the node; ``token`` returns a token."""

    def __init__(self, user_id: str, url: str, token: Callable[[str], str | None]) -> None:
        self.user_id = user_id
        #: the request_id of each notification that was sent to this user
        self.sent: list[str] = []
        self._url, self._token = url, token
        self._devices: dict[str, Device] = {}
        self._positions = Path(tempfile.mkdtemp(prefix="notify-demo-"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="devices", daemon=True)
        # It inherits that signals are blocked, so they reach the main thread, which may block them for a while.
        with undisturbed():
            self._thread.start()

    def __getitem__(self, name: str) -> Device:
        """Returns the device of this name, a new one if there was none."""
        if name not in self._devices:
            self._devices[name] = Device(name, self._loop, lambda: self._client(name))
        return self._devices[name]

    @property
    def live(self) -> list[Device]:
        """Returns the devices that are connected."""
        return [device for device in self._devices.values() if device.is_live]

    def close(self) -> None:
        """Disconnects all devices, and forgets their positions."""
        for device in self._devices.values():
            device.disconnect()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._positions, ignore_errors=True)

    def _client(self, name: str) -> Listener:
        return Listener(self._url, token=self._token(self.user_id), state=self._positions / f"{name}.json")


@contextmanager
def devices_of(devices: Devices, empty_inbox: Callable[[str], None]) -> Iterator[Devices]:
    """Yields ``devices``. After the block they are disconnected and the inbox is emptied, also after an error."""
    try:
        yield devices
    finally:
        with undisturbed():
            devices.close()
            if devices.sent:
                empty_inbox(devices.user_id)
