"""Tests the routes of the inbox with a real store, on SQLite and on PostgreSQL, and with a real Redis."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import redis
from werkzeug.test import TestResponse

from gateway.health.store import StoreProbe
from gateway.http.problem import ProblemDocument
from gateway.inbox import inboxes
from gateway.inbox.answers import ChangedItem, InboxChanged, InboxChanges, InboxCount, InboxItem, InboxPage
from ops.servers import PostgreSQLServer
from shared.realtime import frames
from shared.realtime.wakeup import CHANNEL_PREFIX, parse
from shared.settings.groups.gateway import ApiKey
from shared.store import watchdog
from shared.store.values import Owner, Position, Stored
from tests.support.fakes.gateway_client import Gateway, gateway
from tests.support.stores import Databases, check_inboxes, new
from tests.support.waiting import eventually

#: It has what a path can mistake: slashes, a space, a percent sign, a letter beyond ASCII, and words of routes.
USER = "tenant/u 1%2F/é/inbox/count"
OTHER = "u2"
OPERATOR, SENDER = "operators-key", "senders-key"
KEYS = f"k1:{'s' * 32}"


def key(client: str, text: str, *scopes: str) -> ApiKey:
    return ApiKey(client=client, scopes=frozenset(scopes), sha256=hashlib.sha256(text.encode()).hexdigest())


@pytest.fixture
def made(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Gateway]:
    keys = (key("ops", OPERATOR, "operate"), key("shop", SENDER, "send", "tokens"))
    settings: dict[str, Any] = {"database_url": database_url, "redis_url": redis_url, "socket_token_keys": KEYS}
    with gateway(tmp_path, api_keys=keys, **settings) as made:
        yield made
        check_inboxes(made.store)


def call(
    made: Gateway, method: str, path: str, body: Any = None, *, user: str = USER, by: str | None = None
) -> TestResponse:
    """Calls a route of this user with the credential ``by``, by default the user's own token."""
    credential = made.tokens.sign(user).text if by is None else by
    return made.client.open(
        f"/users/{quote(user, safe='')}{path}",
        method=method,
        headers={"Authorization": f"Bearer {credential}"},
        **({} if body is None else {"json": body}),
    )


def answer(response: TestResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.data
    return response.get_json()


def faults(response: TestResponse, status: int) -> list[tuple[str, str]]:
    assert response.status_code == status, response.data
    document = ProblemDocument.model_validate_json(response.data)
    assert document.status == status
    return [(error.field, error.detail) for error in document.errors]


def fill(made: Gateway, count: int, user: str = USER, **fields: Any) -> list[int]:
    """Stores notifications, and returns their ids, the oldest first."""
    stored = made.store.insert([new(user, f"r{number}-{user}", **fields) for number in range(count)])
    return [one.id for one in stored.results if isinstance(one, Stored)]


def test_the_list_is_newest_first_in_pages_with_the_unread_of_the_whole_inbox(made: Gateway) -> None:
    ids = fill(made, 5)
    fill(made, 1, OTHER)

    first = InboxPage.model_validate(answer(call(made, "GET", "/inbox?limit=2")))
    second = InboxPage.model_validate(answer(call(made, "GET", f"/inbox?limit=2&cursor={first.next}")))
    last = InboxPage.model_validate(answer(call(made, "GET", f"/inbox?limit=2&cursor={second.next}")))

    assert [[item.id for item in page.items] for page in (first, second, last)] == [
        [ids[4], ids[3]],
        [ids[2], ids[1]],
        [ids[0]],
    ]
    assert (first.unread, last.next) == (5, None)
    skipped = answer(call(made, "GET", "/inbox?skip=3"))
    assert [item["id"] for item in skipped["items"]] == [ids[1], ids[0]]


def test_an_item_is_the_one_that_devices_get(made: Gateway) -> None:
    extra = {"link": "https://example.com/a", "data": {"order": 1}, "metadata": {"campaign": "x"}}
    (id_,) = fill(
        made,
        1,
        type="warning",
        priority="high",
        category="orders",
        extra=orjson.dumps(extra).decode(),
        expires_ms=2**45,
    )
    row = made.store.get(Owner(USER), id_)
    assert row is not None

    listed = answer(call(made, "GET", "/inbox"))["items"]
    shown = answer(call(made, "GET", f"/inbox/{id_}"))

    assert listed == [frames.item(row)] == [shown]
    assert InboxItem.model_validate(shown).link == "https://example.com/a"


def test_a_user_who_never_got_anything_has_an_empty_inbox(made: Gateway) -> None:
    assert answer(call(made, "GET", "/inbox")) == {"items": [], "next": None, "unread": 0}
    assert answer(call(made, "GET", "/inbox/count")) == {"unread": 0, "total": 0}
    changes = answer(call(made, "GET", "/inbox/changes"))
    assert changes == {"epoch": "", "offset": 0, "recovered": False, "items": [], "more": False, "unread": 0}
    assert answer(call(made, "PATCH", "/inbox", {"upto": 9, "read": True})) == {
        "changed": False,
        "offset": 0,
        "unread": 0,
    }
    assert call(made, "DELETE", "/inbox/1").status_code == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=unread", {"plain", "loud"}),
        ("status=read", {"read"}),
        ("status=archived", {"archived"}),
        ("status=all", {"plain", "loud", "read", "archived"}),
        ("", {"plain", "loud", "read", "archived"}),
        ("type=error", {"loud"}),
        ("priority=high", {"loud"}),
        ("category=alarms", {"loud"}),
        ("status=read&type=error", set()),
    ],
)
def test_the_list_is_filtered(made: Gateway, query: str, expected: set[str]) -> None:
    loud: dict[str, Any] = {"type": "error", "priority": "high", "category": "alarms"}
    made.store.insert([new(USER, "plain"), new(USER, "loud", **loud), new(USER, "read"), new(USER, "archived")])
    ids = {row.request_id: row.id for row in made.store.page(Owner(USER)).items}
    made.store.mark(Owner(USER), [ids["read"]], read=True)
    made.store.mark(Owner(USER), [ids["archived"]], archived=True)

    items = answer(call(made, "GET", f"/inbox?{query}"))["items"]

    assert {item["request_id"] for item in items} == expected


def test_marking_one_answers_it_and_the_number_of_unread_ones(made: Gateway) -> None:
    ids = fill(made, 3)

    read = ChangedItem.model_validate(answer(call(made, "PATCH", f"/inbox/{ids[0]}", {"read": True})))
    again = ChangedItem.model_validate(answer(call(made, "PATCH", f"/inbox/{ids[0]}", {"read": True})))
    archived = ChangedItem.model_validate(answer(call(made, "PATCH", f"/inbox/{ids[1]}", {"archived": True})))
    unread = ChangedItem.model_validate(answer(call(made, "PATCH", f"/inbox/{ids[0]}", {"read": False})))

    assert (read.item.id, read.item.read_at is None, read.unread, read.item.offset) == (ids[0], False, 2, 4)
    assert again == read
    assert (archived.item.archived_at is None, archived.unread) == (False, 1)
    assert (unread.item.read_at, unread.unread) == (None, 2)
    assert answer(call(made, "GET", "/inbox/count")) == {"unread": 2, "total": 3}


def test_everything_up_to_an_id_is_read_and_what_came_later_is_not(made: Gateway) -> None:
    ids = fill(made, 3)

    changed = InboxChanged.model_validate(answer(call(made, "PATCH", "/inbox", {"upto": ids[1], "read": True})))
    again = InboxChanged.model_validate(answer(call(made, "PATCH", "/inbox", {"upto": ids[1], "read": True})))

    assert changed == InboxChanged(changed=True, offset=4, unread=1)
    assert again == InboxChanged(changed=False, offset=4, unread=1)
    assert [item["id"] for item in answer(call(made, "GET", "/inbox?status=unread"))["items"]] == [ids[2]]


def test_some_are_marked_together(made: Gateway) -> None:
    ids, foreign = fill(made, 3), fill(made, 1, OTHER)

    body = {"ids": [ids[0], ids[2], *foreign, 2**53 - 1], "archived": True, "read": True}
    changed = InboxChanged.model_validate(answer(call(made, "PATCH", "/inbox", body)))

    assert changed == InboxChanged(changed=True, offset=4, unread=1)
    assert made.store.summary(Owner(OTHER)).unread == 1


def test_what_is_deleted_is_gone_and_devices_learn_it(made: Gateway) -> None:
    ids = fill(made, 2)
    before = InboxChanges.model_validate(answer(call(made, "GET", "/inbox/changes")))

    deleted = InboxChanged.model_validate(answer(call(made, "DELETE", f"/inbox/{ids[0]}")))

    assert deleted == InboxChanged(changed=True, offset=3, unread=1)
    for method, body in (("GET", None), ("PATCH", {"read": True}), ("DELETE", None)):
        assert faults(call(made, method, f"/inbox/{ids[0]}", body), 404) == [
            ("nid", "the user has no such notification")
        ]
    since = answer(call(made, "GET", f"/inbox/changes?position={before.epoch}:{before.offset}"))
    assert since["items"] == [{"id": ids[0], "offset": 3, "deleted": True}]


def test_changes_continue_a_position_or_start_anew(made: Gateway) -> None:
    ids = fill(made, 2)
    first = InboxChanges.model_validate(answer(call(made, "GET", "/inbox/changes")))
    made.store.mark(Owner(USER), [ids[1]], read=True)
    position = f"{first.epoch}:{first.offset}"

    since = InboxChanges.model_validate(answer(call(made, "GET", f"/inbox/changes?position={position}")))
    nothing = answer(call(made, "GET", f"/inbox/changes?position={first.epoch}:{since.offset}"))
    from_zero = answer(call(made, "GET", "/inbox/changes?position=:0"))
    foreign = answer(call(made, "GET", f"/inbox/changes?position=00000000:{first.offset}"))

    assert (first.recovered, [item.id for item in first.items], first.unread) == (False, ids, 2)
    assert (since.recovered, [item.id for item in since.items], since.offset, since.unread) == (True, [ids[1]], 3, 1)
    assert (nothing["recovered"], nothing["items"]) == (True, [])
    assert (from_zero["recovered"], [item["id"] for item in from_zero["items"]]) == (True, ids)
    assert (foreign["recovered"], [item["id"] for item in foreign["items"]]) == (False, [ids[0]])


def test_a_position_beyond_the_end_gives_the_inbox_a_new_epoch(made: Gateway) -> None:
    fill(made, 2)
    epoch = made.store.summary(Owner(USER)).position.epoch

    found = InboxChanges.model_validate(answer(call(made, "GET", f"/inbox/changes?position={epoch}:7")))

    assert (found.recovered, len(found.items)) == (False, 2)
    assert found.epoch != epoch
    assert made.store.summary(Owner(USER)).position == Position(found.epoch, found.offset)


def test_a_long_text_is_cut_in_changes_and_whole_in_the_list(made: Gateway) -> None:
    (id_,) = fill(made, 1, body="x" * 10_000)

    (cut,) = answer(call(made, "GET", "/inbox/changes"))["items"]

    assert (len(cut["body"]), cut["partial"]) == (4096, True)
    whole = answer(call(made, "GET", f"/inbox/{id_}"))
    assert len(whole["body"]) == 10_000
    assert "partial" not in whole
    assert len(answer(call(made, "GET", "/inbox"))["items"][0]["body"]) == 10_000


def test_every_change_wakes_the_users_devices_once(made: Gateway, redis_client: redis.Redis) -> None:
    ids = fill(made, 4)
    told: redis.client.PubSub = redis_client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
    told.psubscribe(f"{CHANNEL_PREFIX}*")
    assert told.get_message(timeout=5) is None

    call(made, "PATCH", f"/inbox/{ids[0]}", {"read": True})
    call(made, "PATCH", f"/inbox/{ids[0]}", {"read": True})
    call(made, "PATCH", "/inbox", {"ids": [ids[1]], "archived": True})
    call(made, "PATCH", "/inbox", {"upto": ids[3], "read": True})
    call(made, "DELETE", f"/inbox/{ids[3]}")
    call(made, "GET", f"/inbox/changes?position={made.store.summary(Owner(USER)).position.epoch}:99")

    messages = [told.get_message(timeout=5) for _ in range(5)]
    assert [message["channel"].decode() for message in messages if message] == [f"{CHANNEL_PREFIX}:{USER}"] * 5
    wakeups = [parse(message["data"]) for message in messages if message]
    assert [(each.prev, each.to) for each in wakeups[:4]] == [(4, 5), (5, 6), (6, 7), (7, 8)]
    assert [orjson.loads(each.frames[0])["unread"] for each in wakeups[:4]] == [3, 2, 0, 0]
    assert wakeups[4].epoch != wakeups[3].epoch
    assert told.get_message(timeout=0.1) is None
    told.close()


def test_without_redis_the_change_is_stored_and_counted_as_not_announced(tmp_path: Path, database_url: str) -> None:
    with gateway(tmp_path, database_url=database_url) as made:
        (id_,) = fill(made, 1)
        changed = made.client.patch(f"/users/{quote(USER, safe='')}/inbox/{id_}", json={"read": True})
        assert changed.status_code == 200
        assert made.store.summary(Owner(USER)).unread == 0
        assert "notify_wakeups_failed_total 1.0" in made.client.get("/metrics").text


def test_an_operators_key_may_act_for_everybody_and_no_other_key(made: Gateway) -> None:
    (id_,) = fill(made, 1)
    for method, path, body in _every_route(id_):
        assert faults(call(made, method, path, body, by=SENDER), 403) == []
        assert faults(call(made, method, path, body, by="unknown"), 401) == []
    for method, path, body in _every_route(id_):
        assert call(made, method, path, body, by=OPERATOR).status_code == 200


def test_a_users_token_is_good_for_that_user_only(made: Gateway) -> None:
    (id_,) = fill(made, 1)
    others = made.tokens.sign(OTHER).text
    for method, path, body in _every_route(id_):
        assert faults(call(made, method, path, body, by=others), 403) == [("user_id", "is not the token's user")]
    assert made.store.summary(Owner(USER)).unread == 1
    for method, path, body in _every_route(id_):
        assert call(made, method, path, body).status_code == 200


def _every_route(id_: int) -> list[tuple[str, str, Any]]:
    return [
        ("GET", "/inbox", None),
        ("GET", "/inbox/count", None),
        ("GET", "/inbox/changes", None),
        ("GET", "/presence", None),
        ("GET", f"/inbox/{id_}", None),
        ("PATCH", f"/inbox/{id_}", {"read": True}),
        ("PATCH", "/inbox", {"upto": id_, "read": True}),
        ("DELETE", f"/inbox/{id_}", None),
    ]


def test_nobody_reaches_anothers_notification_through_an_own_path(made: Gateway) -> None:
    (foreign,) = fill(made, 1, OTHER)
    for method, body in (("GET", None), ("PATCH", {"read": True}), ("DELETE", None)):
        assert call(made, method, f"/inbox/{foreign}", body).status_code == 404
    call(made, "PATCH", "/inbox", {"upto": foreign, "read": True})
    assert made.store.summary(Owner(OTHER)).unread == 1


@pytest.mark.parametrize(
    "user", ["u", "a/b", "/a", "a/", "a//b", "inbox", "a/inbox", "a/inbox/1", "presence", "..", "."]
)
def test_any_user_id_has_its_own_inbox(made: Gateway, user: str) -> None:
    ids = fill(made, 2, user)
    assert InboxCount.model_validate(answer(call(made, "GET", "/inbox/count", user=user))).unread == 2
    assert answer(call(made, "GET", f"/inbox/{ids[0]}", user=user))["id"] == ids[0]
    assert answer(call(made, "GET", "/presence", user=user))["user_id"] == user


@pytest.mark.parametrize(("per_user", "others_are_served"), [(1, False), (inboxes.MOST_PER_USER, True)])
def test_a_store_that_is_asked_too_much_refuses_at_once(
    made: Gateway, monkeypatch: pytest.MonkeyPatch, per_user: int, others_are_served: bool
) -> None:
    """Holds requests of many users, up to the limit of all; or of one user, up to the limit of one."""
    held, free = threading.Semaphore(0), threading.Event()
    summary = made.store.summary

    def slow(owner: Owner) -> Any:
        if owner != Owner("served"):
            held.release()
            free.wait()
        return summary(owner)

    def count(user: str) -> TestResponse:
        return call(made, "GET", "/inbox/count", user=user, by=OPERATOR)

    monkeypatch.setattr(made.store, "summary", slow)
    users = [f"u{number}" for number in range(inboxes.MOST_AT_ONCE)] if per_user == 1 else ["u0"] * per_user
    threads = [threading.Thread(target=count, args=[user]) for user in users]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert held.acquire(timeout=20)
    refused = call(made, "GET", "/inbox", user="u0", by=OPERATOR)
    other = count("served")
    free.set()
    for thread in threads:
        thread.join()

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert other.status_code == (200 if others_are_served else 503)
    for user in ("u0", "served"):
        assert count(user).status_code == 200


def test_a_frozen_database_is_503_in_time_and_degraded_until_it_answers_again(
    tmp_path: Path,
    databases: Databases,
    postgresql: PostgreSQLServer,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watchdog, "SILENCE_S", 1.5)
    with (
        databases.empty("postgresql") as url,
        gateway(tmp_path, database_url=url, redis_url=redis_url) as made,
    ):
        fill(made, 1)
        probe = StoreProbe(made.store)
        assert probe.is_up()
        postgresql.pause()
        try:
            assert not probe.is_up()
            refused = made.client.get(f"/users/{quote(USER, safe='')}/inbox")
        finally:
            postgresql.resume()
        assert (refused.status_code, refused.get_json()["title"]) == (503, "Service Unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        eventually(probe.is_up, 30)
        assert made.client.get(f"/users/{quote(USER, safe='')}/inbox/count").get_json()["unread"] == 1


def test_presence_shows_connections_of_living_nodes(made: Gateway, redis_client: redis.Redis) -> None:
    hash_ = f"notify-presence::{USER}"
    redis_client.hset(hash_, mapping={"c2": "aaaa:1900000000000", "c1": "aaaa:1800000000000", "c0": "dead:1"})
    assert answer(call(made, "GET", "/presence")) == {"user_id": USER, "online": False, "connections": []}
    redis_client.set("notify-node:aaaa", "{}")
    assert answer(call(made, "GET", "/presence")) == {
        "user_id": USER,
        "online": True,
        "connections": [
            {"connection": "c1", "since": "2027-01-15T08:00:00.000Z"},
            {"connection": "c2", "since": "2030-03-17T17:46:40.000Z"},
        ],
    }
