"""Tests that the published report says what was seen, both good and bad."""

from __future__ import annotations

from ops.place import ROOT
from tests.faults.harness.trial import Result
from tests.faults.mutations.trial import Verdict
from tests.faults.report.machine import described
from tests.faults.report.report import END_MARK, MARK, totals, written

GOOD = Result("calm-sea", "calm", "Nothing.", 7, attempted=9, accepted=9, delivered=8, duplicated=1, allowed=2)
BAD = Result("storm", "broker", "Wind.", 8, attempted=5, accepted=4, lost=3, broken=["I1: 3 lost"])
CAUGHT, MISSED = Verdict("early-ack", "acks", "storm", "I1: 2 lost | more"), Verdict("late-ack", "acks late")


def test_the_sentence_counts_what_was_lost_doubled_and_missed() -> None:
    said = totals([GOOD, BAD], [CAUGHT, MISSED])
    assert said.startswith("1 of 2 runs of 2 fault scenarios kept every promise: of 13 accepted messages 3 were lost")
    assert "1 were sent twice" in said
    assert "1 of 2 deliberate defects were caught" in said


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
