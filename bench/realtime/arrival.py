"""Measures the whole way of a notification, from its POST until a device has read it, and while others connect.

The way is that of the product: gateway, queue, claim, template, row, wake-up, node, socket. One process of the channel
does both halves and holds all devices. Time counts from the acceptance, which the frame names to the millisecond; and
from the moment at which the POST was due, so that what a request waits for a connection is a part of it.
"""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from rich.console import Console

from bench import load, procfs
from bench.arena import Arena
from bench.contestants import ours
from bench.envelopes import body
from bench.percentiles import median_of, percentile_ms
from bench.processes import Child, wait_until
from bench.realtime import fleet, posting, sender, servers
from bench.realtime.fleet import Arrival, Fleet
from bench.realtime.sender import Sender
from bench.realtime.servers import Guests
from shared.message.channels import PRIORITIES

#: Notifications per second, and how long they are measured.
PER_S, SECONDS = 500.0, 10.0
_WARM_UP_S = 3.0
#: Devices that connect per second, the unread rows that each gets first, and notifications per second to the others.
CONNECTS_PER_S, UNREAD, LIVE_PER_S = 200, 20, 100.0
#: A notification that has not arrived by then is lost.
_ARRIVAL_S = 20.0


class Way(NamedTuple):
    """Says how long a notification took to its device."""

    from_post_s: float
    from_acceptance_s: float


@dataclass(frozen=True)
class Place:
    """Holds what runs while a round is measured."""

    arena: Arena
    guests: Guests
    sent: Sender
    devices: Fleet
    gateway: Child
    node: Child
    #: the users who have a device
    users: Sequence[str]


def measure(
    arena: Arena, databases: dict[str, str], sockets: int, rounds: int, console: Console
) -> dict[str, dict[str, object]]:
    """Measures ``rounds`` times with each database, interleaved.

    Returns for each the median of every figure, and under ``rounds`` the figures of each round.
    """
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in databases}
    for number in range(1, rounds + 1):
        for name, url in databases.items():
            console.log(f"realtime: the whole way, {name}, round {number} of {rounds}")
            runs[name].append(_round(arena, url, sockets, f"{name}-{number}"))
    return {name: {**median_of(figures), "rounds": figures} for name, figures in runs.items()}


def _round(arena: Arena, database_url: str, sockets: int, run: str) -> dict[str, float]:
    arena.servers.forget(*(ours.queue("websocket", priority) for priority in PRIORITIES))
    ours.declare(arena)
    guests = Guests.of_this_run()
    with ExitStack() as stack:
        sent = stack.enter_context(sender.opened(database_url, arena.servers.redis_url))
        gateway = ours.start_gateway(arena)
        stack.callback(gateway.stop)
        node = servers.node(arena, guests, database_url, role="both")
        stack.callback(node.stop)
        ours.wait_for_workers(arena, "websocket", [node])
        devices = stack.enter_context(fleet.running(arena.directory, "whole-way"))
        users = [f"{run}-{number}" for number in range(sockets)]
        devices.connect(arena.ports.sockets, guests.paths(users), servers.OURS.greetings)
        place = Place(arena, guests, sent, devices, gateway, node, users)
        _ways(place, f"{run}-warm", PER_S, _WARM_UP_S)
        return {**_whole_way(place, f"{run}-steady"), **_while_others_connect(place, f"{run}-rush")}


def _whole_way(place: Place, run: str) -> dict[str, float]:
    before_s = _cpu_s(place)
    ways = _ways(place, run, PER_S, SECONDS)
    after_s = _cpu_s(place)
    costs = {name: round(1000 * (after_s[name] - before_s[name]) / len(ways), 3) for name in before_s}
    from_acceptance_s, from_post_s = [way.from_acceptance_s for way in ways], [way.from_post_s for way in ways]
    return {
        "p50_ms": percentile_ms(from_acceptance_s, 50),
        "p99_ms": percentile_ms(from_acceptance_s, 99),
        "from_post_p50_ms": percentile_ms(from_post_s, 50),
        "from_post_p99_ms": percentile_ms(from_post_s, 99),
        **costs,
    }


def _while_others_connect(place: Place, run: str) -> dict[str, float]:
    """Connects devices, each with unread notifications, while notifications go to those that are there."""
    newcomers = [f"{run}-{number}" for number in range(round(CONNECTS_PER_S * SECONDS))]
    for _ in range(UNREAD):
        place.sent.store(newcomers)
    paths = place.guests.paths(newcomers)
    place.devices.record()
    began_s = time.monotonic()
    place.devices.begin_connecting(place.arena.ports.sockets, paths, servers.OURS.greetings, CONNECTS_PER_S)
    due_s = _post(place, run, LIVE_PER_S, SECONDS)
    loads_s = place.devices.connected()
    connected_s = time.monotonic() - began_s
    took_s = [way.from_acceptance_s for way in _wait(place, due_s)]
    return {
        "rush_p50_ms": percentile_ms(took_s, 50),
        "rush_p99_ms": percentile_ms(took_s, 99),
        "rush_latest_ms": round(1000 * max(took_s), 1),
        "first_load_p50_ms": percentile_ms(loads_s, 50),
        "first_load_p99_ms": percentile_ms(loads_s, 99),
        "connects_per_s": round(len(loads_s) / connected_s, 1),
    }


def _ways(place: Place, run: str, per_s: float, seconds: float) -> list[Way]:
    """Posts notifications to users at random, and waits until each is at its device."""
    place.devices.record()
    return _wait(place, _post(place, run, per_s, seconds))


def _post(place: Place, run: str, per_s: float, seconds: float) -> dict[str, float]:
    """Returns when each notification was due: request_id -> time of the monotonic clock."""
    moments_s = list(posting.moments(per_s, seconds, random.Random(run)))
    return posting.run(place.arena.ports.gateway, _posts(place, run), moments_s)


def _posts(place: Place, run: str) -> Iterator[posting.Post]:
    chance = random.Random(run)
    for number in count():
        request_id = f"{run}-{number}"
        text = body(request_id, "websocket", user_id=chance.choice(place.users))
        yield request_id, load.post("/notifications", place.arena.ports.gateway, text)


def _wait(place: Place, due_s: dict[str, float]) -> list[Way]:
    """Waits until all are at their devices."""
    came: dict[str, Arrival] = {}

    def all_came() -> bool:
        came.update(place.devices.recorded())
        return due_s.keys() <= came.keys()

    wait_until(all_came, f"all of {len(due_s)} notifications at their devices", _ARRIVAL_S, [place.node])
    return [Way(came[id_].at_s - at_s, came[id_].since_acceptance_s) for id_, at_s in due_s.items()]


def _cpu_s(place: Place) -> dict[str, float]:
    """Returns the seconds that each part has used so far; the devices show that the load is not the bottleneck."""
    pids = {
        "gateway_cpu_ms": place.gateway.pid,
        "node_cpu_ms": place.node.pid,
        "rabbitmq_cpu_ms": place.arena.servers.rabbitmq_pid,
        "redis_cpu_ms": place.arena.servers.redis_pid,
        "devices_cpu_ms": place.devices.pid,
    }
    return {name: procfs.cpu_s(procfs.tree(pid)) for name, pid in pids.items()}
