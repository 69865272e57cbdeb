"""Holds what only a system with inboxes has: its database, the ports of its nodes, and the devices that connect."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from shared.settings.load import load_settings
from shared.store.store import Store
from tests.faults.devices.crowd import Crowd, records_of
from tests.faults.devices.record import Made
from tests.faults.harness.member import Member
from tests.faults.harness.scale import FACTOR
from tests.faults.ledger.ledgers import Call, Key, Ledgers
from tests.support.run.servers import run_ports
from tests.support.stores import check_inboxes, rows_of

CHANNEL = "websocket"
#: a change that every connected device shows within this time is shown at once, seconds
AT_ONCE_S = 1.0
#: so long that no comparison of positions happens in a scenario: nothing but wake-ups tells a node of a change
NO_POSITION_CHECK = {"POSITION_CHECK_S": "3600"}
#: the variable that says which halves of a process run
ROLE, CONSUMER, SOCKETS = "WEBSOCKET_ROLE", "consumer", "sockets"
_KEYS = f"faults:{'k' * 32}"
_COLUMNS = "user_id, request_id, seq, changed_seq, stored_ms, read_ms, archived_ms, deleted_ms"


class Inboxes:
    """Makes the crowds of devices, and reads the ledgers of the inboxes from the database at ``url``."""

    def __init__(self, url: str, draw: random.Random) -> None:
        self.url = url
        self.store = Store(url, connections=2)
        self.nodes: dict[Member, int] = {}
        self.crowds: list[Crowd] = []
        self._draw = draw
        self._keys = load_settings(env_file=None, socket_token_keys=_KEYS).sockets.token_keys
        #: the notifications that were stored, by the last look: a database that is put back forgets some
        self._stored: dict[Key, Call] = {}

    def variables(self, given: Mapping[str, str]) -> tuple[int, dict[str, str]]:
        """Returns the port for devices of a new node, and its variables; ``given`` overrides them."""
        [port] = run_ports(1)
        scaled = {"POSITION_CHECK_S": f"{25 / FACTOR:g}", "DRAIN_S": f"{15 / FACTOR:g}"}
        return port, {**scaled, "SOCKET_TOKEN_KEYS": _KEYS, "SOCKET_PORT": str(port), **given}

    def add(self, node: Member, port: int) -> None:
        """Lets devices connect to a node from now on."""
        self.nodes[node] = port

    @property
    def ports(self) -> list[int]:
        return list(self.nodes.values())

    async def connect(self, users: Sequence[str], per_user: int) -> Crowd:
        """Connects devices, and returns once all of them follow their inboxes."""
        crowd = self.crowd(users, per_user)
        crowd.start()
        await crowd.all_live()
        return crowd

    def crowd(self, users: Sequence[str], per_user: int) -> Crowd:
        """Returns devices that do not connect yet; at the end they must show what the store has, like all others."""
        crowd = Crowd(users, per_user, store=self.store, keys=self._keys, ports=lambda: self.ports, draw=self._draw)
        self.crowds.append(crowd)
        return crowd

    async def stored(self, at_least: int, deadline_s: float = 30.0) -> None:
        """Waits until at least this number of notifications was stored."""
        give_up_at = asyncio.get_running_loop().time() + deadline_s
        while await self.count() < at_least:
            assert asyncio.get_running_loop().time() < give_up_at, f"not {at_least} rows within {deadline_s} s"
            await asyncio.sleep(0.1)

    async def count(self) -> int:
        """Counts the notifications that are stored now, deleted ones included."""
        return len(await self._rows())

    async def remember(self) -> None:
        """Notes what is stored now. Call it before the database is put back."""
        self._stored |= {call.key: call for call in _calls(await self._rows())}

    async def settle(self, within_s: float) -> None:
        """Waits until every device shows what the store has, and lets all devices leave."""
        for crowd in self.crowds:
            await crowd.all_equal(within_s)
        for crowd in self.crowds:
            await crowd.stop()

    async def collect(self, led: Ledgers) -> None:
        """Fills the ledgers; nothing writes any more."""
        rows = await self._rows()
        calls = _calls(rows)
        there = {call.key for call in calls}
        led.calls += calls + [call for key, call in self._stored.items() if key not in there]
        epochs = dict(await asyncio.to_thread(rows_of, self.store, "user_id, epoch", "inbox"))
        led.changes += [made for row in rows for made in _changes(row, epochs)]
        led.devices += records_of(self.crowds)
        led.stalled_s = max((crowd.stalled_s for crowd in self.crowds), default=0.0)
        try:
            await asyncio.to_thread(check_inboxes, self.store)
        except AssertionError as exc:
            led.inbox_faults.append(f"the counters of an inbox are wrong: {exc}")

    async def end(self) -> None:
        """Ends whatever is left."""
        for crowd in self.crowds:
            await crowd.stop()
        await asyncio.to_thread(self.store.close)

    async def _rows(self) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(rows_of, self.store, _COLUMNS)


def _calls(rows: Sequence[tuple[Any, ...]]) -> list[Call]:
    """Returns each row as a call that a provider has accepted: two for the same notification are a second send."""
    return [
        Call((CHANNEL, request_id), user, "inbox", stored_ms / 1000, stored_ms / 1000)
        for user, request_id, _seq, _changed, stored_ms, *_times in rows
    ]


def _changes(row: tuple[Any, ...], epochs: Mapping[str, str]) -> list[Made]:
    """Returns the first and the last change of a row. Those in between have left no trace."""
    user, _request_id, seq, changed_seq, stored_ms, *times = row
    made = [Made(user, epochs[user], seq, stored_ms / 1000)]
    if changed_seq > seq:
        made.append(Made(user, epochs[user], changed_seq, max(at for at in times if at is not None) / 1000))
    return made
