"""Tells whether the system is healthy, and if not, which parts are not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from ops.processes import tail
from ops.servers.addresses import shown_addresses
from ops.servers.ports import accepts
from ops.settings import Configuration
from ops.system.fleet import Program, programs
from ops.system.supervision import ProcessState
from shared.health.registry import SLOW_FORWARD_S

_TIMEOUT_S = 6.0
_WELL = ("RUNNING", "STARTING")


def health_of(program: Program) -> dict[str, Any] | None:
    """Returns the process's own answer to /health, with any status, or None if it does not answer."""
    with requests.Session() as session:
        # Calls on this machine must not go through a proxy from the environment.
        session.trust_env = False
        try:
            answer = session.get(program.health_url, timeout=_TIMEOUT_S).json()
        except requests.RequestException:
            return None
    return answer if isinstance(answer, dict) else None


def is_healthy(configuration: Configuration) -> bool:
    """Tells whether every process has opened its ports and the gateway reports "healthy"."""
    fleet = programs(configuration)
    if not all(listens(program) for program in fleet):
        return False
    gateway = next(program for program in fleet if program.name == "gateway")
    return (health_of(gateway) or {}).get("status") == "healthy"


def listens(program: Program) -> bool:
    """Tells whether all ports of the program are open."""
    return all(accepts(port.number, port.reachable_host) for port in program.ports)


def complaints(
    configuration: Configuration, states: dict[str, ProcessState], log_file: Callable[[str], Path]
) -> list[str]:
    """Returns one text for each unhealthy part, the most likely cause first, or an empty list if all are healthy."""
    if not states:
        return ["supervisord does not answer"]
    found: list[str] = []
    for program in programs(configuration):
        state = states.get(program.name)
        if state is None:
            found.append(f"{program.name}: not started")
        elif state.state not in _WELL or not listens(program):
            what = f"{program.name}: {state.state}, {state.description or 'does not listen yet'}"
            found.append(f"{what}\n{tail(log_file(program.name), 5)}".rstrip())
        elif (health := health_of(program)) is None:
            found.append(f"{program.name}: {program.health_url} does not answer")
        elif program.name == "gateway":
            found += _gateway_complaints(configuration, health)
    return found


def _gateway_complaints(configuration: Configuration, health: dict[str, Any]) -> list[str]:
    found = []
    for part, url in (("broker", configuration.product.broker.url), ("redis", configuration.product.redis.url)):
        if health.get(part) not in (None, "up"):
            private = configuration.private_rabbitmq if part == "broker" else configuration.private_redis
            found.append(f"{part}: {health[part]}" + ("" if private else f" ({shown_addresses(url)})"))
    if health.get("store") not in (None, "up"):
        found.append(f"store: {health['store']}; ./notify store status says more")
    for name, channel in health.get("channels", {}).items():
        if not channel.get("consumers"):
            found.append(f"{name}: no consumer on {channel.get('queue')}")
        elif channel.get("paused") or channel.get("breaker_state") not in (None, "closed"):
            found.append(f"{name}: breaker {channel.get('breaker_state')}, paused {channel.get('paused')}")
        elif channel.get("oldest_forward_s", 0) >= SLOW_FORWARD_S:
            found.append(f"{name}: {channel['forwards']} forwards, oldest {channel['oldest_forward_s']} s")
    if not found and health.get("status") != "healthy":
        found.append(f"gateway: {health.get('status')}")
    return found
