"""Measures the sockets of the websocket channel: their memory, their frames, and the whole way of a notification."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table

from bench import databases
from bench.arena import Arena
from bench.contestants import ours
from bench.percentiles import ratio
from bench.realtime import arrival, fan_out
from bench.realtime.servers import DEVICES_PER_USER

#: The rows of a table: title, figure, and how it is written.
Rows = Sequence[tuple[str, str, str]]
SERVERS: Rows = [
    ("KB of memory a socket", "socket_kb", ".1f"),
    ("at rest, % of a core", "idle_percent", ".1f"),
    (f"{DEVICES_PER_USER} devices a user: frames/s a core", "wide_per_core", ",.0f"),
    ("  CPU us a frame", "wide_cpu_us", ".1f"),
    ("  ms until all have it", "wide_ms", ".0f"),
    ("1 device a user: frames/s a core", "narrow_per_core", ",.0f"),
    ("  CPU us a frame", "narrow_cpu_us", ".1f"),
    ("  ms until all have it", "narrow_ms", ".0f"),
]
WAY: Rows = [
    (f"{arrival.PER_S:.0f} a second, from the acceptance: p50 ms", "p50_ms", ".1f"),
    ("  p99 ms", "p99_ms", ".1f"),
    ("  from the POST: p50 ms", "from_post_p50_ms", ".1f"),
    ("  p99 ms", "from_post_p99_ms", ".1f"),
    ("  CPU ms each: gateway", "gateway_cpu_ms", ".2f"),
    ("  websocket process", "node_cpu_ms", ".2f"),
    ("  RabbitMQ", "rabbitmq_cpu_ms", ".2f"),
    ("  Redis", "redis_cpu_ms", ".2f"),
    ("  the devices", "devices_cpu_ms", ".2f"),
    (f"{arrival.LIVE_PER_S:.0f} a second while {arrival.CONNECTS_PER_S} connect: p50 ms", "rush_p50_ms", ".1f"),
    ("  p99 ms", "rush_p99_ms", ".1f"),
    ("  the latest, ms", "rush_latest_ms", ".1f"),
    (f"  from connect to {arrival.UNREAD} unread rows: p50 ms", "first_load_p50_ms", ".1f"),
    ("  p99 ms", "first_load_p99_ms", ".1f"),
    ("  connected per s", "connects_per_s", ".0f"),
]


def measure(arena: Arena, sockets: int, rounds: int, console: Console) -> dict[str, Any]:
    """Returns the figures of the servers under ``servers``, and those of the whole way under ``way``."""
    with databases.opened(arena) as urls:
        for url in urls.values():
            ours.migrated(arena, url)
        return {
            "sockets": sockets,
            "servers": fan_out.measure(arena, urls["sqlite"], sockets, rounds, console),
            "way": arrival.measure(arena, urls, sockets, rounds, console),
        }


def tables(results: dict[str, Any]) -> RenderableType:
    return Group(_servers(results["servers"], results["sockets"]), _way(results["way"], results["sockets"]))


def _servers(servers: dict[str, Any], sockets: int) -> Table:
    size = servers["ours"]["frame_bytes"]
    drawn = _table(f"{sockets:,} sockets, frames of {size:.0f} bytes", SERVERS, servers)
    for shape, title in (("wide", f"{DEVICES_PER_USER} devices"), ("narrow", "1 device")):
        compared = (_cheaper(servers, name, f"{shape}_cpu_us") for name in servers)
        drawn.add_row(f"ours is cheaper, {title} a user", *compared)
    return drawn


def _cheaper(servers: dict[str, Any], name: str, figure: str) -> str:
    """Returns how many times less ours costs, with the spread over the rounds."""
    if name == "ours":
        return ""
    above, below = ([one[figure] for one in servers[each]["rounds"]] for each in (name, "ours"))
    return ratio(above, below).shown(2)


def _way(way: dict[str, Any], sockets: int) -> Table:
    return _table(f"a notification's way to its device, {sockets:,} sockets in one process", WAY, way)


def _table(title: str, rows: Rows, results: dict[str, Any]) -> Table:
    drawn = Table(title=f"realtime: {title}; medians of the rounds")
    drawn.add_column("")
    for name in results:
        drawn.add_column(name, justify="right")
    for text, figure, form in rows:
        drawn.add_row(text, *(format(row[figure], form) for row in results.values()))
    return drawn
