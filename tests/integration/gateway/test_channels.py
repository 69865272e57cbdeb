"""Tests the routes of channels and of their groups with a real Redis and a real store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.settings.groups.gateway import ApiKey
from tests.support.fakes.gateway_client import Gateway, gateway

SENDER, OPERATOR = "senders-key", "operators-key"


def key(client: str, text: str, *scopes: str) -> ApiKey:
    return ApiKey(client=client, scopes=frozenset(scopes), sha256=hashlib.sha256(text.encode()).hexdigest())


@pytest.fixture
def made(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Gateway]:
    keys = (key("shop", SENDER, "send"), key("ops", OPERATOR, "operate"))
    with gateway(tmp_path, api_keys=keys, database_url=database_url, redis_url=redis_url) as made:
        yield made


def call(made: Gateway, method: str, path: str, body: Any = None, by: str = SENDER) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {by}"}
    answer = made.client.open(path, method=method, headers=headers, **({} if body is None else {"json": body}))
    return answer.status_code, answer.json


def fields(answer: tuple[int, Any]) -> tuple[int, list[str]]:
    return answer[0], [error["field"] for error in answer[1]["errors"]]


def test_what_is_sent_is_in_the_history(made: Gateway) -> None:
    body = {"channel": "channel1", "message": "Server is down!", "priority": "high"}
    status, answer = call(made, "POST", "/send", body)
    assert status == 200
    assert (answer["status"], answer["repeated"]) == ("sent", False)
    call(made, "POST", "/send", {"channel": "channel1", "message": "Server is up.", "priority": "low"})
    status, history = call(made, "GET", "/history/channel1/high")
    assert status == 200
    [item] = history["items"]
    assert (item["message"], item["priority"], item["id"]) == ("Server is down!", "high", answer["sent"][0]["id"])
    _, whole = call(made, "GET", "/history/channel1")
    assert [one["message"] for one in whole["items"]] == ["Server is up.", "Server is down!"]
    assert whole["counts"] == {"high": 1, "medium": 0, "low": 1, "sent": 2}
    assert call(made, "GET", "/history/unknown")[1]["items"] == []


def test_a_group_reaches_all_of_its_channels(made: Gateway) -> None:
    assert call(made, "PUT", "/groups/ops", {"channels": ["b", "a", "a"]}, OPERATOR) == (
        200,
        {"name": "ops", "channels": ["a", "b"]},
    )
    status, answer = call(made, "POST", "/send", {"group": "ops", "message": "Deployed.", "request_id": "d-1"})
    assert status == 200
    assert [one["channel"] for one in answer["sent"]] == ["a", "b"]
    _, again = call(made, "POST", "/send", {"group": "ops", "message": "Deployed.", "request_id": "d-1"})
    assert again == {**answer, "repeated": True}
    for channel in ("a", "b"):
        assert [one["message"] for one in call(made, "GET", f"/history/{channel}")[1]["items"]] == ["Deployed."]
    assert call(made, "GET", "/groups")[1] == {"items": [{"name": "ops", "channels": ["a", "b"]}]}
    call(made, "PUT", "/groups/ops", {"channels": ["c"]}, OPERATOR)
    assert call(made, "GET", "/groups/ops")[1]["channels"] == ["c"]
    assert call(made, "DELETE", "/groups/ops", by=OPERATOR)[0] == 200
    assert call(made, "DELETE", "/groups/ops", by=OPERATOR)[0] == 404
    assert call(made, "GET", "/groups/ops")[0] == 404
    assert fields(call(made, "POST", "/send", {"group": "ops", "message": "Deployed."})) == (404, ["group"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"channel": "a b"}, "channel"),
        ({"channel": "a:high"}, "channel"),
        ({"channel": ""}, "channel"),
        ({"channel": "x" * 129}, "channel"),
        ({"channel": None}, "channel"),
        ({"group": "ops"}, "channel"),
        ({"message": ""}, "message"),
        ({"message": 7}, "message"),
        ({"message": "x" * 4097}, "message"),
        ({"priority": "urgent"}, "priority"),
        ({"request_id": "a b"}, "request_id"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_bad_message_is_422_and_names_the_field(change: dict[str, Any], field: str, made: Gateway) -> None:
    body = {"channel": "channel1", "message": "m", "priority": "high", **change}
    status, named = fields(call(made, "POST", "/send", body))
    assert status == 422
    assert field in named
    assert call(made, "GET", "/history/channel1")[1]["items"] == []


def test_a_bad_path_is_422_and_names_its_part(made: Gateway) -> None:
    assert fields(call(made, "GET", "/history/a%20b")) == (422, ["channel"])
    assert fields(call(made, "GET", "/history/a/urgent")) == (422, ["priority"])
    assert fields(call(made, "PUT", "/groups/a%20b", {"channels": ["a"]}, OPERATOR)) == (422, ["name"])
    assert fields(call(made, "PUT", "/groups/a", {"channels": []}, OPERATOR)) == (422, ["channels"])
    assert fields(call(made, "PUT", "/groups/a", {"channels": ["b", "c d"]}, OPERATOR)) == (422, ["channels.1"])


def test_only_an_operator_changes_groups(made: Gateway) -> None:
    assert call(made, "PUT", "/groups/a", {"channels": ["a"]}, SENDER)[0] == 403
    assert call(made, "DELETE", "/groups/a", by=SENDER)[0] == 403
    assert call(made, "POST", "/send", {"channel": "a", "message": "m"}, OPERATOR)[0] == 403


def test_the_largest_message_is_sent_live_with_its_frame(made: Gateway) -> None:
    with made.redis.pubsub(ignore_subscribe_messages=True) as pubsub:  # type: ignore[no-untyped-call]
        pubsub.subscribe("notify-channel:a")
        while not pubsub.subscribed or pubsub.get_message(timeout=0.05) is not None:
            pass
        message = "\N{GRINNING FACE}" * 4096
        assert call(made, "POST", "/send", {"channel": "a", "message": message})[0] == 200
        heard = pubsub.get_message(timeout=10)
    assert heard is not None
    assert message.encode() in heard["data"]


def test_without_redis_nothing_is_sent_and_the_caller_knows(tmp_path: Path) -> None:
    with gateway(tmp_path) as made:
        answer = made.client.post("/send", json={"channel": "a", "message": "m"})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert made.client.get("/history/a").status_code == 503
