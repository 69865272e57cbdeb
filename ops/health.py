"""Is the system well, and if not, which part of it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from ops.fleet import Program, programs
from ops.local_servers import address_of
from ops.processes import tail
from ops.servers.ports import is_free
from ops.settings import Configuration
from ops.supervision import ProcessState

_TIMEOUT_S = 6.0
_WELL = ("RUNNING", "STARTING")


def health_of(program: Program) -> dict[str, Any] | None:
    """Its own answer to /health, whatever the status; None if it gives none."""
    with requests.Session() as session:
        # A proxy from the environment has no business on this machine.
        session.trust_env = False
        try:
            answer = session.get(program.health_url, timeout=_TIMEOUT_S).json()
        except requests.RequestException:
            return None
    return answer if isinstance(answer, dict) else None


def is_healthy(configuration: Configuration) -> bool:
    """What the gateway says of the whole system."""
    gateway = next(program for program in programs(configuration) if program.name == "gateway")
    return (health_of(gateway) or {}).get("status") == "healthy"


def complaints(
    configuration: Configuration, states: dict[str, ProcessState], log_file: Callable[[str], Path]
) -> list[str]:
    """One text for each part that is not well, most likely cause first. Empty if all are."""
    if not states:
        return ["supervisord does not answer"]
    found = []
    for program in programs(configuration):
        state = states.get(program.name)
        if state is None or state.state not in _WELL:
            what = f"{state.state}, {state.description}" if state else "not started"
            found.append(f"{program.name}: {what}\n{tail(log_file(program.name), 5)}".rstrip())
        elif (health := health_of(program)) is None:
            if is_free(program.ports[0].number, program.ports[0].host):
                found.append(f"{program.name}: nothing listens on port {program.ports[0].number}")
            else:
                found.append(f"{program.name}: no answer from {program.health_url}")
        elif program.name == "gateway":
            found += _gateway_complaints(configuration, health)
    return found


def _gateway_complaints(configuration: Configuration, health: dict[str, Any]) -> list[str]:
    found = []
    for part, url in (("broker", configuration.product.rabbitmq), ("redis", configuration.product.redis)):
        if health.get(part) not in (None, "up"):
            host, port = address_of(url)
            private = configuration.private_rabbitmq if part == "broker" else configuration.private_redis
            found.append(f"{part}: {health[part]}" + ("" if private else f" ({host}:{port})"))
    for name, channel in health.get("channels", {}).items():
        if not channel.get("consumers"):
            found.append(f"{name}: no consumer on {channel.get('queue')}")
        elif channel.get("paused") or channel.get("breaker_state") not in (None, "closed"):
            found.append(f"{name}: breaker {channel.get('breaker_state')}, paused {channel.get('paused')}")
    if not found and health.get("status") != "healthy":
        found.append(f"gateway: {health.get('status')}")
    return found
