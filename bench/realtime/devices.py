"""Runs the load: thousands of devices in one process, which read and do nothing else.

``python -m bench.realtime.devices`` takes one command per line on its standard input, a JSON object, and answers each
with one line:

============================================  ========================================================================
``connect``: port, paths, greetings, per_s    connects one device per line of the file ``paths``, ``per_s`` a second
                                              (0: as fast as the server can); answers how long each took from its
                                              first packet until it has read ``greetings`` text frames, seconds
``expect``: frames                            answers when this number of text frames has come since then
``record``                                    notes from now on when each notification comes
``recorded``: file                            writes {request_id: [monotonic time, seconds since its acceptance]}
``close``                                     closes all connections
============================================  ========================================================================

A device that the server refuses or closes ends the load with an error. It uses epoll itself, because it must cost less
than the servers that it measures.
"""

import gc
import json
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.realtime import frames
from shared.process.open_files import raise_file_limit

_STDIN = 0
_MOST_BYTES = 16 * 1024
#: Most devices that wait for their greeting at a time, unless a rate is given.
_GREETED_AT_ONCE = 100
#: the id of an item, and the time at which it was accepted
_ITEM = re.compile(rb'"request_id":"([^"]+)".*?"created_at":"([^"]+)"')


class Device:
    """Holds one connection. ``greetings`` is the number of text frames that are still to come before it is ready."""

    __slots__ = ("asked_s", "greetings", "rest", "socket", "upgraded")

    def __init__(self, connection: socket.socket, greetings: int, asked_s: float) -> None:
        self.socket = connection
        self.greetings = greetings
        self.asked_s = asked_s
        self.upgraded = False
        self.rest = b""


class Connecting:
    """Holds what is left of a ``connect``."""

    def __init__(self, port: int, paths: list[str], greetings: int, per_s: float) -> None:
        self.requests = deque(frames.request(path, port) for path in paths)
        self.port, self.greetings, self.per_s = port, greetings, per_s
        self.began_s = time.monotonic()
        self.begun = 0
        #: how long each took
        self.took_s: list[float] = []

    @property
    def over(self) -> bool:
        return not self.requests and len(self.took_s) == self.begun

    def due(self) -> bool:
        """Tells whether another device is to connect now."""
        if not self.requests:
            return False
        if self.per_s:
            return self.wait_s() <= 0
        return self.begun - len(self.took_s) < _GREETED_AT_ONCE

    def wait_s(self) -> float:
        """Returns the time until the next device connects; it has a meaning only with a rate."""
        return self.began_s + self.begun / self.per_s - time.monotonic()


class Load:
    """Owns the devices, and obeys the commands."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._epoll.register(_STDIN, select.EPOLLIN)
        self._devices: dict[int, Device] = {}
        self._connecting: Connecting | None = None
        self._texts = 0
        self._expected: int | None = None
        self._recorded: list[tuple[float, bytes]] | None = None

    def run(self) -> None:
        """Returns at the end of the standard input."""
        while True:
            for number, _ in self._epoll.poll(self._wait_s()):
                if number != _STDIN:
                    self._read(self._devices[number])
                    continue
                line = sys.stdin.readline()
                if not line:
                    return
                self._obey(json.loads(line))
            self._go_on()

    def _wait_s(self) -> float:
        connecting = self._connecting
        if connecting is None or not connecting.requests:
            return 1.0
        return max(0.0, connecting.wait_s()) if connecting.per_s else 0.01

    def _obey(self, command: dict[str, Any]) -> None:
        match command.pop("do"):
            case "connect":
                paths = Path(command.pop("paths")).read_text().splitlines()
                self._connecting = Connecting(paths=paths, **command)
            case "expect":
                self._texts, self._expected = 0, command["frames"]
                _answer()
            case "record":
                self._recorded = []
                _answer()
            case "recorded":
                Path(command["file"]).write_text(json.dumps(dict(self._arrivals())))
                _answer()
            case "close":
                self._close()
                _answer()

    def _go_on(self) -> None:
        """Connects the devices that are due, and answers what is finished."""
        connecting = self._connecting
        if connecting is not None:
            while connecting.due():
                self._connect(connecting)
            if connecting.over:
                self._connecting = None
                _answer(took_s=connecting.took_s)
        if self._expected is not None and self._texts >= self._expected:
            _answer(frames=self._texts)
            self._expected = None

    def _connect(self, connecting: Connecting) -> None:
        asked_s = time.monotonic()
        connection = socket.create_connection(("127.0.0.1", connecting.port))
        connection.setblocking(False)
        connection.send(connecting.requests.popleft())
        connecting.begun += 1
        self._devices[connection.fileno()] = Device(connection, connecting.greetings, asked_s)
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, device: Device) -> None:
        data = device.socket.recv(_MOST_BYTES)
        if not data:
            raise ConnectionError("the server has closed a connection")
        if device.rest:
            data = device.rest + data
        if not device.upgraded:
            rest = frames.after_upgrade(data)
            if rest is None:
                device.rest = data
                return
            device.upgraded, data = True, rest
        found, device.rest = frames.split(data)
        for opcode, payload in found:
            if opcode == frames.TEXT:
                self._take(device, payload)
            elif opcode == frames.PING:
                device.socket.send(frames.pong(payload))
            elif opcode == frames.CLOSE:
                raise ConnectionError(f"the server closes a connection: {payload!r}")

    def _take(self, device: Device, payload: bytes) -> None:
        if device.greetings:
            device.greetings -= 1
            if not device.greetings and self._connecting is not None:
                self._connecting.took_s.append(time.monotonic() - device.asked_s)
            return
        self._texts += 1
        if self._recorded is not None:
            self._recorded.append((time.monotonic(), payload))

    def _arrivals(self) -> Iterator[tuple[str, tuple[float, float]]]:
        wall_clock_s = time.time() - time.monotonic()
        # The last one for an id counts in a dict, so the first arrival comes last.
        for at_s, payload in reversed(self._recorded or ()):
            # A pull brings several; a device that lost a wake-up, or got two in the wrong order, is served by a pull.
            for request_id, accepted in _ITEM.findall(payload):
                accepted_s = datetime.fromisoformat(accepted.decode()).timestamp()
                yield request_id.decode(), (at_s, wall_clock_s + at_s - accepted_s)

    def _close(self) -> None:
        for device in self._devices.values():
            self._epoll.unregister(device.socket.fileno())
            device.socket.close()
        self._devices.clear()


def _answer(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    raise_file_limit()
    # Its objects live as long as it does, so looking for cycles among them is in vain.
    gc.disable()
    Load().run()
