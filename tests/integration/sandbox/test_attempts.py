"""The sandbox tells what every provider was sent, accepted or not, and who it was for."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote

import aiohttp
import aiosmtplib
import pytest

from sandbox.attempts import Attempts
from sandbox.fault_rules import PROVIDERS
from sandbox.faults import Fault, Mode
from sandbox.server import Sandbox, start
from tests.support.waiting import eventually_async

FCM = "/v1/projects/demo/messages:send"
TWILIO = "/2010-04-01/Accounts/AC1/Messages.json"
SENDGRID = "/v3/mail/send"
VONAGE = "/sms/json"
BEARER = {"Authorization": "Bearer any"}
BASIC = {"Authorization": "Basic any"}
CALLBACK = f"https://example.com/status?request_id={quote('r:1')}"

Send = Callable[[aiohttp.ClientSession], Coroutine[Any, Any, None]]


def calling(path: str, headers: dict[str, str] | None = None, **body: Any) -> Send:
    async def send(http: aiohttp.ClientSession) -> None:
        async with http.post(path, headers=headers, **body) as response:
            await response.read()

    return send


def fcm(token: object = "t1", headers: dict[str, str] | None = BEARER, **fields: object) -> Send:
    return calling(FCM, headers, json={"message": {"token": token, "data": {"request_id": "r:1"}, **fields}})


def mail(to: str = "ada@example.com", **fields: object) -> dict[str, object]:
    return {"personalizations": [{"to": [{"email": to}], "custom_args": {"request_id": "r:1"}}], **fields}


def vonage(**fields: str) -> dict[str, str]:
    return {"api_key": "k", "api_secret": "s", "from": "us", "to": "15550000001", "text": "hi"} | fields


async def attempts(http: aiohttp.ClientSession, **query: str) -> dict[str, Any]:
    async with http.get("/sandbox/attempts", params=query) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
    return answer


async def order(http: aiohttp.ClientSession, provider: str, **fault: object) -> None:
    async with http.put(f"/sandbox/faults/{provider}", json=fault) as response:
        assert response.status == 200, await response.text()


REFUSED = {
    "fcm without a bearer token": ("fcm", fcm(headers=None)),
    "fcm with a dead token": ("fcm", fcm("dead-1")),
    "fcm with an unknown field": ("fcm", fcm(colour="red")),
    "sendgrid without a key": ("sendgrid", calling(SENDGRID, json=mail())),
    "sendgrid with a dead address": ("sendgrid", calling(SENDGRID, BEARER, json=mail("dead@example.com"))),
    "twilio without credentials": ("twilio", calling(TWILIO, data={"To": "+15550000001", "StatusCallback": CALLBACK})),
    "twilio without a body": ("twilio", calling(TWILIO, BASIC, data={"To": "+1555", "StatusCallback": CALLBACK})),
    "vonage without a text": ("vonage", calling(VONAGE, data=vonage(text="", **{"client-ref": "r:1"}))),
    "vonage with a bad number": ("vonage", calling(VONAGE, data=vonage(to="1", **{"client-ref": "r:1"}))),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refused_call_is_counted_under_its_request_id(
    http: aiohttp.ClientSession, sandbox: Sandbox, case: str
) -> None:
    provider, send = REFUSED[case]
    await send(http)
    await send(http)
    answer = await attempts(http)
    assert answer["attempts"] == {name: {"r:1": 2} if name == provider else {} for name in PROVIDERS}
    assert (answer["unnamed"][provider], answer["forgotten"]) == (0, 0)
    assert not sandbox.ledger.deliveries


@pytest.mark.parametrize(
    "fault", [{"mode": "status", "status": 503}, {"mode": "status", "status": 429, "retry_after": 1}, {"mode": "slow"}]
)
async def test_accepted_calls_and_those_refused_by_a_fault_are_counted_alike(
    http: aiohttp.ClientSession, fault: dict[str, object]
) -> None:
    if fault["mode"] == "slow":
        fault = {**fault, "delay_ms": 1}
    await order(http, "fcm", **fault, count=2)
    for _ in range(3):
        await fcm()(http)
    assert (await attempts(http, provider="fcm"))["attempts"] == {"fcm": {"r:1": 3}}


async def test_hung_and_cut_calls_are_counted_at_once(http: aiohttp.ClientSession) -> None:
    await order(http, "fcm", mode="timeout", count=1)
    hanging = asyncio.create_task(fcm()(http))

    async def counted() -> bool:
        return bool((await attempts(http))["attempts"]["fcm"] == {"r:1": 1})

    await eventually_async(counted)
    hanging.cancel()
    await order(http, "fcm", mode="reset_after_accept", count=1)
    with pytest.raises(aiohttp.ClientError):
        await fcm()(http)
    assert (await attempts(http))["attempts"]["fcm"] == {"r:1": 2}


async def test_a_call_that_names_no_request_id_is_counted_by_its_target(http: aiohttp.ClientSession) -> None:
    await calling(TWILIO, BASIC, data={"To": "+15550000001", "From": "+1", "Body": "hi"})(http)
    await order(http, "twilio", mode="status", status=503)
    await calling(TWILIO, BASIC, data={"To": "+15550000001", "From": "+1", "Body": "hi"})(http)
    answer = await attempts(http, provider="twilio")
    assert answer == {
        "attempts": {"twilio": {}},
        "targets": {"twilio": {"+15550000001": 2}},
        "unnamed": {"twilio": 0},
        "forgotten": 0,
    }


async def test_a_call_whose_body_cannot_be_read_is_counted_without_a_name(http: aiohttp.ClientSession) -> None:
    await calling(FCM, BEARER, data="{")(http)
    await calling(FCM, BEARER, json={"message": {"data": {"request_id": 1}}})(http)
    assert (await attempts(http))["unnamed"]["fcm"] == 2


async def test_mail_is_counted_by_what_was_heard_of_it(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    """Turned away at the door: nothing. At RCPT: the recipient. After DATA: the request_id."""
    text = "Subject: hi\r\nX-Request-ID: r1\r\n\r\nhello\r\n"
    async with aiosmtplib.SMTP(hostname=sandbox.host, port=sandbox.smtp_port, start_tls=False, timeout=5) as smtp:
        await smtp.sendmail("us@example.com", "ada@example.com", text)
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await smtp.sendmail("us@example.com", "dead@example.com", text)
        await order(http, "smtp", mode="status", status=451, count=1)
        with pytest.raises(aiosmtplib.SMTPDataError):
            await smtp.sendmail("us@example.com", "ada@example.com", text)
        await order(http, "smtp", mode="status", status=530, count=1)
        with pytest.raises(aiosmtplib.SMTPSenderRefused):
            await smtp.sendmail("us@example.com", "ada@example.com", text)
    answer = await attempts(http, provider="smtp")
    assert answer["attempts"] == {"smtp": {"r1": 2}}
    assert answer["targets"] == {"smtp": {"dead@example.com": 1}}
    assert answer["unnamed"] == {"smtp": 1}


async def test_a_mail_of_which_several_things_are_heard_is_counted_once(
    sandbox: Sandbox, http: aiohttp.ClientSession
) -> None:
    async with aiosmtplib.SMTP(hostname=sandbox.host, port=sandbox.smtp_port, start_tls=False, timeout=5) as smtp:
        people = ["dead@example.com", "ada@example.com"]
        await smtp.sendmail("us@example.com", people, "X-Request-ID: r1\r\n\r\nhello\r\n")
    answer = await attempts(http, provider="smtp")
    assert (answer["attempts"], answer["targets"]) == ({"smtp": {}}, {"smtp": {"dead@example.com": 1}})


async def test_a_mail_too_big_to_be_read_is_counted_by_its_recipient(
    sandbox: Sandbox, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.smtp.wire.LARGEST_MESSAGE_BYTES", 100)
    async with aiosmtplib.SMTP(hostname=sandbox.host, port=sandbox.smtp_port, start_tls=False, timeout=5) as smtp:
        with pytest.raises(aiosmtplib.SMTPDataError):
            await smtp.sendmail("us@example.com", "ada@example.com", "x" * 60 + "\r\n" + "y" * 60)
    assert (await attempts(http))["targets"]["smtp"] == {"ada@example.com": 1}


async def test_all_attempts_are_forgotten_on_demand(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    await fcm()(http)
    async with http.delete("/sandbox/attempts") as response:
        assert response.status == 204
    assert (await attempts(http))["attempts"]["fcm"] == {}
    assert len(sandbox.ledger.deliveries) == 1


async def test_of_more_ids_than_are_kept_the_oldest_is_forgotten_and_that_is_told() -> None:
    async with start(keep=2) as sandbox, aiohttp.ClientSession(sandbox.url) as http:
        for request_id in ("r1", "r2", "r1", "r3"):
            await calling(FCM, BEARER, json={"message": {"token": "t", "data": {"request_id": request_id}}})(http)
        answer = await attempts(http)
    assert answer["attempts"]["fcm"] == {"r2": 1, "r3": 1}
    assert answer["forgotten"] == 1


async def test_an_unknown_provider_is_422(http: aiohttp.ClientSession) -> None:
    async with http.get("/sandbox/attempts?provider=pigeon") as response:
        assert response.status == 422
        assert (await response.json())["errors"][0]["field"] == "provider"


def test_a_call_that_began_before_everything_was_forgotten_leaves_no_debt() -> None:
    attempts = Attempts(keep=10)
    attempts.began("fcm")
    attempts.forget()
    attempts.identified("fcm", "r1", "t1")
    attempts.began("fcm")
    assert attempts.sent["fcm"].unnamed == 1


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


async def test_an_unknown_form_of_the_ledger_is_422(http: aiohttp.ClientSession) -> None:
    async with http.get("/sandbox/deliveries?form=short") as response:
        assert response.status == 422
        assert (await response.json())["errors"][0]["field"] == "form"
