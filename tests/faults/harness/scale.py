"""Divides the product's times by one factor, so that a minute of retries takes three seconds of test.

Leases, the ladder, breakers and pauses shrink together, so the order of their lengths stays as in production. Times
that face the network and the operator (deadline of a publish, AMQP heartbeats, orderly stops) stay unscaled, and so do
the gateway's.
"""

from __future__ import annotations

from typing import Any

from shared.message.channels import CHANNELS
from shared.settings.load import load_settings, variables_of
from shared.settings.settings import Settings

#: every scaled time is the product's default divided by this
FACTOR = 20

#: time that the harness' broker waits before it repeats a dead letter that its target did not store, seconds (default
#: 180)
DEAD_LETTER_REPEAT_S = 5.0

#: longest that one call to a provider may take, seconds: the product's 10 s, scaled
PROVIDER_TIMEOUT_S = 10 / FACTOR
#: the same for scenarios in which no provider is broken but leases have to run out: the most that the handling budget
#: allows, seconds
PATIENT_S = 20 / FACTOR

#: A system in which no message has to wait for a lease to run out is made with these (``trial.system(push=1,
#: **UNHURRIED)``): a machine that is unresponsive for half a second then causes no ambiguous answer.
UNHURRIED: dict[str, Any] = {
    "provider_timeout_s": 10.0,
    "variables": {"LEASE_S": "60", "HANDLING_BUDGET_S": "25", "BREAKER_SLOW_S": "5"},
}

#: The same for scenarios in which a message is redelivered while its forward cannot finish: the copy waits in the
#: ladder until the lease is over, which must not take as long as the scenario.
SHORT_LEASES: dict[str, Any] = {
    "provider_timeout_s": 5.0,
    "variables": {"LEASE_S": "14", "HANDLING_BUDGET_S": "6", "BREAKER_SLOW_S": "5"},
}

#: variables of workers whose breakers never open, for scenarios about other things: neither failures in a row nor the
#: share of failed or slow calls reaches its threshold
BREAKERS_NEVER_OPEN = {"BREAKER_FAILURES": "1000000", "BREAKER_WINDOW_CALLS": "1000000"}

_SCALED = (
    "retry_base_s",
    "retry_min_s",
    "handling_budget_s",
    "lease_s",
    "redis_record_patience_s",
    "breaker_window_s",
    "breaker_slow_s",
    "breaker_open_s",
    "breaker_open_max_s",
    "pause_hold_s",
    "pause_probe_s",
)


def scaled_settings() -> Settings:
    """Returns the default settings with ``_SCALED``, the ladder's levels and the caps of backoff
    divided by ``FACTOR``.
    """
    return load_settings(env_file=None, **_scaled(FACTOR))


def scaled_variables(factor: float = FACTOR) -> dict[str, str]:
    """Returns the same settings, divided by ``factor``, as environment variables for processes."""
    scaled = _scaled(factor)
    levels_s = scaled.pop("retry_levels_s")
    variables = {name.upper(): f"{value:g}" for name, value in scaled.items()}
    return variables | {"RETRY_LEVELS_S": ",".join(f"{level:g}" for level in levels_s)}


def _scaled(factor: float) -> dict[str, Any]:
    usual = variables_of(load_settings(env_file=None))
    names = [*_SCALED, *(f"retry_cap_s_{channel}" for channel in CHANNELS)]
    scaled: dict[str, Any] = {name: usual[name.upper()] / factor for name in names}
    return scaled | {"retry_levels_s": tuple(level / factor for level in usual["RETRY_LEVELS_S"])}
