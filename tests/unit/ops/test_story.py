"""Tests the story that ./notify trace tells."""

from __future__ import annotations

from pathlib import Path

from ops.trace.story import _ENDS, sentence, stories
from shared.events.event import KINDS
from shared.store import schema
from shared.store.store import Store
from shared.store.timeline.rows import STATUSES, Told
from shared.store.timeline.timeline import Timeline
from tests.support.timelines import ACCEPTED_MS, events, report, told


def test_a_story_tells_everything_in_its_order(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/notify.db")
    schema.upgrade(store.database)
    timeline = Timeline(store.database)
    timeline.write(
        events(
            report(told("accepted")),
            report(
                told("attempted", 10, provider="fcm", ms=31, reason="unavailable", detail="fcm 503"),
                told("retrying", 41, reason="provider_unavailable", next_try_ms=ACCEPTED_MS + 5_041),
            ),
            report(
                told("attempted", 5_060, provider="fcm2", ms=30, code="accepted"),
                told("sent", 5_090, provider="fcm2"),
                attempt=1,
            ),
            report(told("accepted"), channel="email", user_id=""),
        )
    )
    lines = list(stories(*timeline.of_request("r-1")))
    store.close()
    assert lines == [
        "r-1 of shop by email: pending",
        "  2026-11-20T08:00:00.000Z  +     0 ms  The gateway accepted it.",
        "  It has come to no end yet.",
        "",
        "r-1 of shop by push to ada: sent",
        "  2026-11-20T08:00:00.000Z  +     0 ms  The gateway accepted it.",
        "  2026-11-20T08:00:00.010Z  +    10 ms  Attempt 1: fcm did not accept it, after 31 ms (unavailable: fcm 503).",
        "  2026-11-20T08:00:00.041Z  +    41 ms  It waits until 2026-11-20T08:00:05.041Z (provider_unavailable).",
        "  2026-11-20T08:00:05.060Z  +    5.1 s  Attempt 2: fcm2 accepted it within 30 ms.",
        "  2026-11-20T08:00:05.090Z  +    5.1 s  It is sent, through fcm2.",
        "  The provider has accepted it.",
    ]


def test_every_kind_has_a_sentence_and_every_status_an_end() -> None:
    for kind in KINDS:
        one = Told("r", "c", "push", kind, 1, 0, 0, "fcm", "", 3, "why", "detail", 5)
        assert sentence(one).endswith("."), kind
    assert _ENDS.keys() == set(STATUSES)
