"""The stand-in Twilio and Vonage answer as the vendors do."""

from typing import Any

import aiohttp
import pytest

from sandbox.server import Sandbox

TWILIO = "/2010-04-01/Accounts/AC1/Messages.json"
FORM = {
    "To": "+15550001111",
    "From": "+15550002222",
    "Body": "hello",
    "StatusCallback": "https://example.com/status?request_id=r%3A1&x=1",
}
VONAGE = {"api_key": "k", "api_secret": "s", "from": "Us", "to": "15550001111", "text": "hello", "client-ref": "r:1"}


async def twilio(http: aiohttp.ClientSession, **changes: str) -> tuple[int, dict[str, Any]]:
    auth = aiohttp.encode_basic_auth("AC1", "any")
    async with http.post(TWILIO, data={**FORM, **changes}, headers={"Authorization": auth}) as response:
        return response.status, await response.json()


async def vonage(http: aiohttp.ClientSession, **changes: str) -> tuple[int, dict[str, Any]]:
    async with http.post("/sms/json", data={**VONAGE, **changes}) as response:
        answer = await response.json()
    assert answer["message-count"] == "1"
    return response.status, answer["messages"][0]


async def test_twilio_queues_a_message(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    status, answer = await twilio(http)
    assert (status, answer["status"], answer["to"]) == (201, "queued", FORM["To"])
    assert answer["sid"].startswith("SM")
    assert len(answer["sid"]) == 34
    (delivery,) = sandbox.ledger.select("twilio", "r:1")
    assert (delivery.target, delivery.payload()) == (FORM["To"], FORM)


async def test_twilio_asks_for_an_account(http: aiohttp.ClientSession) -> None:
    async with http.post(TWILIO, data=FORM) as response:
        assert (response.status, (await response.json())["code"]) == (401, 20003)


async def test_a_request_id_elsewhere_than_in_the_callback_is_not_seen(
    http: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    await twilio(http, StatusCallback="", request_id="r9")
    (delivery,) = sandbox.ledger.select("twilio")
    assert delivery.request_id is None


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("To", "dead-number", 21211),
        ("To", "+000123", 21211),
        ("To", "15550001111", 21211),
        ("To", "", 21604),
        ("From", "", 21603),
        ("Body", "", 21602),
        ("Body", "x" * 1601, 21617),
    ],
)
async def test_twilio_refuses_what_cannot_be_sent(
    http: aiohttp.ClientSession, sandbox: Sandbox, field: str, value: str, code: int
) -> None:
    status, answer = await twilio(http, **{field: value})
    assert (status, answer["status"], answer["code"]) == (400, 400, code)
    assert not sandbox.ledger.deliveries


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"error_code": 21610}, 400, 21610),
        ({"error_code": "20429"}, 429, 20429),
        ({"error_code": "21610", "status": 403}, 403, 21610),
        ({"error_code": "29999"}, 400, 29999),
        ({"status": 401}, 401, 20003),
        ({"status": 503}, 503, 20503),
        ({"status": 502}, 502, 20502),
    ],
)
async def test_twilio_fails_as_ordered(
    http: aiohttp.ClientSession, fault: dict[str, object], status: int, code: int
) -> None:
    await http.put("/sandbox/faults/twilio", json={"mode": "status", **fault})
    got, answer = await twilio(http)
    assert (got, answer["status"], answer["code"]) == (status, status, code)
    assert answer["more_info"].endswith(str(code))


async def test_vonage_takes_a_form(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    status, message = await vonage(http)
    assert (status, message["status"], message["to"]) == (200, "0", VONAGE["to"])
    assert message["message-id"]
    (delivery,) = sandbox.ledger.select("vonage", "r:1")
    assert delivery.target == VONAGE["to"]


async def test_vonage_takes_json(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    async with http.post("/sms/json", json=VONAGE) as response:
        assert (await response.json())["messages"][0]["status"] == "0"
    assert len(list(sandbox.ledger.select("vonage", "r:1"))) == 1


async def test_a_secret_is_not_in_the_ledger(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    await vonage(http)
    (delivery,) = sandbox.ledger.deliveries
    assert delivery.payload() == {name: value for name, value in VONAGE.items() if name != "api_secret"}


@pytest.mark.parametrize("number", ["dead-number", "+0001234567", "0001234567"])
async def test_vonage_refuses_a_dead_number_naming_it(
    http: aiohttp.ClientSession, sandbox: Sandbox, number: str
) -> None:
    status, message = await vonage(http, to=number)
    assert (status, message) == (200, {"status": "3", "error-text": "Invalid value for parameter: to"})
    assert not sandbox.ledger.deliveries


async def test_vonage_names_what_is_missing(http: aiohttp.ClientSession) -> None:
    assert await vonage(http, text="") == (200, {"status": "2", "error-text": "Missing text"})


async def test_vonage_hides_its_failures_in_200(http: aiohttp.ClientSession) -> None:
    await http.put("/sandbox/faults/vonage", json={"mode": "status", "error_code": "1"})
    status, message = await vonage(http)
    assert (status, message["status"]) == (200, "1")


async def test_vonages_front_end_can_fail_too(http: aiohttp.ClientSession) -> None:
    await http.put("/sandbox/faults/vonage", json={"mode": "status", "status": 503})
    async with http.post("/sms/json", data=VONAGE) as response:
        assert response.status == 503
