"""Tests services/email/sendgrid.py with a vendor made of bare sockets and with the sandbox."""

from contextlib import AbstractAsyncContextManager

import pytest

from sandbox.server import Sandbox
from services.email import sendgrid
from services.email.sendgrid import SendGrid
from shared.errors import Refusal, Refused
from tests.support.messages import REQUEST_ID, built, message, send
from tests.support.opened import opened
from tests.support.peers.raw_http import answer, raw_http

TO = "ada@example.org"


def provider(host: str) -> AbstractAsyncContextManager[SendGrid]:
    return opened(built(sendgrid.build, f"sendgrid://SG.key@{host}?tls=0&from=Shop%20%3Cnotify@example.com%3E"))


async def test_a_mail_is_one_post_and_the_id_is_in_a_header() -> None:
    async with raw_http(answer(202, b"", {"X-Message-Id": "id-1"})) as vendor, provider(vendor.host) as made:
        assert await send(made, message(TO, html="<p>fine</p>")) == "id-1"
        (request,) = vendor.requests
        assert (request.path, request.headers["authorization"]) == ("/v3/mail/send", "Bearer SG.key")
        assert request.json() == {
            "personalizations": [{"to": [{"email": TO}], "custom_args": {"request_id": REQUEST_ID}}],
            "from": {"email": "notify@example.com", "name": "Shop"},
            "subject": "Hello",
            "headers": {"X-Request-ID": REQUEST_ID},
            "content": [
                {"type": "text/plain", "value": "A parcel for you"},
                {"type": "text/html", "value": "<p>fine</p>"},
            ],
        }


async def test_an_acceptance_without_an_id_is_an_acceptance() -> None:
    async with raw_http(answer(202)) as vendor, provider(vendor.host) as made:
        assert await send(made, message(TO)) == ""


async def test_the_sandbox_receives_and_refuses_the_dead(sandbox: Sandbox) -> None:
    async with provider(f"{sandbox.host}:{sandbox.port}") as made:
        assert await send(made, message(TO))
        with pytest.raises(Refused) as caught:
            await send(made, message("dead@example.org"))
    assert caught.value.refusal is Refusal.RECIPIENT_INVALID
    assert [delivery.request_id for delivery in sandbox.ledger.select("sendgrid")] == [REQUEST_ID]
