"""Provides the system for the demo: the one that is running, or one that is started for the demo alone."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from ops.errors import AlreadyRunning, NotRunning
from ops.settings import Configuration
from ops.signals import undisturbed
from ops.system.down import stop
from ops.system.up import start_in_background
from ops.terminal import Terminal
from shared.settings.load import load_settings, variables_of
from shared.settings.settings import Settings

#: Waiting times of a system that is started for the demo, in seconds: a real backoff would take too long to watch.
_QUICK_S = {"retry_base_s": 0.5, "breaker_open_s": 3.0, "heartbeat_s": 0.5}


@contextmanager
def running_system(configuration: Configuration, console: Terminal) -> Iterator[Configuration]:
    """Yields the settings of a healthy system. A system that was started here is stopped at the end of the block."""
    if configuration.place.keeper.living() is not None:
        console.print("Using the running system, with its own waiting times: a retry or a breaker may take a minute.")
        yield configuration
        return
    quick = _quick(configuration.product)
    variables = {name.upper(): f"{value:g}" for name, value in quick.items()}
    shown = " ".join(f"{name}={value}" for name, value in variables.items())
    console.print(f"Starting a system for this demo, with short waiting times: {shown}")
    try:
        start_in_background(configuration, console, variables)
        yield replace(configuration, product=load_settings(**quick))
    except AlreadyRunning:
        # Another process has started the system first: leave it running.
        raise
    except BaseException:
        _end(configuration, console)
        raise
    _end(configuration, console)


def _quick(settings: Settings) -> dict[str, Any]:
    """Returns the short waiting times, none of them longer than the configured one."""
    usual = variables_of(settings)
    return {name: min(value, usual[name.upper()]) for name, value in _QUICK_S.items()}


def _end(configuration: Configuration, console: Terminal) -> None:
    with undisturbed(), console.status("Stopping the system ..."), suppress(NotRunning):
        stop(configuration, lambda line: None)
