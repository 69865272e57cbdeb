"""Tests ``./notify test --days N``, which moves the clock of the whole run."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.develop import testing
from ops.errors import OpsError
from ops.place import ROOT

DAY_S = 86_400


@pytest.mark.parametrize(("days", "seconds"), [(400, "34560000L"), (-400, "-34560000L")])
def test_the_library_is_built_for_the_days_and_tried(
    days: int, seconds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[list[str], dict[str, str]]] = []

    def output_of(command: list[str], **variables: str) -> str:
        ran.append((command, variables))
        return str(time.time() + days * DAY_S)

    monkeypatch.setattr(testing, "_output_of", output_of)
    library = testing.moved_clock(days, tmp_path / "new")
    (built, _), (_, tried_with) = ran
    assert f"-DMOVED_S=({seconds})" in built
    assert str(ROOT / "tests/support/run/moved_clock.c") in built
    assert Path(built[-1]).exists()
    assert tried_with == {"LD_PRELOAD": str(library)}


def test_a_clock_that_does_not_move_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testing, "_output_of", lambda command, **_: str(time.time()))
    with pytest.raises(OpsError, match="does not move by 400 days"):
        testing.moved_clock(400, tmp_path)


@pytest.mark.parametrize(
    "command", [["no-such-compiler"], [sys.executable, "-c", "raise SystemExit('no such header')"]]
)
def test_what_cannot_be_built_is_an_error(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output_of: Callable[..., str] = testing._output_of
    monkeypatch.setattr(testing, "_output_of", lambda _, **more: output_of(command, **more))
    with pytest.raises(OpsError, match=r"no-such-compiler is not installed|no such header"):
        testing.moved_clock(400, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "preloads", "words"),
    [
        (["--days", "-400", "-q"], "moved", ["--ignore=tests/e2e", "-q"]),
        (["-q", "tests/unit"], None, ["-q", "tests/unit"]),
        (["--days", "-400"], "moved", ["--ignore=tests/e2e", *testing.SIDE_BY_SIDE]),
        ([], None, [*testing.SIDE_BY_SIDE]),
    ],
)
def test_pytest_gets_the_clock_and_the_arguments(
    arguments: list[str], preloads: str | None, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr("ops.servers.install.ensure", lambda *_: None)
    monkeypatch.setattr(testing, "moved_clock", lambda days, _: {-400: "moved"}[days])
    monkeypatch.setattr("os.execve", lambda *call: ran.append(call))
    testing.test.main(arguments, standalone_mode=False)
    [(program, argv, environment)] = ran
    assert argv == [program, "-m", "pytest", *words]
    assert environment.get("LD_PRELOAD") == preloads
