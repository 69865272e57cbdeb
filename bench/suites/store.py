"""Measures the store on SQLite and on PostgreSQL: one writer's rows per second in batches, and the reads of a node."""

import os
import random
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import databases
from bench.arena import Arena
from bench.errors import BenchFailed
from bench.percentiles import median_of
from shared.store import schema
from shared.store.store import Store
from shared.store.values import NewNotification, Owner, Position

USERS = 5_000
BODY_BYTES = 256
#: batch size -> the number of rows that a round inserts with it
ROWS = {1: 1_000, 16: 8_000, 64: 20_000, 256: 50_000}
_WARM_UP_BATCHES = 4
_POSITIONS = 128
_READS = 300
_UNREAD = 20


def measure(arena: Arena, rounds: int, console: Console) -> dict[str, Any]:
    """Returns the median of every figure for each database, and under ``rounds`` the figures of each round."""
    runs: dict[str, list[dict[str, float]]] = {"sqlite": [], "postgresql": []}
    with databases.opened(arena) as urls:
        for number in range(1, rounds + 1):
            for name, url in urls.items():
                console.log(f"store: {name}, round {number} of {rounds}")
                runs[name].append(_round(url, number))
    return {name: {**median_of(figures), "rounds": figures} for name, figures in runs.items()}


def table(results: dict[str, Any]) -> Table:
    drawn = Table(title=f"store: {USERS:,} users, {BODY_BYTES}-byte bodies, one writer, commits synced to disk")
    drawn.add_column("")
    for name in results:
        drawn.add_column(name, justify="right")
    rows = [(f"rows/s in batches of {size}", f"rows_{size}_per_s", ",.0f") for size in ROWS]
    rows += [(f"CPU us a row in batches of {size}", f"rows_{size}_cpu_us", ".1f") for size in ROWS]
    rows += [
        (f"first load of {_UNREAD} unread rows, us", "first_load_us", ",.0f"),
        ("two rows since a position, us", "since_us", ",.0f"),
        (f"positions of {_POSITIONS} users, us each", "position_us", ".1f"),
    ]
    for title, figure, form in rows:
        drawn.add_row(title, *(format(row[figure], form) for row in results.values()))
    return drawn


def _round(url: str, number: int) -> dict[str, float]:
    store = Store(url)
    try:
        schema.upgrade(store.database)
        before = store.totals().notifications
        figures: dict[str, float] = {}
        inserted = 0
        for size, rows in ROWS.items():
            count, more = _insert(store, size, rows, f"{number}-{size}")
            inserted += count
            figures |= more
        if store.totals().notifications - before != inserted:
            raise BenchFailed("the store does not hold what was inserted")
        return figures | _reads(store, f"{number}")
    finally:
        store.close()


def _insert(store: Store, size: int, rows: int, run: str) -> tuple[int, dict[str, float]]:
    chance = random.Random(run)
    batches = [
        [_notification(f"user-{chance.randrange(USERS)}", f"{run}-{batch}-{n}") for n in range(size)]
        for batch in range(_WARM_UP_BATCHES + rows // size)
    ]
    for batch in batches[:_WARM_UP_BATCHES]:
        store.insert(batch)
    measured = batches[_WARM_UP_BATCHES:]
    began_s, began_cpu_s = time.perf_counter(), _cpu_s()
    for batch in measured:
        store.insert(batch)
    took_s, cpu_s = time.perf_counter() - began_s, _cpu_s() - began_cpu_s
    count = len(measured) * size
    figures = {f"rows_{size}_per_s": round(count / took_s, 1), f"rows_{size}_cpu_us": round(1e6 * cpu_s / count, 2)}
    return len(batches) * size, figures


def _reads(store: Store, run: str) -> dict[str, float]:
    owner = Owner(f"reader-{run}")
    store.insert([_notification(owner.user_id, f"{n}") for n in range(_UNREAD)])
    end = store.positions([owner])[owner]
    behind = Position(end.epoch, end.offset - 2)
    owners = [Owner(f"user-{n}") for n in range(_POSITIONS)]
    return {
        "first_load_us": _us(lambda: store.pull([(owner, None)])),
        "since_us": _us(lambda: store.pull([(owner, behind)])),
        "position_us": round(_us(lambda: store.positions(owners)) / _POSITIONS, 3),
    }


def _us(read: Callable[[], object]) -> float:
    for _ in range(_READS // 10):
        read()
    began_s = time.perf_counter()
    for _ in range(_READS):
        read()
    return round(1e6 * (time.perf_counter() - began_s) / _READS, 2)


def _notification(user_id: str, request_id: str) -> NewNotification:
    return NewNotification(
        user_id, request_id, "bench", "info", "medium", None, "A title", "x" * BODY_BYTES, "{}", created_ms=1_000
    )


def _cpu_s() -> float:
    """Returns the seconds of this process; a server's are not among them."""
    used = os.times()
    return used.user + used.system
