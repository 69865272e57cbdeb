"""Tests the command line as a whole."""

from pathlib import Path

import click
import pytest

from ops.cli import COMMANDS, command, main


def exit_code_of(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr("sys.argv", ["notify", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_in_the_table_exists(name: str) -> None:
    assert isinstance(command.get_command(click.Context(command), name), click.Command)


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [(["status"], 3), (["down"], 3), (["logs"], 3), (["nonsense"], 2), (["up", "--nonsense"], 2), (["--help"], 0)],
)
def test_exit_codes(arguments: list[str], exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_LOCAL_DIR", str(tmp_path))
    assert exit_code_of(arguments, monkeypatch) == exit_code


@pytest.mark.parametrize("arguments", [["failed", "list"], ["failed", "show", "x"], ["logs", "push"], ["failed"], []])
def test_a_word_that_does_not_belong_there_is_named_as_a_terminal_can_show_it(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of([*arguments, "a\x1b]52;c;Zg==\x07\x9b2J\u202eb"], monkeypatch) == 2
    assert r"a\x1b]52;c;Zg==\x07\x9b2J\u202eb" in capsys.readouterr().err


def test_an_error_is_named_as_a_terminal_can_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_LOCAL_DIR", str(tmp_path / "a\x1b]52;c;Zg==\x07\x9b2J\u202eb"))
    assert exit_code_of(["logs"], monkeypatch) == 3
    shown = capsys.readouterr().err
    assert r"a\x1b]52;c;Zg==\x9b2J\u202eb" in shown
    assert shown.replace("\n", "").isprintable()


def test_every_bad_setting_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFETCH", "many")
    monkeypatch.setenv("LOCAL_REDIS_PORT", "40000")
    assert exit_code_of(["up"], monkeypatch) == 2
    shown = capsys.readouterr().err
    assert "PREFETCH" in shown
    assert "LOCAL_REDIS_PORT" in shown


@pytest.mark.parametrize("arguments", [["up"], ["failed", "list"], ["breaker", "list"]], ids=" ".join)
@pytest.mark.parametrize("under", [".", "deeper"])
def test_a_place_that_cannot_be_written_to_is_named_with_its_setting(
    arguments: list[str],
    under: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NOTIFY_LOCAL_DIR", str(tmp_path / "file" / under))
    assert exit_code_of(arguments, monkeypatch) == 2
    assert "NOTIFY_LOCAL_DIR: cannot write to" in capsys.readouterr().err
