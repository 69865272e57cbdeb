"""Tests that the broken parts of a whole run, which takes half an hour, can be run again, and
that the report says so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.faults.harness.prove import left_over, parse
from tests.faults.harness.trial import Result
from tests.faults.mutations.trial import Verdict
from tests.faults.report.figures import Figures, read_figures

GOOD = Result("no-fault", "calm", "Nothing.", 7, accepted=9)
BAD = Result("random-kills", "crashes", "Kills.", 8, accepted=4, lost=3, broken=["I1: 3 lost"])
CAUGHT, MISSED = Verdict("no-confirms", "says yes", "broker-killed"), Verdict("no-mandatory", "asks nobody")
FIGURES = Figures(7, 60.0, {"commit": "aaa"}, [GOOD, BAD], [CAUGHT, MISSED])


def test_figures_survive_their_file(tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text(FIGURES.to_json())
    assert read_figures(tmp_path / "figures.json") == FIGURES
    assert parse(["--resume", str(tmp_path / "figures.json")]).resume == FIGURES


def test_only_what_was_broken_or_missed_is_run_again_with_its_own_seed() -> None:
    work = left_over(FIGURES)
    assert [(scenario.name, seed) for scenario, seed in work.runs] == [("random-kills", 8)]
    assert [mutant.name for mutant in work.mutants] == ["no-mandatory"]
    assert work.whole


def test_a_repeated_run_takes_the_place_of_the_first_and_says_what_that_said() -> None:
    mended = replace(BAD, lost=0, broken=[])
    again = Figures(7, 5.0, {"commit": "bbb"}, [mended], [replace(MISSED, caught_by="topology-deleted")])
    assert not FIGURES.is_well
    both = FIGURES.repeated(again)
    assert both.is_well
    assert both.took_s == 65
    assert both.results[0] == GOOD
    assert both.results[1].notes == ["run again at commit bbb; at first: I1: 3 lost"]
    assert [verdict.caught_by for verdict in both.verdicts] == ["broker-killed", "topology-deleted"]
