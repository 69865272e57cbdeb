"""Tests a channel whose first provider is unavailable and that has a second one."""

from __future__ import annotations

from typing import Any

from tests.faults.harness.scale import UNHURRIED
from tests.faults.harness.scenario import scenario
from tests.faults.harness.trial import Trial
from tests.faults.ledger.worker_log import opened
from tests.faults.load.traffic import unending
from tests.support.waiting import eventually_async

#: limit from the opening of the breaker to the first delivery by the second provider, seconds
AT_ONCE_S = 2.0
#: more calls than probes: after these, the first provider has the traffic again
AGAIN = 50
#: limit from the end of the outage until then, seconds: the longest open time of its breaker and a margin
BACK_S = 30.0


@scenario(quick=True)
async def email_fails_over(trial: Trial) -> None:
    """The mail server refuses every client: SendGrid delivers within 2 s of the breaker's opening, until the mail
    server is available again.
    """
    await fails_over(trial, "email", "smtp", "sendgrid", {"mode": "status", "status": 451})


@scenario()
async def sms_fails_over(trial: Trial) -> None:
    """Twilio answers 503: Vonage delivers within 2 s of the breaker's opening, until Twilio is available again."""
    await fails_over(trial, "sms", "twilio", "vonage", {"mode": "status", "status": 503})


async def fails_over(trial: Trial, channel: str, first: str, second: str, fault: dict[str, Any]) -> None:
    plan: dict[str, Any] = {channel: 1, **UNHURRIED}
    async with trial.system(**plan) as system, unending(trial, system, per_s=120):
        await system.delivered(150)
        await system.providers.fault(first, **fault)
        change = await opened(system.workers, first)
        await system.delivered(400)
        await system.providers.heal()
        system.healed()
        calls = await system.providers.calls(first)

        async def has_the_traffic_again() -> bool:
            return await system.providers.calls(first) > calls + AGAIN

        await eventually_async(has_the_traffic_again, BACK_S)
    led = system.ledgers
    by_second = [call.at for call in led.calls if call.provider == second]
    again = [call.at for call in led.calls if call.provider == first and call.at > led.healed_at]
    assert by_second, f"{second} was never called"
    after_s = min(by_second) - change.at
    trial.note(f"{second} delivered {len(by_second)}, the first {after_s * 1000:.0f} ms after the breaker opened")
    assert 0 <= after_s <= AT_ONCE_S, f"{after_s:.1f} s from the breaker's opening to the first by {second}"
    assert max(again, default=0) > max(by_second), f"{first} is well again, and {second} still has the traffic"
    trial.note(f"{first} had its first message again {min(again) - led.healed_at:.1f} s after it was well")
