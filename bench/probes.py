"""Times single high-priority notifications on their way through gateway and worker to the slow provider."""

import http.client
import json
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

from bench.envelopes import body
from bench.errors import BenchFailed
from bench.processes import Child, wait_until

_ARRIVAL_S = 60.0
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Probe:
    """Holds times of the monotonic clock, which all processes of a machine share."""

    posted_s: float
    accepted_s: float


def post(port: int, request_id: str) -> Probe:
    """Posts one probe; ``request_id`` begins with ``probe-``. Raises BenchFailed unless the gateway accepts it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.connect()
        posted_s = time.monotonic()
        connection.request("POST", "/notifications", body(request_id, priority="high"), _JSON)
        answer = connection.getresponse()
        text = answer.read()
        accepted_s = time.monotonic()
    finally:
        connection.close()
    if answer.status != 202:
        raise BenchFailed(f"a probe was answered {answer.status}: {text.decode(errors='replace')}")
    return Probe(posted_s, accepted_s)


def post_at_random(port: int, run: str, count: int, mean_gap_s: float) -> dict[str, Probe]:
    """Posts ``count`` probes, one at a time, at random intervals, so that they follow no rhythm of the workers."""
    chance = random.Random(20)
    probes: dict[str, Probe] = {}
    for number in range(count):
        time.sleep(chance.expovariate(1 / mean_gap_s))
        request_id = f"probe-{run}-{number}"
        probes[request_id] = post(port, request_id)
    return probes


def arrivals(provider_port: int, request_ids: Iterable[str], workers: list[Child]) -> dict[str, float]:
    """Returns when each reached the slow provider. Raises BenchFailed if one has not arrived within a minute."""
    wanted = set(request_ids)
    found: dict[str, float] = {}

    def all_arrived() -> bool:
        found.update(_noted(provider_port))
        return wanted <= found.keys()

    wait_until(all_arrived, "every probe at the provider", _ARRIVAL_S, workers)
    return found


def _noted(port: int) -> dict[str, float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/probes")
        noted: dict[str, float] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return noted
