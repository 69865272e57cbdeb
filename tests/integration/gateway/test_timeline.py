"""Tests the routes of the timeline with a real store, on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.test import TestResponse

from gateway.http.problem import ProblemDocument
from gateway.timeline.answers import DeliveryPage, Stats, TimelineAnswer
from shared.clock import rfc3339
from shared.settings.groups.gateway import ApiKey
from shared.store.timeline.timeline import Timeline
from tests.support.fakes.gateway_client import Gateway, gateway
from tests.support.timelines import ACCEPTED_MS, events, report, told

OPERATOR, SHOP, CRM, TOKENS = "operators-key", "shops-key", "crms-key", "tokens-key"
USER = "tenant/u 1%2F/é"


PATHS = ("/notifications", "/notifications/r-1", "/notifications/stats", "/users/u/notifications")


def key(client: str, text: str, *scopes: str) -> ApiKey:
    return ApiKey(client=client, scopes=frozenset(scopes), sha256=hashlib.sha256(text.encode()).hexdigest())


@pytest.fixture
def made(tmp_path: Path, database_url: str) -> Iterator[Gateway]:
    keys = (
        key("ops", OPERATOR, "operate"),
        key("shop", SHOP, "send"),
        key("crm", CRM, "send"),
        key("issuer", TOKENS, "tokens"),
    )
    with gateway(tmp_path, api_keys=keys, database_url=database_url) as made:
        yield made


@pytest.fixture
def open_gateway(tmp_path: Path, database_url: str) -> Iterator[Gateway]:
    """Yields a gateway that needs no keys."""
    with gateway(tmp_path, database_url=database_url) as made:
        yield made


def write(made: Gateway, *reports: Any) -> None:
    assert Timeline(made.store.database).write(events(*reports)) == []


def get(made: Gateway, path: str, by: str | None = OPERATOR, **query: Any) -> TestResponse:
    headers = {} if by is None else {"Authorization": f"Bearer {by}"}
    return made.client.get(path, query_string=query, headers=headers)


def answer(response: TestResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.data
    return response.get_json()


def faults(response: TestResponse, status: int) -> list[str]:
    return [error.field for error in ProblemDocument.model_validate(answer(response, status)).errors]


def story(**fields: Any) -> list[Any]:
    """Returns the reports of a notification that failed once and was sent then."""
    return [
        report(told("accepted"), **fields),
        report(
            told("attempted", 10, provider="fcm", code="503", ms=4, reason="unavailable", detail="fcm 503"),
            told("retrying", 14, provider="fcm", reason="provider_unavailable", next_try_ms=ACCEPTED_MS + 5_014),
            **fields,
        ),
        report(
            told("attempted", 5_020, provider="fcm2", code="accepted", ms=3),
            told("sent", 5_023, provider="fcm2"),
            attempt=1,
            **fields,
        ),
    ]


def test_a_notification_is_shown_with_every_attempt(made: Gateway) -> None:
    write(made, *story(), report(told("accepted"), channel="email"))
    found = TimelineAnswer.model_validate(answer(get(made, "/notifications/r-1", SHOP)))
    assert (found.request_id, found.client) == ("r-1", "shop")
    email, push = found.channels
    assert (email.channel, email.status, email.tries) == ("email", "pending", [])
    assert (push.channel, push.status, push.attempts, push.provider) == ("push", "sent", 2, "fcm2")
    assert push.sent_at == rfc3339(ACCEPTED_MS + 5_023)
    assert (push.next_try_at, push.last_error) == (None, "provider_unavailable")
    first, second = push.tries
    assert first.model_dump() == {
        "at": rfc3339(ACCEPTED_MS + 10),
        "provider": "fcm",
        "code": "503",
        "ms": 4,
        "reason": "unavailable",
        "detail": "fcm 503",
        "next_try_at": rfc3339(ACCEPTED_MS + 5_014),
    }
    assert (second.code, second.reason, second.next_try_at) == ("accepted", None, None)
    assert [one.kind for one in push.timeline] == ["accepted", "attempted", "retrying", "attempted", "sent"]


def test_one_that_waits_says_until_when(made: Gateway) -> None:
    write(made, *story()[:2])
    (push,) = TimelineAnswer.model_validate(answer(get(made, "/notifications/r-1"))).channels
    assert (push.status, push.next_try_at) == ("pending", rfc3339(ACCEPTED_MS + 5_014))


def test_a_caller_sees_its_own_client_alone(made: Gateway) -> None:
    write(made, *story())
    assert faults(get(made, "/notifications/r-1", CRM), 404) == ["request_id"]
    assert answer(get(made, "/notifications", CRM))["items"] == []
    assert answer(get(made, "/users/ada/notifications", CRM))["items"] == []
    assert answer(get(made, "/notifications/stats", CRM, **HOUR))["total"] == 0
    for path in ("/notifications/r-1", "/notifications", "/users/ada/notifications", "/notifications/stats"):
        assert faults(get(made, path, CRM, client="shop"), 403) == ["client"]
    assert len(answer(get(made, "/notifications", SHOP))["items"]) == 1
    assert len(answer(get(made, "/notifications", SHOP, client="shop"))["items"]) == 1


def test_an_operator_names_the_client_where_two_used_one_id(made: Gateway) -> None:
    write(made, *story(), *story(client="crm"), *story(client=""))
    assert faults(get(made, "/notifications/r-1"), 422) == ["client"]
    assert "anonymous, crm, shop" in get(made, "/notifications/r-1").text
    assert answer(get(made, "/notifications/r-1", client="crm"))["client"] == "crm"
    assert answer(get(made, "/notifications/r-1", client="anonymous"))["client"] is None
    assert answer(get(made, "/notifications/r-1", SHOP))["client"] == "shop"
    assert len(answer(get(made, "/notifications"))["items"]) == 3


@pytest.mark.parametrize(
    "path", ["/notifications", "/notifications/r-1", "/notifications/stats", "/users/u/notifications"]
)
def test_who_may_not_send_nor_operate_sees_nothing(path: str, made: Gateway) -> None:
    answer(get(made, path, by=None), 401)
    answer(get(made, path, by="unknown"), 401)
    answer(get(made, path, by=TOKENS), 403)


def test_without_keys_everybody_sees_everything(open_gateway: Gateway) -> None:
    write(open_gateway, *story(client=""))
    found = TimelineAnswer.model_validate(answer(get(open_gateway, "/notifications/r-1", by=None)))
    assert (found.client, found.channels[0].status) == (None, "sent")


HOUR = {"from": rfc3339(ACCEPTED_MS), "to": rfc3339(ACCEPTED_MS + 3_600_000)}


def fill(made: Gateway) -> None:
    for n in range(10):
        at = ACCEPTED_MS + 60_000 * n
        kind = "sent" if n % 2 else "failed"
        end = told(kind, 60_000 * n + 10 * (n + 1), provider="fcm", reason="" if n % 2 else "no_recipient")
        write(
            made,
            report(
                told("accepted", 60_000 * n),
                end,
                request_id=f"r-{n}",
                accepted_ms=at,
                user_id=USER if n < 5 else "ada",
                channel="push" if n % 3 else "email",
                priority="high" if n < 3 else "low",
            ),
        )


def test_a_list_is_filtered_and_comes_in_parts(made: Gateway) -> None:
    fill(made)
    names: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = DeliveryPage.model_validate(answer(get(made, "/notifications", limit=4, **cursor)))
        names += [item.request_id for item in page.items]
        if page.next is None:
            break
        cursor = {"cursor": page.next}
    assert names == [f"r-{n}" for n in reversed(range(10))]

    def listed(**query: Any) -> list[str]:
        return [item["request_id"] for item in answer(get(made, "/notifications", **query))["items"]]

    assert listed(status="failed") == ["r-8", "r-6", "r-4", "r-2", "r-0"]
    assert listed(channel="email", status="sent") == ["r-9", "r-3"]
    assert listed(priority="high") == ["r-2", "r-1", "r-0"]
    assert listed(type="error") == []
    assert listed(user_id=USER, status="sent") == ["r-3", "r-1"]
    assert listed(request_id="r-7") == ["r-7"]
    assert listed(**{"from": rfc3339(ACCEPTED_MS + 60_000), "to": rfc3339(ACCEPTED_MS + 180_000)}) == ["r-2", "r-1"]


def test_the_list_of_a_user(made: Gateway) -> None:
    fill(made)
    path = f"/users/{quote(USER, safe='')}/notifications"
    first = DeliveryPage.model_validate(answer(get(made, path, limit=3)))
    second = DeliveryPage.model_validate(answer(get(made, path, limit=3, cursor=first.next)))
    assert [item.request_id for item in (*first.items, *second.items)] == ["r-4", "r-3", "r-2", "r-1", "r-0"]
    assert {item.user_id for item in first.items} == {USER}
    assert faults(get(made, f"/users/{'u' * 257}/notifications"), 422) == ["user_id"]


def test_the_counts(made: Gateway) -> None:
    fill(made)
    stats = Stats.model_validate(answer(get(made, "/notifications/stats", **HOUR)))
    assert stats.total == 10
    assert stats.by_status == {"failed": 5, "sent": 5}
    assert stats.by_channel == {"email": 4, "push": 6}
    assert stats.by_priority == {"high": 3, "low": 7}
    assert stats.by_type == {"info": 10}
    assert [(hour.hour, hour.count, hour.by_status) for hour in stats.by_hour] == [
        (rfc3339(ACCEPTED_MS), 10, {"failed": 5, "sent": 5})
    ]
    assert stats.latency.model_dump() == {"count": 5, "p50_ms": 60, "p95_ms": 100, "p99_ms": 100}
    assert stats.latency_by_channel["push"].count == 3
    assert answer(get(made, "/notifications/stats", **HOUR, status="sent", channel="email"))["total"] == 2
    # The last 24 hours, and nothing was sent in them.
    assert answer(get(made, "/notifications/stats"))["total"] == 0


@pytest.mark.parametrize(
    ("path", "query", "fields"),
    [
        ("/notifications", {"status": "lost"}, ["status"]),
        ("/notifications", {"channel": "fax"}, ["channel"]),
        ("/notifications", {"priority": "urgent", "type": "alert"}, ["priority", "type"]),
        ("/notifications", {"limit": "101"}, ["limit"]),
        ("/notifications", {"limit": "1e1"}, ["limit"]),
        ("/notifications", {"from": "yesterday"}, ["from"]),
        ("/notifications", {"to": "2026-01-01T00:00:00"}, ["to"]),
        ("/notifications", {"cursor": "x"}, ["cursor"]),
        ("/notifications", {"cursor": "W10"}, ["cursor"]),
        ("/notifications", {"page": "2"}, ["page"]),
        ("/notifications", {"since": "2026-01-01T00:00:00Z"}, ["since"]),
        ("/notifications", {"user_id": "a\u202eb"}, ["user_id"]),
        ("/notifications", {"client": "a b"}, ["client"]),
        ("/notifications/r-1", {"channel": "push"}, ["channel"]),
        ("/notifications/stats", {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, ["from"]),
        ("/notifications/stats", {"from": "2026-01-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"}, ["from"]),
        ("/users/ada/notifications", {"user_id": "bob"}, ["user_id"]),
    ],
)
def test_a_bad_query_names_its_field(path: str, query: dict[str, str], fields: list[str], made: Gateway) -> None:
    assert faults(get(made, path, **query), 422) == fields


def test_what_is_not_there_is_404(made: Gateway) -> None:
    for name in ("r-404", "a b", "r" * 129, "%00"):
        assert faults(get(made, f"/notifications/{quote(name, safe='')}"), 404) == ["request_id"]


def test_a_store_without_an_answer_is_503(tmp_path: Path) -> None:
    with gateway(tmp_path) as made:
        for path in PATHS:
            response = get(made, path, by=None)
            answer(response, 503)
            assert "Retry-After" in response.headers
