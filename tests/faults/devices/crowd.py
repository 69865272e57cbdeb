"""Runs many devices of many users, and waits until all of them show what the store has."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from shared.errors import StoreUnavailable
from shared.realtime.tokens import Tokens
from shared.settings.groups.sockets import TokenKey
from shared.store.store import Store
from tests.faults.devices.device import Device
from tests.faults.devices.inboxes import Truth, differences, read_truths
from tests.faults.devices.record import DeviceRecord
from tests.support.waiting import eventually_async

#: the devices of a crowd come within this time, seconds
COME_S = 1.0
#: all devices of a crowd are connected within this time, seconds
LIVE_S = 30.0
#: interval between two comparisons with the store, seconds
COMPARE_EVERY_S = 0.25
#: interval of the pulse that shows how long this process itself was held up, seconds
_PULSE_S = 0.02


class Crowd:
    """Holds ``per_user`` devices of each user. ``ports`` returns those of the nodes that serve devices."""

    def __init__(
        self,
        users: Sequence[str],
        per_user: int,
        *,
        store: Store,
        keys: Sequence[TokenKey],
        ports: Callable[[], Sequence[int]],
        draw: random.Random,
    ) -> None:
        tokens = {user: Tokens(keys).sign(user).text for user in users}
        self.users = tuple(users)
        self.devices = [
            Device(DeviceRecord(f"{user}/{number}", user), tokens[user], ports, draw)
            for user in users
            for number in range(per_user)
        ]
        #: comparisons of a device with the store that found it where its inbox was
        self.compared = 0
        #: how long this process was held up at most: no device could show anything meanwhile, seconds
        self.stalled_s = 0.0
        self._store = store
        self._draw = draw
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def live(self) -> list[Device]:
        """Returns the devices that follow their inboxes now."""
        return [device for device in self.devices if device.live]

    def on(self, port: int) -> list[Device]:
        """Returns the devices that are connected to this node."""
        return [device for device in self.devices if device.port == port]

    def start(self) -> None:
        """Lets the devices come, each after a moment of its own."""
        self._tasks = [asyncio.create_task(self._run(device)) for device in self.devices]
        self._tasks.append(asyncio.create_task(self._feel_pulse()))

    def keep_away(self) -> None:
        """Lets no device connect until ``let_come``; connections that are open stay."""
        for device in self.devices:
            device.may_come.clear()

    def let_come(self) -> None:
        for device in self.devices:
            device.may_come.set()

    async def all_live(self, within_s: float = LIVE_S) -> float:
        """Waits until every device follows its inbox. Returns the seconds that it took."""
        began = time.monotonic()
        try:
            await eventually_async(lambda: len(self.live) == len(self.devices), within_s)
        except AssertionError as exc:
            gone = [f"{device.record.name} ({device.stays_away})" for device in self.devices if not device.live]
            raise AssertionError(f"{len(gone)} devices not connected after {within_s} s, such as {gone[:3]}") from exc
        return time.monotonic() - began

    async def all_equal(self, within_s: float) -> float:
        """Waits until every device shows what the store has, and notes how they differ then. Returns the seconds."""
        began = time.monotonic()
        while True:
            differing = await self._differing()
            took_s = time.monotonic() - began
            if not differing or took_s > within_s:
                break
            await asyncio.sleep(COMPARE_EVERY_S)
        for device, found in differing:
            device.record.differences += found
        return took_s

    async def stop(self) -> None:
        """Lets all devices leave."""
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    @asynccontextmanager
    async def compared_all_the_time(self) -> AsyncIterator[None]:
        """Compares each device with its inbox again and again while the block runs.

        A device that is on its way to the end of its inbox says nothing at that moment; ``Life`` has how long it took.
        """

        async def compare() -> None:
            while True:
                await asyncio.sleep(COMPARE_EVERY_S)
                with suppress(StoreUnavailable):
                    await self._compare_those_at_the_end()

        comparing = asyncio.create_task(compare())
        try:
            yield
        finally:
            comparing.cancel()
            await asyncio.gather(comparing, return_exceptions=True)

    async def _compare_those_at_the_end(self) -> None:
        truths = await read_truths(self._store, self.users)
        for device in self.live:
            truth, position = truths[device.user], device.inbox.position
            if position is not None and tuple(position) == tuple(truth.position):
                self.compared += 1
                found = differences(device.inbox, device.loaded_at, truth)
                device.record.differences += [f"at offset {position.offset}: {one}" for one in found]

    async def _differing(self) -> list[tuple[Device, list[str]]]:
        truths = await read_truths(self._store, self.users)
        return [(device, found) for device in self.devices if (found := _found(device, truths))]

    async def _run(self, device: Device) -> None:
        await asyncio.sleep(self._draw.uniform(0, COME_S))
        await device.run()

    async def _feel_pulse(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(_PULSE_S)
            self.stalled_s = max(self.stalled_s, time.monotonic() - before - _PULSE_S)


def _found(device: Device, truths: Mapping[str, Truth]) -> list[str]:
    if device.stays_away is not None:
        return [f"it stays away after {device.stays_away}"]
    return differences(device.inbox, device.loaded_at, truths[device.user])


def records_of(crowds: Iterable[Crowd]) -> list[DeviceRecord]:
    """Returns the records of all devices."""
    return [device.record for crowd in crowds for device in crowd.devices]
