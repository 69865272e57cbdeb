"""Every fault that a scenario can order reaches the product's own classes, at every provider that supports it."""

import asyncio
import itertools
import time
from email.utils import formatdate

import aiohttp
import pytest

from sandbox.server import Sandbox
from shared.errors import Refusal, Refused
from tests.support.messages import REQUEST_ID, message, send
from tests.support.sandbox import order, provider_at
from tests.support.waiting import eventually_async

HTTP = ("fcm", "sendgrid", "twilio", "vonage")
ALL = (*HTTP, "smtp")
LOOKUPS = {"users": "/users/user-1", "templates": "/templates/OTP"}
TARGETS = {"fcm": "token-1", "smtp": "ada@example.com", "sendgrid": "ada@example.com"}
PHONE = "+15550000001"
#: It marks the rate limit of one target; FCM distinguishes it from the project's by the subject of the quota.
ONE_TARGET_TOO_FAST = {"status": 429, "error_code": "QUOTA_EXCEEDED", "field": "device"}


async def outcome(sandbox: Sandbox, name: str, target: str | None = None, timeout_s: float = 5) -> Refused | None:
    """Returns the error of one send, or None."""
    async with provider_at(sandbox, name, timeout_s) as provider:
        try:
            await send(provider, message(target or TARGETS.get(name, PHONE)))
        except Refused as error:
            return error
    return None


def sent(sandbox: Sandbox, provider: str) -> dict[str, int]:
    return dict(sandbox.attempts.sent[provider].by_request_id)


@pytest.mark.parametrize("name", ALL)
async def test_ill_at_a_rate(sandbox: Sandbox, name: str) -> None:
    rolls = itertools.cycle([0.1, 0.79, 0.8, 0.95])
    sandbox.faults.chance = lambda: next(rolls)
    await order(sandbox, name, mode="status", status=451 if name == "smtp" else 503, rate=0.8)
    outcomes = [await outcome(sandbox, name) for _ in range(4)]
    assert [error and error.refusal for error in outcomes] == [Refusal.UNAVAILABLE, Refusal.UNAVAILABLE, None, None]
    assert sent(sandbox, name) == {REQUEST_ID: 4}
    assert len(sandbox.ledger.deliveries) == 2


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("mode", "accepted"), [("timeout", []), ("reset_after_accept", [REQUEST_ID])])
async def test_no_answer_is_ambiguous_and_the_call_is_made_once(
    sandbox: Sandbox, name: str, mode: str, accepted: list[str]
) -> None:
    await order(sandbox, name, mode=mode)
    error = await outcome(sandbox, name, timeout_s=0.3 if mode == "timeout" else 5)
    assert error is not None
    assert error.refusal is Refusal.UNAVAILABLE
    assert error.ambiguous
    assert sent(sandbox, name) == {REQUEST_ID: 1}
    assert [delivery.request_id for delivery in sandbox.ledger.deliveries] == accepted


@pytest.mark.parametrize("name", ALL)
async def test_slow(sandbox: Sandbox, name: str) -> None:
    await order(sandbox, name, mode="slow", delay_ms=50)
    assert await outcome(sandbox, name) is None
    (delivery,) = sandbox.ledger.deliveries
    assert delivery.ended_at is not None
    assert delivery.ended_at - delivery.at >= 0.05


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize(
    ("retry_after", "least_s", "most_s"),
    [
        pytest.param(7, 7, 7, id="seconds"),
        pytest.param(formatdate(time.time() + 3000, usegmt=True), 2000, 3000, id="date"),
        pytest.param("soon", None, None, id="rubbish"),
    ],
)
async def test_too_fast_with_a_time_to_wait(
    sandbox: Sandbox, name: str, retry_after: object, least_s: float | None, most_s: float | None
) -> None:
    await order(sandbox, name, mode="status", status=429, retry_after=retry_after)
    error = await outcome(sandbox, name)
    assert error is not None
    assert error.refusal is Refusal.RATE_EXCEEDED
    if least_s is None or most_s is None:
        assert error.retry_after_s is None
    else:
        assert error.retry_after_s is not None
        assert least_s <= error.retry_after_s <= most_s


async def test_too_fast_for_one_target_only(sandbox: Sandbox) -> None:
    await order(sandbox, "fcm", mode="status", **ONE_TARGET_TOO_FAST, target="token-2")
    assert await outcome(sandbox, "fcm", "token-1") is None
    error = await outcome(sandbox, "fcm", "token-2")
    assert error is not None
    assert error.refusal is Refusal.THROTTLED


@pytest.mark.parametrize("lookup", LOOKUPS)
async def test_lookups_that_are_ill_then_slow(http: aiohttp.ClientSession, sandbox: Sandbox, lookup: str) -> None:
    await order(sandbox, lookup, mode="status", status=503, count=1)
    async with http.get(LOOKUPS[lookup]) as response:
        assert response.status == 503
    await order(sandbox, lookup, mode="slow", delay_ms=50, count=1)
    began = asyncio.get_running_loop().time()
    async with http.get(LOOKUPS[lookup]) as response:
        assert response.status == 200
    assert asyncio.get_running_loop().time() - began >= 0.05


@pytest.mark.parametrize("lookup", LOOKUPS)
async def test_lookups_that_hang(http: aiohttp.ClientSession, sandbox: Sandbox, lookup: str) -> None:
    await order(sandbox, lookup, mode="timeout", count=1)
    hanging = asyncio.create_task(http.get(LOOKUPS[lookup]).__aenter__())
    await eventually_async(lambda: not sandbox.faults.standing)
    done, _ = await asyncio.wait([hanging], timeout=0.3)
    assert not done
    hanging.cancel()
    async with http.get(LOOKUPS[lookup]) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"from": "x"}},
        {"data": {"google.x": "x"}},
        {"android": {"ttl": "2419201s"}},
        {"android": {"ttl": "soon"}},
        {"webpush": {"headers": {"TTL": "-1"}}},
        {"apns": {"headers": {"apns-expiration": "soon"}}},
    ],
)
async def test_fcm_refuses_what_the_vendor_would(http: aiohttp.ClientSession, change: dict[str, object]) -> None:
    call = {"headers": {"Authorization": "Bearer x"}, "json": {"message": {"token": "token-1", **change}}}
    async with http.post("/v1/projects/sandbox/messages:send", **call) as response:  # type: ignore[arg-type]
        assert response.status == 400
        assert (await response.json())["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("period", ["0", "36001", "x"])
async def test_twilio_and_vonage_refuse_a_life_that_is_out_of_range(http: aiohttp.ClientSession, period: str) -> None:
    form = {"To": PHONE, "From": "+1", "Body": "b", "ValidityPeriod": period}
    login = {"Authorization": "Basic x"}
    async with http.post("/2010-04-01/Accounts/AC1/Messages.json", data=form, headers=login) as response:
        assert (await response.json())["code"] == 21624
    form = {"api_key": "k", "api_secret": "s", "from": "N", "to": PHONE, "text": "t", "ttl": period[:4]}
    async with http.post("/sms/json", data=form) as response:
        assert (await response.json())["messages"][0]["status"] == "3"
