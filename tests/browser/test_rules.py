"""Tests the rules of ``notify-inbox.js`` that need no connection, inside a page of a real browser."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from playwright.sync_api import Browser, Page

from shared.realtime import frames
from shared.realtime.close_codes import CLOSE_CODES
from shared.store.store import Store
from shared.store.values import Change, Filter, Owner, Position
from tests.support.stores import Databases, new

MODULE = Path(__file__).parents[2] / "gateway" / "static" / "inbox" / "notify-inbox.js"
_APPLY = """async (steps) => {
  const { Inbox } = await import('/notify-inbox.js');
  const inbox = new Inbox();
  const results = [];
  for (const step of steps) {
    if (step.list) { inbox.add(step.list); results.push(null); continue; }
    if (step.begin) { inbox.beginConnection(); results.push(null); continue; }
    const { kind, fresh } = inbox.apply(step);
    results.push({ kind, fresh: (fresh ?? []).map((row) => row.id) });
  }
  return { results, items: inbox.items, unread: inbox.unread, position: inbox.position, more: inbox.more };
}"""


@pytest.fixture(scope="module")
def page(chromium: Browser) -> Iterator[Page]:
    """Returns one page for all tests of this module: each makes its own Inbox in it."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.route("**/blank", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.route("**/notify-inbox.js", lambda route: route.fulfill(path=MODULE, content_type="text/javascript"))
        page.goto("http://localhost/blank")
        yield page


@pytest.fixture(scope="module")
def store(databases: Databases) -> Iterator[Store]:
    with databases.empty("sqlite") as url:
        store = Store(url)
        yield store
        store.close()


def row(id_: int, offset: int, **fields: Any) -> dict[str, Any]:
    usual = {"type": "info", "priority": "medium", "title": f"row {id_}", "body": "", "read_at": None}
    return {"id": id_, "offset": offset, "archived_at": None, **usual, **fields}


def pull(*items: dict[str, Any], offset: int | None = None, recovered: bool = True, unread: int = 0) -> dict[str, Any]:
    frame: dict[str, Any] = {"type": "missed_notifications", "items": list(items), "recovered": recovered}
    return frame if offset is None else frame | {"epoch": "e1", "offset": offset, "unread": unread, "more": False}


def live(id_: int, offset: int, prev: int, unread: int, **fields: Any) -> dict[str, Any]:
    notification = row(id_, offset, **fields)
    return {"type": "notification", "offset": offset, "prev": prev, "unread": unread, "notification": notification}


def updated(offset: int, prev: int, unread: int, **fields: Any) -> dict[str, Any]:
    return {"type": "updated", "offset": offset, "prev": prev, "unread": unread, **fields}


def apply(page: Page, *steps: dict[str, Any]) -> dict[str, Any]:
    """Applies frames, {"list": rows} and {"begin": true} to an empty Inbox. Returns what it then holds."""
    found: dict[str, Any] = page.evaluate(_APPLY, list(steps))
    return found


def test_each_close_code_means_the_same_as_on_the_server(page: Page) -> None:
    codes = page.evaluate("async () => (await import('/notify-inbox.js')).CLOSE_CODES")
    assert set(codes) == {str(code.code) for code in CLOSE_CODES}
    comes_back = {"resume", "told", "slowly", "token"}
    assert {code: meaning in comes_back for code, meaning in codes.items()} == {
        str(code.code): code.reconnect for code in CLOSE_CODES
    }


def test_an_unknown_code_comes_back_below_4500_and_stays_away_from_there_on(page: Page) -> None:
    after = page.evaluate(
        "async (codes) => { const { afterClose } = await import('/notify-inbox.js'); return codes.map(afterClose); }",
        [1001, 1005, 4000, 4499, 4507, 4999],
    )
    assert after == ["resume", "resume", "resume", "resume", "stay", "stay"]


def test_waits_are_fully_random_double_up_to_30_s_and_are_never_0(page: Page) -> None:
    longest, shortest, drawn = page.evaluate("""async () => {
      const { backoffMs } = await import('/notify-inbox.js');
      const of = (random) => [...Array(9).keys()].map((attempt) => backoffMs(attempt, () => random));
      const many = [...Array(2000).keys()].map(() => backoffMs(3));
      return [of(0), of(0.999999), many];
    }""")
    assert longest == [1000, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]
    assert min(shortest) > 0
    assert max(shortest) < 1
    assert min(drawn) < 200
    assert max(drawn) > 3800


def test_of_two_forms_of_a_row_the_one_with_the_higher_offset_wins(page: Page) -> None:
    read = row(1, 7, read_at="2026-01-01T00:00:00Z")
    for steps in ([row(1, 2)], [read]), ([read], [row(1, 2)]):
        found = apply(page, pull(offset=9), *({"list": rows} for rows in steps))
        assert [item["read_at"] for item in found["items"]] == [read["read_at"]]


def test_a_deleted_row_does_not_come_back_with_an_older_list(page: Page) -> None:
    gone = updated(3, 2, 0, items=[{"id": 1, "deleted": True}])
    assert apply(page, pull(row(1, 1), offset=2), gone, {"list": [row(1, 1)]})["items"] == []
    assert apply(page, pull(offset=2), gone, {"list": [row(1, 1)]})["items"] == [], "also if it was not known before"


def test_a_change_of_an_unknown_row_is_kept_for_an_older_list(page: Page) -> None:
    read = updated(3, 2, 0, items=[{"id": 1, "read_at": "2026-01-01T00:00:00Z", "archived_at": None}])
    found = apply(page, pull(offset=2), read, {"list": [row(1, 1)]})
    assert [(item["title"], item["read_at"]) for item in found["items"]] == [("row 1", "2026-01-01T00:00:00Z")]


def test_a_read_all_holds_for_rows_that_an_older_list_brings(page: Page) -> None:
    read_all = updated(5, 4, 1, upto=2, read_at="2026-01-01T00:00:00Z")
    found = apply(page, pull(offset=4), read_all, {"list": [row(3, 4), row(2, 2), row(1, 6)]})
    assert [(item["id"], item["read_at"] is not None) for item in found["items"]] == [(3, False), (2, True), (1, False)]


def test_unread_is_set_from_the_frame(page: Page) -> None:
    found = apply(page, pull(row(1, 1), offset=1, unread=40), live(2, 2, 1, unread=17))
    assert found["unread"] == 17


def test_a_gap_is_not_applied(page: Page) -> None:
    found = apply(page, pull(row(1, 1), offset=1, unread=1), live(3, 3, 2, unread=3))
    assert found["results"][1]["kind"] == "gap"
    assert [item["id"] for item in found["items"]] == [1]
    assert found["position"] == {"epoch": "e1", "offset": 1}
    assert found["unread"] == 1


def test_a_frame_that_is_known_already_changes_nothing(page: Page) -> None:
    found = apply(page, pull(row(1, 3), offset=3, unread=1), live(1, 2, 1, unread=9))
    assert found["results"][1]["kind"] == "old"
    assert found["unread"] == 1


def test_the_position_moves_with_the_last_frame_of_a_pull_only(page: Page) -> None:
    cut = apply(page, pull(row(1, 1), offset=1, unread=1), pull(row(2, 2)), {"begin": True})
    assert cut["position"]["offset"] == 1
    assert [item["id"] for item in cut["items"]] == [1]
    again = apply(page, pull(row(1, 1), offset=1), pull(row(2, 2)), {"begin": True}, pull(row(2, 2)), pull(offset=2))
    assert [item["id"] for item in again["items"]] == [2, 1]
    assert again["position"]["offset"] == 2


def test_a_pull_that_could_not_continue_replaces_everything(page: Page) -> None:
    begins = pull(row(8, 8), recovered=False)
    found = apply(page, pull(row(1, 1), offset=1, unread=1), begins, pull(row(9, 9), offset=9, unread=2))
    assert [item["id"] for item in found["items"]] == [9, 8]
    assert found["unread"] == 2


def test_only_an_id_that_was_never_seen_is_fresh(page: Page) -> None:
    found = apply(
        page,
        pull(row(1, 1), offset=1),
        live(2, 2, 1, unread=2),
        pull(row(2, 2), row(3, 3), offset=3),
        {"list": [row(4, 4)]},
        live(4, 4, 3, unread=4),
        # Everything anew: what was shown before is not new.
        pull(row(2, 2), row(5, 5), recovered=False, offset=5),
    )
    assert [result and result["fresh"] for result in found["results"]] == [[1], [2], [3], None, [], [5]]


def test_a_long_text_that_is_known_is_not_replaced_by_the_short_form_of_a_pull(page: Page) -> None:
    cut = row(1, 5, body="long", partial=True, read_at="2026-01-01T00:00:00Z")
    found = apply(page, pull(row(1, 1, body="long text"), offset=1), pull(cut, offset=5))
    assert [(item["body"], item["read_at"] is None) for item in found["items"]] == [("long text", False)]
    whole = apply(page, pull(cut, offset=5), {"list": [row(1, 5, body="long text")]})
    assert [item["body"] for item in whole["items"]] == ["long text"]


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_stream_is_cut(page: Page, pieces: int) -> None:
    text = (
        ":comment\n\nid: e:1\nevent: welcome\ndata: {}\n\nevent:ping\ndata: 1\r\ndata: 2\r\n\r\n"
        "data:  two spaces\r\rid:\nevent: x\ndata\n\n"
    )
    events = page.evaluate(
        """async ([text, size]) => {
          const { EventParser } = await import('/notify-inbox.js');
          const events = [];
          const parser = new EventParser((event) => events.push([event.type, event.data, event.id ?? null]));
          for (let at = 0; at < text.length; at += size) parser.feed(text.slice(at, at + size));
          return events;
        }""",
        [text, pieces],
    )
    assert events == [
        ["welcome", "{}", "e:1"],
        ["ping", "1\n2", "e:1"],
        ["message", " two spaces", "e:1"],
        ["x", "", ""],
    ]


@pytest.mark.parametrize("seed", range(30))
def test_frames_and_late_lists_in_any_order_end_in_what_the_store_has(page: Page, store: Store, seed: int) -> None:
    """Draws changes of an inbox, connections that are cut and lists that arrive late; the end must be the store's."""
    draw = random.Random(seed)
    history = _History(store, f"user {seed}", draw)
    for _ in range(60):
        history.step()
    history.finish()
    found = apply(page, *history.steps)
    assert [result["kind"] for result in found["results"] if result and result["kind"] == "gap"] == []
    stored = {item["id"]: item for item in history.everything()}
    assert [item["id"] for item in found["items"] if item["id"] not in stored] == []
    for item in found["items"]:
        assert {**stored[item["id"]], "body": item["body"]} == item
    unread = [id_ for id_, item in stored.items() if item["read_at"] is None and item["archived_at"] is None]
    shown = [item["id"] for item in found["items"] if item["read_at"] is None and item["archived_at"] is None]
    assert sorted(unread) == sorted(shown)
    assert found["unread"] == len(unread)


class _History:
    """Changes an inbox at random, and writes down what a device is given meanwhile."""

    def __init__(self, store: Store, user: str, draw: random.Random) -> None:
        self.steps: list[dict[str, Any]] = []
        self._owner = Owner(user)
        self._store, self._draw = store, draw
        self._position: Position | None = None
        self._late: list[dict[str, Any]] = []
        self._ids: list[int] = []
        for _ in range(draw.randrange(6)):
            self._add()
        self._connect()

    def step(self) -> None:
        kind = self._draw.choice(["add", "add", "mark", "mark", "delete", "read_all", "ask", "ask", "answer", "cut"])
        match kind:
            case "add":
                self._tell(self._add())
            case "mark" if self._ids:
                marks = {self._draw.choice(["read", "archived"]): self._draw.random() < 0.7}
                self._tell(self._store.mark(self._owner, self._some(), **marks))
            case "delete" if self._ids:
                self._tell(self._store.delete(self._owner, self._some()[:1]))
            case "read_all" if self._ids:
                self._tell(self._store.read_all(self._owner, self._draw.choice(self._ids)))
            case "ask":
                page = self._store.page(self._owner, Filter(), limit=self._draw.randint(1, 20))
                self._late.append({"list": [orjson.loads(frames.item_bytes(item)) for item in page.items]})
            case "answer" if self._late:
                self.steps.append(self._late.pop(self._draw.randrange(len(self._late))))
            case "cut":
                # While it is away, nobody tells it anything.
                for _ in range(self._draw.randrange(4)):
                    self._add()
                    self._store.mark(self._owner, self._some(), read=True)
                self._connect()

    def finish(self) -> None:
        self.steps += self._late
        self._connect()

    def everything(self) -> list[dict[str, Any]]:
        page = self._store.page(self._owner, Filter(), limit=1000)
        return [orjson.loads(frames.item_bytes(item)) for item in page.items]

    def _some(self) -> list[int]:
        return self._draw.sample(self._ids, min(len(self._ids), self._draw.randint(1, 4)))

    def _add(self) -> Change:
        inserted = self._store.insert([new(self._owner.user_id, f"r{len(self._ids)}")])
        self._ids.append(inserted.results[0].id)  # type: ignore[union-attr]
        return inserted.changes[0]

    def _tell(self, change: Change | None) -> None:
        if change is None or self._position is None:
            return
        if change.epoch != self._position.epoch:
            self._connect()
            return
        self.steps += [orjson.loads(frame) for frame in frames.of_change(change)]
        self._position = Position(change.epoch, change.to)

    def _connect(self) -> None:
        answer = self._store.pull([(self._owner, self._position)])[0]
        items = [frames.item_bytes(item) for item in answer.rows]
        self.steps.append({"begin": True})
        if len(items) > 1 and self._draw.random() < 0.3:
            # It is cut in the middle of the pull.
            self.steps.append(orjson.loads(frames.missed_notifications(items[:1], recovered=answer.recovered)))
            self.steps.append({"begin": True})
        last = frames.missed_notifications(
            items, recovered=answer.recovered, more=answer.more, position=answer.position, unread=answer.unread
        )
        self.steps.append(orjson.loads(last))
        self._position = answer.position
