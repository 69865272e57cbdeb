"""Tests services/push/fcm.py with a vendor made of bare sockets (and Google's token endpoint), and with the sandbox."""

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import SecretStr

from sandbox.server import Sandbox
from services.push import fcm
from services.push.fcm import Fcm
from shared.errors import BadSettings, Refusal, Refused
from shared.providers.urls import providers_for
from tests.support.messages import DOWN, OURS, PAYLOAD, REQUEST_ID, built, message, refusing, send, settings
from tests.support.opened import opened
from tests.support.peers.certificates import self_signed, server_context
from tests.support.peers.connect_proxy import connect_proxy
from tests.support.peers.raw_http import Act, RawHttp, answer, close, raw_http

YES = answer(200, {"name": "projects/p/messages/1"})
UNAUTHENTICATED = answer(401, {"error": {"code": 401, "status": "UNAUTHENTICATED"}})


def provider(vendor: RawHttp, key: str = "") -> AbstractAsyncContextManager[Fcm]:
    secret = SecretStr(key) if key else None
    return opened(built(fcm.build, f"fcm://{vendor.host}/my-project?tls=0&timeout=3", firebase_key=secret))


@pytest.fixture(scope="module")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def firebase_key(private_key: str, token_uri: str) -> str:
    key = {
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "1",
        "private_key": private_key,
        "client_email": "notify@my-project.example",
        "token_uri": token_uri,
    }
    return orjson.dumps(key).decode()


def granting(token: str) -> Act:
    return answer(200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"})


async def test_a_send_is_one_post_with_the_token_and_returns_the_vendors_name() -> None:
    async with raw_http(YES) as vendor, provider(vendor) as made:
        assert await send(made, message("token-1")) == "projects/p/messages/1"
        (request,) = vendor.requests
        sent: Any = request.json()["message"]
        assert request.path == "/v1/projects/my-project/messages:send"
        assert request.headers["authorization"] == "Bearer sandbox"
        assert (sent["token"], sent["data"]["request_id"]) == ("token-1", REQUEST_ID)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", {"other": 1}])
async def test_an_acceptance_without_a_name_is_an_acceptance(body: object) -> None:
    async with raw_http(answer(200, body)) as vendor, provider(vendor) as made:
        assert await send(made, message()) == ""


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_request_is_not_repeated_internally(status: int) -> None:
    async with raw_http(answer(status, b"", {"Retry-After": "1"})) as vendor, provider(vendor) as made:
        with pytest.raises(Refused) as caught:
            await send(made, message())
        assert caught.value.retry_after_s == 1
        assert len(vendor.requests) == 1


async def test_the_key_gets_one_token_for_all_sends(private_key: str) -> None:
    async with raw_http(granting("t1")) as google, raw_http(YES) as vendor:
        async with provider(vendor, firebase_key(private_key, f"{google.url}/token")) as made:
            await asyncio.gather(*(send(made, message(f"token-{n}")) for n in range(20)))
        assert {request.headers["authorization"] for request in vendor.requests} == {"Bearer t1"}
        (asked,) = google.requests
        assert asked.path == "/token"
        assert asked.form()["grant_type"].endswith("jwt-bearer")


async def test_the_token_and_the_sends_go_through_the_egress_proxy(
    private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path, host="google.example", address="192.0.2.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    # The product's setting wins over the variables that other programs read.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    async with (
        raw_http(granting("t1"), YES, tls=server_context(certificate)) as google,
        connect_proxy(google.host) as proxy,
    ):
        made: Fcm = built(
            fcm.build,
            "fcm://google.example/p?timeout=3",
            firebase_key=SecretStr(firebase_key(private_key, "https://google.example/token")),
            egress_proxy=f"http://me:a-password@127.0.0.1:{proxy.port}",
        )
        await made.open()
        assert await send(made, message()) == "projects/p/messages/1"
        await made.close()
    assert [head.split()[:2] for head in proxy.asked] == [["CONNECT", "google.example:443"]] * 2
    assert all("roxy-" in head and "Basic " in head for head in proxy.asked)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
async def test_a_token_lasts_equally_long_in_every_time_zone(private_key: str) -> None:
    async with raw_http(granting("t1"), granting("t2")) as google, raw_http(YES) as vendor:
        async with provider(vendor, firebase_key(private_key, f"{google.url}/token")) as made:
            await send(made, message())
            await send(made, message())
        assert len(google.requests) == 1


async def test_a_refused_token_opens_the_breaker_and_the_next_send_brings_a_new_one(private_key: str) -> None:
    async with raw_http(granting("t1"), granting("t2")) as google, raw_http(UNAUTHENTICATED, YES) as vendor:
        async with provider(vendor, firebase_key(private_key, f"{google.url}/token")) as made:
            with refusing(OURS):
                await send(made, message())
            await send(made, message())
        assert [request.headers["authorization"] for request in vendor.requests] == ["Bearer t1", "Bearer t2"]


async def test_a_key_that_google_refuses_means_credentials_and_nothing_is_sent(private_key: str) -> None:
    refusal = answer(400, {"error": "invalid_grant", "error_description": "account not found"})
    async with raw_http(refusal) as google, raw_http(YES) as vendor:
        async with provider(vendor, firebase_key(private_key, f"{google.url}/token")) as made:
            with refusing(OURS):
                await send(made, message())
        assert vendor.requests == []


async def test_an_unavailable_token_endpoint_is_unavailable_and_not_ambiguous(private_key: str) -> None:
    async with raw_http(close) as google, raw_http(YES) as vendor:
        async with provider(vendor, firebase_key(private_key, f"{google.url}/token")) as made:
            with refusing(DOWN) as caught:
                await send(made, message())
        assert not caught.value.ambiguous
        assert vendor.requests == []


async def test_the_key_may_be_a_file(private_key: str, tmp_path: Path) -> None:
    async with raw_http(granting("t1")) as google, raw_http(YES) as vendor:
        path = tmp_path / "key.json"
        path.write_text(firebase_key(private_key, f"{google.url}/token"))
        async with provider(vendor, str(path)) as made:
            await send(made, message())
        assert vendor.requests[0].headers["authorization"] == "Bearer t1"


@pytest.mark.parametrize("key", ["/nowhere/key.json", "{not json: secret", '{"type": "secret"}', "secret"])
async def test_an_invalid_key_is_reported_and_not_shown(key: str) -> None:
    made: Fcm = built(fcm.build, "fcm:///p", firebase_key=SecretStr(key))
    with pytest.raises(BadSettings, match="FIREBASE_KEY") as caught:
        await made.open()
    assert "secret" not in str(caught.value)


async def test_the_sandbox_receives_and_refuses_the_dead(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PUSH_PROVIDERS", raising=False)
    (made,) = providers_for("push", {"fcm": fcm.build}, settings(sandbox_port=sandbox.port))
    await made.open()
    full = message("token-1", link="https://example.com", data={"n": 1}, priority="high")
    await send(made, dataclasses.replace(full, life_s=10**9, expires_at_s=1_900_000_000))
    with refusing(PAYLOAD):
        await send(made, message("token-1", data={"google.x": "1"}))
    with pytest.raises(Refused) as caught:
        await send(made, message("dead-1"))
    assert caught.value.refusal is Refusal.RECIPIENT_INVALID
    await made.close()
    (received,) = sandbox.ledger.select(request_id=REQUEST_ID)
    assert received.target == "token-1"
    shown: Any = received.shown()["payload"]
    assert shown["message"]["android"]["ttl"] == "2419200s"
    assert shown["message"]["apns"]["headers"]["apns-expiration"] == "1900000000"
