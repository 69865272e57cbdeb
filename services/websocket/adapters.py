"""Connects the hub to the store and to Redis: it knows neither."""

from __future__ import annotations

from collections.abc import Sequence

from shared.realtime.wakeup import WakeUps, channel_of
from shared.redis.subscriber import Subscriber
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.values import Owner, Position, Pull


class StoreReader:
    """Reads inboxes for the hub, in the threads of the store."""

    def __init__(self, store: Store, threads: StoreThreads, wake_ups: WakeUps) -> None:
        self._store, self._threads, self._wake_ups = store, threads, wake_ups

    async def check(self) -> None:
        """Raises SchemaMismatch if the tables do not fit, and StoreUnavailable; looks only until they fit."""
        await self._threads.read(self._store.check_schema)

    async def pull(self, wanted: Sequence[tuple[Owner, Position | None]]) -> list[Pull]:
        return await self._threads.read(self._pull, wanted)

    def _pull(self, wanted: Sequence[tuple[Owner, Position | None]]) -> list[Pull]:
        # The database may have been unavailable when the node started.
        self._store.check_schema()
        return self._store.pull(wanted)

    async def positions(self, owners: Sequence[Owner]) -> dict[Owner, Position]:
        return await self._threads.read(self._store.positions, owners)

    async def went_back(self, owner: Owner, seen: Position) -> None:
        change = await self._threads.write(self._store.rotate_epoch, owner, seen)
        if change is not None:
            await self._wake_ups.publish([change])


class RedisSubscriptions:
    """Subscribes the wake-ups of users with a Subscriber."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber

    async def subscribe(self, owner: Owner) -> None:
        await self._subscriber.subscribe(channel_of(owner).encode())

    def unsubscribe(self, owner: Owner) -> None:
        self._subscriber.unsubscribe(channel_of(owner).encode())
