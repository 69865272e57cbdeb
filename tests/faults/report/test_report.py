"""Tests that the published report says what was seen, both good and bad."""

from __future__ import annotations

from ops.place import ROOT
from tests.faults.harness.trial import Result
from tests.faults.mutations.trial import Verdict
from tests.faults.report.machine import described
from tests.faults.report.report import END_MARK, MARK, totals, written

GOOD = Result("calm-sea", "calm", "Nothing.", 7, attempted=9, accepted=9, delivered=8, duplicated=1, allowed=2)
BAD = Result("storm", "broker", "Wind.", 8, attempted=5, accepted=4, lost=3, broken=["I1: 3 lost"])
SHOWN = Result(
    "tide",
    "nodes",
    "Water.",
    7,
    devices=500,
    shown=9_000,
    holes=2,
    repeated=1,
    ends={"1006": 250},
    longest_lag_s=0.3,
    broken=["I10: 2 holes"],
)
CAUGHT, MISSED = Verdict("early-ack", "acks", "storm", "I1: 2 lost | more"), Verdict("late-ack", "acks late")


def test_the_sentence_counts_what_was_lost_doubled_and_missed() -> None:
    said = totals([GOOD, BAD], [CAUGHT, MISSED])
    assert said.startswith("1 of 2 runs of 2 fault scenarios kept every promise: of 13 accepted messages 3 were lost")
    assert "1 were sent twice" in said
    assert "1 of 2 deliberate defects were caught" in said


def test_what_devices_showed_is_counted_where_there_were_some() -> None:
    text = written([GOOD, SHOWN], [], described(), 7, 60)
    assert "| tide | 500 | 9000 | 2 | 1 | 0.3 s | 250 with 1006 |" in text
    assert "500 devices showed 9 000 changes of inboxes with 2 holes and 1 doubles" in totals([GOOD, SHOWN], [])
    without = written([GOOD, BAD], [], described(), 7, 60)
    assert "**devices**" in text
    assert "**devices**" not in without
    assert "devices showed" not in totals([GOOD, BAD], [])


def test_a_broken_promise_and_a_missed_defect_are_not_hidden() -> None:
    text = written([GOOD, BAD], [CAUGHT, MISSED], described(), 7, 60)
    assert "storm **BROKEN**" in text
    assert "BROKEN: I1: 3 lost" in text
    assert "| late-ack | acks late | **nobody** |" in text
    assert "--seed 7" in text


def test_the_readme_quotes_the_published_run() -> None:
    readme, report = (ROOT / "README.md").read_text(), (ROOT / "docs" / "reliability.md").read_text()
    quotation = readme.partition(MARK)[2].partition(END_MARK)[0].strip()
    assert quotation
    assert quotation in report
