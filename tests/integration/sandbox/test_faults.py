"""Faults strike as ordered, and an accepted message is in the ledger even if its answer was lost."""

import asyncio

import aiohttp
import pytest

from sandbox.server import SHUTDOWN_S, Sandbox, start
from tests.support.sandbox import order
from tests.support.waiting import eventually_async

SEND = "/v1/projects/demo/messages:send"
BEARER = {"Authorization": "Bearer anything"}


async def push(http: aiohttp.ClientSession, token: str = "t1") -> aiohttp.ClientResponse:
    body = {"message": {"token": token, "data": {"request_id": "r1"}}}
    async with http.post(SEND, json=body, headers=BEARER) as response:
        await response.read()
    return response


async def test_a_fault_clears_itself_after_count_calls(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    await order(sandbox, "fcm", mode="status", status=503, count=2)
    assert [(await push(http)).status for _ in range(4)] == [503, 503, 200, 200]
    assert sandbox.ledger.totals(["fcm"]) == {"fcm": {"calls": 4, "accepted": 2}}
    assert not sandbox.faults.standing


async def test_a_fault_stands_until_it_is_lifted(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    await order(sandbox, "fcm", mode="status", status=500)
    assert [(await push(http)).status for _ in range(3)] == [500] * 3
    async with http.delete("/sandbox/faults/fcm") as response:
        assert response.status == 204
    assert (await push(http)).status == 200


async def test_a_limit_of_the_rate_lets_so_many_calls_of_each_second_through(
    http: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    times = iter([0.0, 0.5, 0.9, 0.95, 1.2, 1.3, 1.6])
    sandbox.faults.clock = lambda: next(times)
    await order(sandbox, "fcm", mode="status", status=429, above_per_s=2)
    assert [(await push(http)).status for _ in range(7)] == [200, 200, 429, 429, 200, 429, 200]


async def test_slow_answers_late_and_is_in_the_ledger_at_once(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    await order(sandbox, "fcm", mode="slow", delay_ms=60_000, count=1)
    call = asyncio.create_task(push(http))
    await eventually_async(lambda: sandbox.ledger.deliveries)
    assert sandbox.ledger.deliveries[0].ended_at is None
    call.cancel()
    await eventually_async(lambda: sandbox.ledger.deliveries[0].ended_at is not None)


async def test_a_refused_message_is_not_recorded_although_the_fault_would_accept(
    http: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    await order(sandbox, "fcm", mode="reset_after_accept")
    assert (await push(http, "dead-1")).status == 404
    assert not sandbox.ledger.deliveries


@pytest.mark.parametrize(
    ("provider", "fault", "field"),
    [
        ("fcm", {}, "mode"),
        ("fcm", {"mode": "explode"}, "mode"),
        ("fcm", {"mode": "status"}, "status"),
        ("fcm", {"mode": "status", "status": 200}, "status"),
        ("fcm", {"mode": "status", "status": "503"}, "status"),
        ("fcm", {"mode": "status", "status": True}, "status"),
        ("smtp", {"mode": "status", "status": 307}, "status"),
        ("fcm", {"mode": "slow"}, "delay_ms"),
        ("fcm", {"mode": "slow", "delay_ms": -1}, "delay_ms"),
        ("fcm", {"mode": "timeout", "rate": 0}, "rate"),
        ("fcm", {"mode": "timeout", "rate": 1.5}, "rate"),
        ("fcm", {"mode": "timeout", "count": 0}, "count"),
        ("fcm", {"mode": "timeout", "colour": "red"}, "colour"),
        ("fcm", {"mode": "status", "status": 429, "retry_after": "1\r\nX: y"}, "retry_after"),
        ("smtp", {"mode": "status", "status": 451, "retry_after": 1}, "retry_after"),
        ("fcm", {"mode": "status", "error_code": "GONE"}, "error_code"),
        ("twilio", {"mode": "status", "error_code": "UNREGISTERED"}, "error_code"),
        ("vonage", {"mode": "status", "error_code": 0}, "error_code"),
        ("smtp2", {"mode": "status", "error_code": "2.0.0"}, "error_code"),
        ("sendgrid", {"mode": "status", "error_code": "1"}, "error_code"),
        ("fcm", {"mode": "down"}, "mode"),
        ("smtp", {"mode": "down", "target": "a@example.com"}, "target"),
        ("twilio", {"mode": "status", "status": 400, "field": "To"}, "field"),
    ],
)
async def test_a_bad_fault_is_a_422_that_names_the_field(
    http: aiohttp.ClientSession, sandbox: Sandbox, provider: str, fault: dict[str, object], field: str
) -> None:
    async with http.put(f"/sandbox/faults/{provider}", json=fault) as response:
        answer = await response.json()
    assert (response.status, response.content_type) == (422, "application/problem+json")
    assert field in [error["field"] for error in answer["errors"]]
    assert not sandbox.faults.standing


async def test_a_full_ledger_forgets_the_oldest_and_says_so() -> None:
    async with start(keep=2) as sandbox, aiohttp.ClientSession(sandbox.url) as http:
        for token in ("t1", "t2", "t3"):
            await push(http, token)
        async with http.get("/sandbox/deliveries") as response:
            ledger = await response.json()
    assert [delivery["target"] for delivery in ledger["deliveries"]] == ["t2", "t3"]
    assert ledger["forgotten"] == 1


async def test_hundreds_of_hanging_calls_do_not_hold_up_the_others_nor_the_end() -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        async with start() as sandbox:
            sandbox_url = sandbox.url + SEND
            await client.put(f"{sandbox.url}/sandbox/faults/fcm", json={"mode": "timeout", "target": "stuck"})
            stuck = {"message": {"token": "stuck"}}
            calls = [asyncio.create_task(client.post(sandbox_url, json=stuck, headers=BEARER)) for _ in range(300)]
            await eventually_async(lambda: sandbox.ledger.totals(["fcm"])["fcm"]["calls"] == 300)
            async with client.post(sandbox_url, json={"message": {"token": "t1"}}, headers=BEARER) as response:
                assert response.status == 200
            leaving_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - leaving_at < SHUTDOWN_S
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(outcome, aiohttp.ClientError) for outcome in outcomes)
