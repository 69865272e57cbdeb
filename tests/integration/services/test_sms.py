"""Tests services/sms/ with vendors made of bare sockets and with the sandbox."""

import base64
import dataclasses
from contextlib import AbstractAsyncContextManager

import pytest

from sandbox.server import Sandbox
from services.sms import twilio, vonage
from services.sms.twilio import Twilio
from services.sms.vonage import Vonage
from shared.providers.urls import Builder, providers_for
from tests.support.messages import DOWN, RATE, RECIPIENT, REQUEST_ID, built, message, refusing, send, settings
from tests.support.opened import opened
from tests.support.peers.raw_http import RawHttp, answer, raw_http

TO = "+15005550001"
TWILIO_YES = answer(201, {"sid": "SM1", "status": "queued", "error_code": None})
VONAGE_YES = answer(200, {"message-count": "1", "messages": [{"status": "0", "message-id": "0A1"}]})


def at_twilio(vendor: RawHttp, options: str = "from=+15005550006") -> AbstractAsyncContextManager[Twilio]:
    return opened(built(twilio.build, f"twilio://AC1:to%2Fken@{vendor.host}?tls=0&{options}"))


def at_vonage(vendor: RawHttp) -> AbstractAsyncContextManager[Vonage]:
    return opened(built(vonage.build, f"vonage://key:sec%26ret@{vendor.host}?tls=0&from=Notify"))


async def test_twilio_gets_a_form_and_our_credentials() -> None:
    async with raw_http(TWILIO_YES) as vendor, at_twilio(vendor) as made:
        assert await send(made, message(TO, body="100 % & more + é")) == "SM1"
        (request,) = vendor.requests
        assert request.path == "/2010-04-01/Accounts/AC1/Messages.json"
        assert request.headers["authorization"] == f"Basic {base64.b64encode(b'AC1:to/ken').decode()}"
        assert request.form() == {"To": TO, "From": "+15005550006", "Body": "100 % & more + é"}


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        ("https://example.com/cb", f"https://example.com/cb?request_id={REQUEST_ID.replace(':', '%3A')}"),
        ("https://example.com/cb?a=b", f"https://example.com/cb?a=b&request_id={REQUEST_ID.replace(':', '%3A')}"),
    ],
)
async def test_twilios_callback_names_the_request(callback: str, expected: str) -> None:
    async with raw_http(TWILIO_YES) as vendor, at_twilio(vendor, f"from=+1500&callback={callback}") as made:
        await send(made, message(TO))
        assert vendor.requests[0].form()["StatusCallback"] == expected


async def test_a_messaging_service_may_be_the_sender() -> None:
    async with raw_http(TWILIO_YES) as vendor, at_twilio(vendor, "from=MG123") as made:
        await send(made, message(TO))
        assert vendor.requests[0].form()["MessagingServiceSid"] == "MG123"


@pytest.mark.parametrize("body", [b"", b"<html>", {"other": 1}])
async def test_twilios_acceptance_without_a_sid_is_an_acceptance(body: object) -> None:
    async with raw_http(answer(201, body)) as vendor, at_twilio(vendor) as made:
        assert await send(made, message(TO)) == ""


async def test_vonage_gets_a_form_with_our_reference() -> None:
    async with raw_http(VONAGE_YES) as vendor, at_vonage(vendor) as made:
        assert await send(made, message(TO, body="Hi [1] €")) == "0A1"
        (request,) = vendor.requests
        assert request.path == "/sms/json"
        assert request.form() == {
            "api_key": "key",
            "api_secret": "sec&ret",
            "from": "Notify",
            "to": TO.removeprefix("+"),
            "text": "Hi [1] €",
            "type": "text",
            "client-ref": REQUEST_ID,
        }


@pytest.mark.parametrize(("body", "kind"), [("plain ÄÖ ñ @", "text"), ("snow ☃", "unicode"), ("Привет", "unicode")])
async def test_a_text_outside_gsm_is_sent_as_unicode(body: str, kind: str) -> None:
    async with raw_http(VONAGE_YES) as vendor, at_vonage(vendor) as made:
        await send(made, message(TO, body=body))
        assert vendor.requests[0].form()["type"] == kind


async def test_a_200_of_vonage_alone_is_no_acceptance() -> None:
    refusal = answer(200, {"messages": [{"status": "1", "error-text": "Throughput Rate Exceeded"}]})
    async with raw_http(refusal, answer(200, b"<html>")) as vendor, at_vonage(vendor) as made:
        with refusing(RATE):
            await send(made, message(TO))
        with refusing(DOWN) as caught:
            await send(made, message(TO))
        assert caught.value.ambiguous


async def test_the_sandbox_receives_from_both(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMS_PROVIDERS", raising=False)
    builders: dict[str, Builder] = {"twilio": twilio.build, "vonage": vonage.build}
    for provider in providers_for("sms", builders, settings(sandbox_port=sandbox.port)):
        async with opened(provider) as made:
            assert await send(made, dataclasses.replace(message(TO, request_id=f"for-{made.name}"), life_s=10**9))
            for nobody in ("+10005550001", "abc"):
                with refusing(RECIPIENT):
                    await send(made, message(nobody))
    received = [(delivery.provider, delivery.request_id) for delivery in sandbox.ledger.select()]
    assert received == [("twilio", "for-twilio"), ("vonage", "for-vonage")]
    lives = [delivery.shown()["payload"] for delivery in sandbox.ledger.select()]
    assert [life.get("ValidityPeriod") or life.get("ttl") for life in lives] == ["36000", "604800000"]  # type: ignore[attr-defined]
    # The target that is no number was refused without a call.
    assert [sandbox.ledger.tallies[name].calls for name in ("twilio", "vonage")] == [2, 2]
