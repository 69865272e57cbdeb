"""Measures the timeline: what it costs a delivery, and how fast a tracker writes events into each database.

The cost is the ratio of two runs of the push worker, with EVENTS on and off, round by round. No tracker runs then: on a
machine of two cores it would take a part of what is compared.
"""

import re
import urllib.request
from typing import Any

import pika
from pika import DeliveryMode
from rich.console import Console
from rich.table import Table

from bench import databases
from bench.arena import Arena
from bench.contestants import ours
from bench.contestants.ours import Ours
from bench.errors import BenchFailed
from bench.percentiles import median_of, ratio
from bench.steady import steady, watch
from bench.suites import push
from shared.broker import topology
from shared.clock import now_ms
from shared.events.event import Happening, Report, happening
from shared.events.wire import encode
from shared.store import schema
from shared.store.database import Database

#: Notifications whose events a tracker writes in a round, each with three; reports in a message.
NOTIFICATIONS, REPORTS = 20_000, 100
EVENTS = 3 * NOTIFICATIONS
BODY = '{"content":{"body":"' + "x" * 256 + '"}}'
_WRITE_S = 180.0
_COUNT = re.compile(rb"^notify_events_written_total (\S+)$", re.MULTILINE)
ON, OFF = Ours(name="with events"), Ours(name="without events", events=False)


def measure(arena: Arena, count: int, rounds: int, console: Console) -> dict[str, Any]:
    """Returns the figures of the deliveries under ``push``, and those of the tracker under each database's name."""
    results: dict[str, Any] = {"push": push.measure(arena, [ON, OFF], count, rounds, console)}
    written: dict[str, list[dict[str, float]]] = {"sqlite": [], "postgresql": []}
    with databases.opened(arena) as urls:
        for number in range(1, rounds + 1):
            for name, url in urls.items():
                console.log(f"events: {name}, round {number} of {rounds}, {EVENTS:,} events")
                written[name].append(_written(arena, url, number))
    return results | {name: {**median_of(figures), "rounds": figures} for name, figures in written.items()}


def table(results: dict[str, Any]) -> Table:
    drawn = Table(title="events: what the timeline costs a delivery, and how fast one tracker writes it")
    drawn.add_column("")
    drawn.add_column("", justify="right")
    on, off = (results["push"][each.name] for each in (ON, OFF))
    drawn.add_row("delivered/s with events, as a share of those without", _ratio(on, off, "per_s"))
    drawn.add_row("CPU of the worker per message with events, ms", f"{on['cpu_ms']:.3f}")
    drawn.add_row("CPU of the worker per message without, ms", f"{off['cpu_ms']:.3f}")
    for name in ("sqlite", "postgresql"):
        drawn.add_row(f"events/s into {name}", f"{results[name]['events_per_s']:,.0f}")
        drawn.add_row(f"CPU of the tracker per event into {name}, us", f"{results[name]['cpu_us']:.1f}")
    return drawn


def _ratio(on: dict[str, Any], off: dict[str, Any], figure: str) -> str:
    found = ratio(push.each(on, figure), push.each(off, figure))
    return f"{found.median:.2f} ({found.least:.2f} to {found.most:.2f})"


def _written(arena: Arena, url: str, number: int) -> dict[str, float]:
    """Fills events.queue, and lets a tracker empty it."""
    database = Database(url)
    schema.upgrade(database)
    database.close()
    _fill(arena, number)
    tracker = ours.start_tracker(arena, url)
    try:
        done = steady(watch(EVENTS, lambda: _count(arena), {"tracker": [tracker.pid]}, _WRITE_S, [tracker]), EVENTS)
    finally:
        tracker.stop()
    if arena.servers.depth(topology.EVENTS_LANE.queue):
        raise BenchFailed("the tracker has left events in its queue")
    return {"events_per_s": round(done.per_s, 1), "cpu_us": round(1000 * done.cpu_ms["tracker"], 2)}


def _count(arena: Arena) -> int:
    """Returns how many events the tracker says it has written; 0 until it answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{arena.ports.tracker}/metrics", timeout=5) as answer:
            found = _COUNT.search(answer.read())
    except OSError:
        return 0
    return int(float(found[1])) if found else 0


def _fill(arena: Arena, number: int) -> None:
    """Publishes what a gateway and a worker tell of each notification: accepted, attempted, sent."""
    ours.declare_events(arena)
    with pika.BlockingConnection(pika.URLParameters(arena.servers.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        properties = pika.BasicProperties(delivery_mode=DeliveryMode.Persistent)
        for first in range(0, NOTIFICATIONS, REPORTS):
            names = [f"{number}-{n}" for n in range(first, first + REPORTS)]
            for reports in (map(_accepted, names), map(_sent, names)):
                channel.basic_publish(topology.EVENTS_EXCHANGE, "bench", encode(list(reports)), properties)


def _accepted(name: str) -> Report:
    return _report(name, happening("accepted", now_ms(), body=BODY))


def _sent(name: str) -> Report:
    at_ms = now_ms()
    call = happening("attempted", at_ms, provider="fcm", code="accepted", ms=4)
    return _report(name, call, happening("sent", at_ms, provider="fcm"))


def _report(name: str, *told: Happening) -> Report:
    return ("bench", f"request-{name}", "push", f"user-{name}", "medium", "info", now_ms(), 0, 0, 0, "", told)
