"""The stand-in SendGrid answers as the vendor does."""

from typing import Any

import aiohttp
import pytest

from sandbox.server import Sandbox

BEARER = {"Authorization": "Bearer anything"}
MAIL: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "ada@example.com"}], "custom_args": {"request_id": "r1"}}],
    "from": {"email": "us@example.com"},
    "subject": "hi",
    "content": [{"type": "text/plain", "value": "hello"}, {"type": "text/html", "value": "<p>hello</p>"}],
}


async def send(http: aiohttp.ClientSession, mail: object) -> tuple[int, Any]:
    async with http.post("/v3/mail/send", json=mail, headers=BEARER) as response:
        return response.status, await response.json() if response.content_type == "application/json" else None


def to(*addresses: str, **fields: object) -> dict[str, object]:
    return {**MAIL, "personalizations": [{"to": [{"email": address} for address in addresses], **fields}]}


async def test_a_mail_is_accepted_with_an_empty_202_and_a_message_id(
    http: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    async with http.post("/v3/mail/send", json=MAIL, headers=BEARER) as response:
        assert (response.status, await response.read()) == (202, b"")
    assert response.headers["X-Message-Id"]
    (delivery,) = sandbox.ledger.select("sendgrid", "r1")
    assert (delivery.target, delivery.payload()) == ("ada@example.com", MAIL)


@pytest.mark.parametrize(
    "mail",
    [
        {**to("ada@example.com"), "custom_args": {"request_id": "r2"}},
        {**to("ada@example.com"), "headers": {"X-Request-ID": "r2"}},
        to("ada@example.com", headers={"x-request-id": "r2"}),
    ],
)
async def test_the_request_id_is_found_where_the_vendor_carries_it(
    http: aiohttp.ClientSession, sandbox: Sandbox, mail: dict[str, object]
) -> None:
    assert (await send(http, mail))[0] == 202
    assert len(list(sandbox.ledger.select("sendgrid", "r2"))) == 1


async def test_every_recipient_of_a_call_is_recorded(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    await send(http, to("a@example.com", "b@example.com"))
    assert [delivery.target for delivery in sandbox.ledger.deliveries] == ["a@example.com", "b@example.com"]
    assert sandbox.ledger.totals(["sendgrid"]) == {"sendgrid": {"calls": 1, "accepted": 1}}


async def test_a_call_without_a_key_is_401(http: aiohttp.ClientSession) -> None:
    async with http.post("/v3/mail/send", json=MAIL) as response:
        assert response.status == 401
        assert (await response.json())["errors"][0]["field"] is None


@pytest.mark.parametrize(
    ("mail", "field"),
    [
        (to("dead@example.com"), "personalizations.0.to.0.email"),
        (to("nobody"), "personalizations.0.to.0.email"),
        (to(), "personalizations.0.to"),
        ({**MAIL, "personalizations": []}, "personalizations"),
        ({**MAIL, "from": {}}, "from.email"),
        ({**MAIL, "subject": ""}, "subject"),
        ({**MAIL, "content": []}, "content"),
        ({**MAIL, "content": [{"type": "text/plain", "value": ""}]}, "content"),
        ({**MAIL, "content": MAIL["content"][::-1]}, "content"),
    ],
)
async def test_a_wrong_mail_is_400_naming_the_field(
    http: aiohttp.ClientSession, sandbox: Sandbox, mail: dict[str, object], field: str
) -> None:
    status, answer = await send(http, mail)
    assert (status, [error["field"] for error in answer["errors"]]) == (400, [field])
    assert not sandbox.ledger.deliveries


@pytest.mark.parametrize("status", [401, 403, 413, 429, 500, 503])
async def test_it_fails_as_ordered(http: aiohttp.ClientSession, status: int) -> None:
    await http.put("/sandbox/faults/sendgrid", json={"mode": "status", "status": status})
    got, answer = await send(http, MAIL)
    assert got == status
    assert answer["errors"][0]["message"]
