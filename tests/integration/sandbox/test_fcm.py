"""The stand-in FCM answers as Google does."""

import asyncio
from typing import Any

import aiohttp
import google.auth.transport.requests
import google.oauth2.service_account
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.server import Sandbox

SEND = "/v1/projects/demo/messages:send"
BEARER = {"Authorization": "Bearer anything"}


def message(token: object = "t1", **fields: object) -> dict[str, object]:
    return {"message": {"token": token, "data": {"request_id": "r1"}, **fields}}


async def send(http: aiohttp.ClientSession, body: object) -> tuple[int, dict[str, Any]]:
    async with http.post(SEND, json=body, headers=BEARER) as response:
        return response.status, await response.json()


def error_code(answer: dict[str, Any]) -> str | None:
    for detail in answer["error"].get("details", []):
        if detail["@type"] == "type.googleapis.com/google.firebase.fcm.v1.FcmError":
            return str(detail["errorCode"])
    return None


def violated_field(answer: dict[str, Any]) -> str:
    (violation,) = (one for one in answer["error"]["details"] if one["@type"].endswith("google.rpc.BadRequest"))
    return str(violation["fieldViolations"][0]["field"])


async def test_an_accepted_message_gets_a_name_and_is_recorded(http: aiohttp.ClientSession) -> None:
    status, answer = await send(http, message())
    assert status == 200
    assert answer["name"].startswith("projects/demo/messages/")
    async with http.get("/sandbox/deliveries", params={"provider": "fcm", "request_id": "r1"}) as response:
        ledger = await response.json()
    (delivery,) = ledger["deliveries"]
    assert ledger["count"] == 1
    assert (delivery["target"], delivery["payload"]) == ("t1", message())
    assert delivery["at"] <= delivery["ended_at"]
    assert delivery["at"].endswith("Z")


async def test_names_of_messages_differ(http: aiohttp.ClientSession) -> None:
    names = {(await send(http, message()))[1]["name"] for _ in range(3)}
    assert len(names) == 3


async def test_a_call_without_a_bearer_token_is_401_that_names_us(
    http: aiohttp.ClientSession, sandbox: Sandbox
) -> None:
    async with http.post(SEND, json=message()) as response:
        answer = await response.json()
    assert (response.status, answer["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert error_code(answer) is None
    assert not sandbox.ledger.deliveries


async def test_a_dead_token_is_unregistered(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    status, answer = await send(http, message("dead-1"))
    assert (status, answer["error"]["status"], error_code(answer)) == (404, "NOT_FOUND", "UNREGISTERED")
    assert sandbox.ledger.totals(["fcm"]) == {"fcm": {"calls": 1, "accepted": 0}}


async def test_a_malformed_token_is_named(http: aiohttp.ClientSession) -> None:
    status, answer = await send(http, message("malformed-1"))
    assert (status, error_code(answer), violated_field(answer)) == (400, "INVALID_ARGUMENT", "message.token")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"data": {"n": 5}}, "message.data[0].value"),
        ({"colour": "red"}, "message"),
        ({"notification": "text"}, "message.notification"),
        ({"notification": {"body": "x" * 4097}}, "message"),
        ({"topic": "news"}, "message.token"),
        ({"apns": {"headers": {"apns-collapse-id": "x" * 65}}}, "message.apns.headers"),
    ],
)
async def test_an_impossible_message_is_refused_naming_the_field(
    http: aiohttp.ClientSession, fields: dict[str, object], field: str
) -> None:
    status, answer = await send(http, message(**fields))
    assert (status, answer["error"]["status"], violated_field(answer)) == (400, "INVALID_ARGUMENT", field)


async def test_a_message_of_the_largest_size_is_accepted(http: aiohttp.ClientSession) -> None:
    status, _ = await send(http, {"message": {"token": "t1", "notification": {"body": "x" * (4096 - len("body"))}}})
    assert status == 200


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"message": 1}'])
async def test_a_body_that_is_no_message_is_400(http: aiohttp.ClientSession, body: str) -> None:
    async with http.post(SEND, data=body, headers=BEARER) as response:
        assert (response.status, (await response.json())["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("code", "status", "rpc_status"),
    [
        ("UNREGISTERED", 404, "NOT_FOUND"),
        ("SENDER_ID_MISMATCH", 403, "PERMISSION_DENIED"),
        ("INVALID_ARGUMENT", 400, "INVALID_ARGUMENT"),
        ("QUOTA_EXCEEDED", 429, "RESOURCE_EXHAUSTED"),
        ("THIRD_PARTY_AUTH_ERROR", 401, "UNAUTHENTICATED"),
        ("UNAVAILABLE", 503, "UNAVAILABLE"),
        ("INTERNAL", 500, "INTERNAL"),
    ],
)
async def test_every_error_code_has_its_status(
    http: aiohttp.ClientSession, code: str, status: int, rpc_status: str
) -> None:
    await http.put("/sandbox/faults/fcm", json={"mode": "status", "error_code": code, "count": 1})
    got, answer = await send(http, message())
    assert (got, answer["error"]["code"], answer["error"]["status"]) == (status, status, rpc_status)
    assert error_code(answer) == code


async def test_an_invalid_argument_names_the_field_that_was_ordered(http: aiohttp.ClientSession) -> None:
    fault = {"mode": "status", "error_code": "INVALID_ARGUMENT"}
    await http.put("/sandbox/faults/fcm", json=fault)
    assert violated_field((await send(http, message()))[1]) == "message.notification"
    await http.put("/sandbox/faults/fcm", json={**fault, "field": "message.token"})
    assert violated_field((await send(http, message()))[1]) == "message.token"


async def test_the_token_endpoint_serves_googles_own_client(sandbox: Sandbox) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "client_email": "sandbox@demo.example.com",
        "token_uri": f"{sandbox.url}/token",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    credentials = google.oauth2.service_account.Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
        account, scopes=["https://www.googleapis.com/auth/firebase.messaging"]
    )
    with requests.Session() as session:
        request = google.auth.transport.requests.Request(session)
        await asyncio.to_thread(credentials.refresh, request)
    assert credentials.token
    assert not credentials.expired


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "one"}, "invalid_grant"),
    ],
)
async def test_a_bad_token_request_is_refused(http: aiohttp.ClientSession, form: dict[str, str], error: str) -> None:
    async with http.post("/token", data=form) as response:
        assert (response.status, (await response.json())["error"]) == (400, error)
