"""Carries out what devices ask for: marks, archives and deletes notifications, and notes what reached a device.

A change is one transaction, like those of the HTTP API, and its wake-up tells all devices of the user, the one that
asked among them. Nothing that is already so takes an offset or makes a frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from shared.errors import StoreUnavailable
from shared.realtime.wakeup import WakeUps
from shared.store.store import Store
from shared.store.threads import StoreThreads
from shared.store.values import Change, Owner

log = structlog.get_logger(__name__)

#: Most ids in one frame.
MOST_IDS = 100
#: Ids and offsets stay below this, because JavaScript reads them.
_LARGEST = 2**53


class Unreadable(Exception):
    """Says what is wrong with a frame. ``counts``: three of them end the connection."""

    def __init__(self, code: str, detail: str, *, counts: bool = True) -> None:
        self.code, self.detail, self.counts = code, detail, counts
        super().__init__(detail)


class Asker(Protocol):
    """Is the device that asks."""

    @property
    def owner(self) -> Owner: ...

    def say(self, kind: str, **fields: Any) -> None: ...


class Desk:
    """Changes inboxes for the devices of one node."""

    def __init__(self, store: Store, threads: StoreThreads, wake_ups: WakeUps) -> None:
        self._store = store
        self._threads = threads
        self._wake_ups = wake_ups
        #: the highest offset that each user's devices have acknowledged since the last ``flush``
        self._delivered: dict[Owner, int] = {}

    async def change(self, asker: Asker, frame: Mapping[str, Any]) -> None:
        """Carries out ``read``, ``unread``, ``archive``, ``delete`` or ``read_all``, and answers ``done`` or ``error``.

        Raises Unreadable before it has done anything.
        """
        owner, kind = asker.owner, frame["type"]
        store, write = self._store, self._threads.write
        change: Change | None
        try:
            match kind:
                case "read_all":
                    change = await write(store.read_all, owner, number_in(frame, "upto"))
                case "delete":
                    change = await write(store.delete, owner, _ids(frame))
                case "archive":
                    change = await write(store.mark, owner, _ids(frame), archived=True)
                case _:
                    change = await write(store.mark, owner, _ids(frame), read=kind == "read")
        except StoreUnavailable as exc:
            log.warning("change_not_stored", kind=kind, error=str(exc))
            asker.say("error", code="store_unavailable", detail="try again later", **echo(frame))
            return
        if change is not None:
            await self._wake_ups.publish([change])
        if "id" in frame:
            asker.say("done", **echo(frame))

    def acknowledge(self, owner: Owner, offset: int) -> None:
        """Notes that a device has everything up to ``offset``; ``flush`` writes it."""
        self._delivered[owner] = max(offset, self._delivered.get(owner, 0))

    async def flush(self) -> None:
        """Writes what was acknowledged. It is dropped if the store is unavailable: the next one says it again."""
        delivered, self._delivered = self._delivered, {}
        if not delivered:
            return
        try:
            await self._threads.write(self._store.raise_delivered, delivered)
        except StoreUnavailable as exc:
            log.warning("acknowledgements_not_stored", users=len(delivered), error=str(exc))


def echo(frame: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the frame's ``id``, which the answer repeats, if it is a short text or a number."""
    id_ = frame.get("id")
    fits = (isinstance(id_, str) and len(id_) <= 128) or (isinstance(id_, int) and abs(id_) < _LARGEST)
    return {"id": id_} if fits else {}


def number_in(frame: Mapping[str, Any], name: str) -> int:
    """Returns a field that is an id or an offset. Raises Unreadable."""
    value = frame.get(name)
    if not _is_number(value):
        raise Unreadable("invalid", f"{name} must be a whole number from 0 to 2^53 - 1")
    return int(value)  # type: ignore[arg-type]  # it is an int


def _ids(frame: Mapping[str, Any]) -> list[int]:
    ids = frame.get("ids")
    if not isinstance(ids, list) or not 0 < len(ids) <= MOST_IDS or not all(map(_is_number, ids)):
        raise Unreadable("invalid", f"ids must be a list of 1 to {MOST_IDS} ids of notifications")
    return ids


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST
