"""Tests that a log line that cannot be written stops nothing, and is counted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import pytest
import structlog

from shared.logs import PATIENCE_MS, LineWriter, complain, configure_logs, count_lost_lines, log_death, lost_lines

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    handlers = logging.getLogger().handlers[:]
    yield
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers


#: Writes by each way that leads to the log, more than a pipe holds, and shows on its standard error that it goes on.
PROGRAM = """
import logging, sys
import structlog
from shared.logs import configure_logs, count_lost_lines, lost_lines

configure_logs("push", log_format="{form}")
counted = []
count_lost_lines(lambda: counted.append(1))
log = structlog.get_logger("before")
for number in range(30):
    log.info("message", text="x" * 4000)
logging.getLogger("library").error("%s failed", "it")
try:
    raise ValueError("injected")
except ValueError:
    log.exception("failed")
print(lost_lines() == len(counted), lost_lines(), file=sys.stderr)
"""


def stalled_pipe() -> IO[bytes]:
    """Returns the end of a pipe whose reader lives and does not read."""
    _reader, writer = os.pipe()
    return os.fdopen(writer, "wb")


def broken_pipe() -> IO[bytes]:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "wb")


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    ("output", "redirection", "least"),
    [
        (None, ">/dev/full", 32),
        (broken_pipe, "", 32),
        (stalled_pipe, "", 10),
        (None, "1</dev/null", 32),
        (None, ">&-", 32),
    ],
    ids=["full disk", "broken pipe", "reader stopped", "only readable", "closed"],
)
def test_a_process_goes_on_when_its_log_cannot_be_written(form: str, output: Any, redirection: str, least: int) -> None:
    with output() if output else nullcontext(subprocess.DEVNULL) as stdout:
        ended = subprocess.run(
            ["/bin/sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, PROGRAM.format(form=form)],
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    same, _, lost = ended.stderr.strip().partition(" ")
    assert (ended.returncode, same) == (0, "True"), ended.stderr
    assert int(lost) >= least


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "\udc80"},
        {"number": 2**70},
        {"by_key": {7: "x", "y": {(1, 2): 3}}},
        {"text": b"\xff", "n": float("nan")},
    ],
    ids=["surrogate", "big number", "odd keys", "bytes"],
)
def test_an_odd_value_is_written_and_not_lost(fields: dict[str, Any], tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        configure_logs("push", fd=file.fileno())
        structlog.get_logger().info("odd", **fields)
    assert json.loads((tmp_path / "log").read_text())["event"] == "odd"
    assert lost_lines() == 0


def test_what_was_lost_is_said_once_lines_can_be_written_again(tmp_path: Path) -> None:
    counted: list[int] = []
    with (tmp_path / "log").open("wb") as file:
        configure_logs("push", fd=file.fileno())
        count_lost_lines(lambda: counted.append(1))
        for _ in range(3):
            structlog.get_logger().info("odd", value=Unprintable())
        structlog.get_logger().info("well")
        structlog.get_logger().info("well")
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event["event"] for event in events] == ["well", "log_lines_lost", "well"]
    assert (events[1]["lines"], len(counted), lost_lines()) == (3, 3, 3)


def test_a_line_after_one_that_was_cut_begins_on_a_new_line() -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer)
    with pytest.raises(OSError, match="does not read"):
        lines.write(b"x" * 1_000_000)
    held = len(os.read(reader, 1_000_000))
    lines.write(b"next")
    assert held >= 4096
    assert os.read(reader, 1_000_000) == b"\nnext\n"
    os.close(reader)
    os.close(writer)


def test_only_the_first_line_waits_for_a_reader_that_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    lines = LineWriter(writer)
    waits: list[int] = []
    poll = lines._poll

    class Counting:
        def poll(self, patience_ms: int) -> list[tuple[int, int]]:
            waits.append(patience_ms)
            return poll.poll(0)

    monkeypatch.setattr(lines, "_poll", Counting())
    for _ in range(3):
        with pytest.raises(TimeoutError):
            lines.write(b"x" * 1_000_000)
    assert (waits[0], waits[-2:]) == (PATIENCE_MS, [0, 0])
    os.close(reader)
    os.close(writer)


def test_a_terminal_does_not_obey_what_another_service_has_written(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        configure_logs("push", log_format="console", fd=file.fileno())
        structlog.get_logger().info("odd", text="\x1b]0;owned\x07\x9b2J\u202egnp", **{"\x1b[2J": 1})
        try:
            raise ValueError("\x1b]0;owned")
        except ValueError:
            structlog.get_logger().exception("failed")
    text = (tmp_path / "log").read_text()
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)
    assert "\\x1b]0;owned\\x07\\x9b2J\\u202egnp" in text
    assert "Traceback" in text


def test_a_complaint_at_the_start_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    complain("a\x1b]52;c;Zg==\x07", "b\x9b2J\nc\u202e")
    assert capsys.readouterr().err == "a\\x1b]52;c;Zg==\\x07\nb\\x9b2J\nc\\u202e\n"


async def test_a_background_task_that_dies_is_logged_at_once(tmp_path: Path) -> None:
    async def die() -> None:
        raise KeyError("unforeseen")

    with (tmp_path / "log").open("wb") as file:
        configure_logs("push", fd=file.fileno())
        task = asyncio.create_task(die(), name="renewal")
        task.add_done_callback(log_death)
        await asyncio.wait((task,))
        await asyncio.sleep(0)
    event = json.loads((tmp_path / "log").read_text())
    assert (event["event"], event["task"]) == ("task_died", "renewal")
    assert "KeyError" in event["exception"]
