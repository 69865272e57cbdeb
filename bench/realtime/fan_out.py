"""Measures what a socket costs and what a frame costs, of the product's node and of servers that do the same work.

All of them hear the same wake-ups on Redis, and write the same frames to the same devices, without compression. All
run on uvloop, and ping each device every 20 s. The differences favour the others: they check no token and no position,
register nobody, read no database and count nothing.

Only the server's own CPU time counts, not that of the devices, of Redis or of the database beside it. So frames per
second *a core* are what one core does if it does nothing else. The clock of a process has steps of 10 ms.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import Console

from bench import procfs
from bench.arena import Arena
from bench.percentiles import median_of
from bench.processes import Child
from bench.realtime import fleet, sender
from bench.realtime.fleet import Fleet
from bench.realtime.sender import Sender
from bench.realtime.servers import DEVICES_PER_USER, SERVERS, Guests, Server

#: Devices that connect before memory is measured: what every process needs once is there then.
_FIRST_DEVICES = 100
#: It is as long as the time between two pings of a device.
_IDLE_S = 20.0


@dataclass(frozen=True)
class Shape:
    """Says how many devices each user has, and how often each user is sent a notification while it is measured."""

    name: str
    devices_per_user: int
    salvos: int


#: What a device costs when each has a wake-up of its own, and when one wake-up is for many.
NARROW, WIDE = Shape("narrow", 1, 10), Shape("wide", DEVICES_PER_USER, 60)
_WARM_UP_SALVOS = 2


def measure(
    arena: Arena, database_url: str, sockets: int, rounds: int, console: Console
) -> dict[str, dict[str, object]]:
    """Measures each server ``rounds`` times, interleaved.

    Returns for each the median of every figure, and under ``rounds`` the figures of each round.
    """
    guests = Guests.of_this_run()
    runs: dict[str, list[dict[str, float]]] = {server.name: [] for server in SERVERS}
    with sender.opened(database_url, arena.servers.redis_url) as sent:
        for number in range(1, rounds + 1):
            for server in SERVERS:
                console.log(f"realtime: {sockets} sockets, {server.name}, round {number} of {rounds}")
                run = f"{server.name}-{number}"
                runs[server.name].append(_round(arena, database_url, server, guests, sent, sockets, run))
    return {name: {**median_of(figures), "rounds": figures} for name, figures in runs.items()}


def users_of(shape: Shape, sockets: int, run: str) -> list[str]:
    """Returns the user of each device."""
    return [f"{shape.name}-{run}-{number // shape.devices_per_user}" for number in range(sockets)]


def _round(
    arena: Arena, database_url: str, server: Server, guests: Guests, sent: Sender, sockets: int, run: str
) -> dict[str, float]:
    arena.servers.forget()
    child = server.start(arena, guests, database_url)
    try:
        with fleet.running(arena.directory, server.name) as devices:
            narrow = users_of(NARROW, sockets, run)
            figures = _at_rest(arena, child, server, guests, devices, narrow)
            figures |= _fan_out(NARROW, child, devices, sent, narrow)
            devices.close()
            wide = users_of(WIDE, sockets, run)
            devices.connect(arena.ports.sockets, guests.paths(wide), server.greetings)
            figures |= _fan_out(WIDE, child, devices, sent, wide)
        return {**figures, "frame_bytes": sent.frame_bytes}
    finally:
        child.stop()


def _at_rest(
    arena: Arena, child: Child, server: Server, guests: Guests, devices: Fleet, users: Sequence[str]
) -> dict[str, float]:
    """Connects a device of each user. Returns what they cost while nothing happens."""
    paths = guests.paths(users)
    first = min(_FIRST_DEVICES, len(paths) // 2)
    devices.connect(arena.ports.sockets, paths[:first], server.greetings)
    before_mb = procfs.rss_mb(child.pid)
    devices.connect(arena.ports.sockets, paths[first:], server.greetings)
    before_s, began_s = _cpu_s(child), time.monotonic()
    time.sleep(_IDLE_S)
    idle = (_cpu_s(child) - before_s) / (time.monotonic() - began_s)
    grown_mb = procfs.rss_mb(child.pid) - before_mb
    return {
        "socket_kb": round(1000 * grown_mb / (len(paths) - first), 2),
        "idle_percent": round(100 * idle, 2),
    }


def _fan_out(shape: Shape, child: Child, devices: Fleet, sent: Sender, users: Sequence[str]) -> dict[str, float]:
    """Sends ``shape.salvos`` notifications to each user, one after the other."""
    everybody = list(dict.fromkeys(users))
    for _ in range(_WARM_UP_SALVOS):
        _salvo(devices, sent, everybody, len(users))
    before_s = _cpu_s(child)
    took_s = [_salvo(devices, sent, everybody, len(users)) for _ in range(shape.salvos)]
    cpu_us = 1e6 * (_cpu_s(child) - before_s) / (shape.salvos * len(users))
    return {
        f"{shape.name}_cpu_us": round(cpu_us, 2),
        f"{shape.name}_per_core": round(1e6 / cpu_us),
        f"{shape.name}_ms": round(1000 * median(took_s), 1),
    }


def _salvo(devices: Fleet, sent: Sender, everybody: Sequence[str], frames: int) -> float:
    """Sends one notification to each user. Returns the time from the first wake-up to the last frame, seconds."""
    changes = sent.store(everybody)
    devices.expect(frames)
    began_s = time.monotonic()
    sent.wake(changes)
    devices.all_here()
    return time.monotonic() - began_s


def _cpu_s(child: Child) -> float:
    return procfs.cpu_s(procfs.tree(child.pid))
