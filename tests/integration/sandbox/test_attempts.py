"""The sandbox reports everything that each provider was sent, accepted or not, and for which recipient."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import aiosmtplib
import pytest

from sandbox.faults import Fault, Mode
from sandbox.server import Sandbox, start
from tests.support.sandbox import order
from tests.support.waiting import eventually_async

FCM = "/v1/projects/demo/messages:send"
TWILIO = "/2010-04-01/Accounts/AC1/Messages.json"
BEARER = {"Authorization": "Bearer any"}
BASIC = {"Authorization": "Basic any"}

Send = Callable[[aiohttp.ClientSession], Coroutine[Any, Any, None]]


def calling(path: str, headers: dict[str, str] | None = None, **body: Any) -> Send:
    async def send(http: aiohttp.ClientSession) -> None:
        async with http.post(path, headers=headers, **body) as response:
            await response.read()

    return send


def fcm(token: object = "t1", headers: dict[str, str] | None = BEARER, **fields: object) -> Send:
    return calling(FCM, headers, json={"message": {"token": token, "data": {"request_id": "r:1"}, **fields}})


async def attempts(http: aiohttp.ClientSession, **query: str) -> dict[str, Any]:
    async with http.get("/sandbox/attempts", params=query) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
    return answer


async def test_hung_and_cut_calls_are_counted_at_once(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    await order(sandbox, "fcm", mode="timeout", count=1)
    hanging = asyncio.create_task(fcm()(http))

    async def counted() -> bool:
        return bool((await attempts(http))["attempts"]["fcm"] == {"r:1": 1})

    await eventually_async(counted)
    hanging.cancel()
    await order(sandbox, "fcm", mode="reset_after_accept", count=1)
    with pytest.raises(aiohttp.ClientError):
        await fcm()(http)
    assert (await attempts(http))["attempts"]["fcm"] == {"r:1": 2}


async def test_a_call_that_names_no_request_id_is_counted_by_its_target(
    sandbox: Sandbox, http: aiohttp.ClientSession
) -> None:
    await calling(TWILIO, BASIC, data={"To": "+15550000001", "From": "+1", "Body": "hi"})(http)
    await order(sandbox, "twilio", mode="status", status=503)
    await calling(TWILIO, BASIC, data={"To": "+15550000001", "From": "+1", "Body": "hi"})(http)
    answer = await attempts(http, provider="twilio")
    assert answer == {
        "attempts": {"twilio": {}},
        "targets": {"twilio": {"+15550000001": 2}},
        "unnamed": {"twilio": 0},
        "forgotten": 0,
    }


async def test_mail_is_counted_by_what_was_heard_of_it(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    """A mail refused at once is counted without a name, at RCPT by its recipient, after DATA by request_id."""
    text = "Subject: hi\r\nX-Request-ID: r1\r\n\r\nhello\r\n"
    async with aiosmtplib.SMTP(hostname=sandbox.host, port=sandbox.smtp_port, start_tls=False, timeout=5) as smtp:
        await smtp.sendmail("us@example.com", "ada@example.com", text)
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await smtp.sendmail("us@example.com", "dead@example.com", text)
        await order(sandbox, "smtp", mode="status", status=451, count=1)
        with pytest.raises(aiosmtplib.SMTPDataError):
            await smtp.sendmail("us@example.com", "ada@example.com", text)
        await order(sandbox, "smtp", mode="status", status=530, count=1)
        with pytest.raises(aiosmtplib.SMTPSenderRefused):
            await smtp.sendmail("us@example.com", "ada@example.com", text)
    answer = await attempts(http, provider="smtp")
    assert answer["attempts"] == {"smtp": {"r1": 2}}
    assert answer["targets"] == {"smtp": {"dead@example.com": 1}}
    assert answer["unnamed"] == {"smtp": 1}


async def test_of_more_ids_than_are_kept_the_oldest_is_forgotten_and_that_is_told() -> None:
    async with start(keep=2) as sandbox, aiohttp.ClientSession(sandbox.url) as http:
        for request_id in ("r1", "r2", "r1", "r3"):
            await calling(FCM, BEARER, json={"message": {"token": "t", "data": {"request_id": request_id}}})(http)
        answer = await attempts(http)
    assert answer["attempts"]["fcm"] == {"r2": 1, "r3": 1}
    assert answer["forgotten"] == 1


async def test_the_compact_ledger_tells_who_and_when_in_seconds(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    ticks = itertools.count(1000.25)
    sandbox.ledger.clock = lambda: next(ticks)
    await fcm()(http)
    sandbox.faults.order("fcm", Fault(mode=Mode.SLOW, delay_ms=60_000))
    unanswered = asyncio.create_task(fcm("t2")(http))
    await eventually_async(lambda: len(sandbox.ledger.deliveries) == 2)
    async with http.get("/sandbox/deliveries?form=compact") as response:
        answer = await response.json()
    assert answer == {
        "count": 2,
        "deliveries": [["fcm", "r:1", "t1", 1000.25, 1001.25], ["fcm", "r:1", "t2", 1002.25, None]],
        "forgotten": 0,
    }
    async with http.get("/sandbox/deliveries?form=compact&provider=fcm&request_id=r:1&limit=1") as response:
        assert [one[2] for one in (await response.json())["deliveries"]] == ["t2"]
    unanswered.cancel()
