"""Tests how log files are followed and rendered."""

from pathlib import Path

from ops.system.log_view import LogFile, last_lines, render


def test_only_new_and_complete_lines_are_given(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("old\n")
    log = LogFile(path, from_end=True)
    with path.open("a") as file:
        file.write("one\ntw")
    assert list(log.new_lines()) == ["one"]
    with path.open("a") as file:
        file.write("o\n")
    assert list(log.new_lines()) == ["two"]


def test_a_rotated_log_goes_on_with_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("a long first line\n")
    log = LogFile(path, from_end=False)
    assert list(log.new_lines()) == ["a long first line"]
    path.rename(tmp_path / "x.log.1")
    assert list(log.new_lines()) == []
    path.write_text("after\n")
    assert list(log.new_lines()) == ["after"]


def test_the_last_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("".join(f"{n}\n" for n in range(10)))
    assert last_lines(path, 2) == ["8", "9"]


def test_an_event_is_shown_as_time_name_and_fields() -> None:
    line = '{"at": "2026-01-02T03:04:05.678Z", "level": "info", "service": "push", "event": "sent", "attempt": 0}'
    assert render("push", line).plain == "push      03:04:05 sent attempt=0"


def test_a_line_that_is_not_an_event_is_shown_unchanged() -> None:
    for line in ("Traceback [bold]:", "{broken", '{"no": "name"}', "3"):
        assert render("push", line).plain == f"push      {line}"
