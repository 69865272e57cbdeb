"""Tests that a terminal obeys nothing of what others have written, and that one module alone writes to it."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.table import Table
from rich.text import Text

from ops.system.log_view import render
from ops.system.logs import logs
from ops.terminal import Terminal, printable_json, styled

ROOT = Path(__file__).parents[3]

#: Sets the title, clears the screen (as ECMA-48 7-bit and 8-bit), rings, reverses the text, hides characters.
HOSTILE = "a\x1b]0;owned\x07\x1b[2J\x9b2J\x08\u202egnp\u200b\u2066[bold]x[/bold][/]:smile:\r\ud800"
#: rich itself drops the bell, the backspace and the carriage return.
SHOWN = r"a\x1b]0;owned\x1b[2J\x9b2J\u202egnp\u200b\u2066[bold]x[/bold][/]:smile:\ud800"


def printed(*renderables: object, colours: bool = False) -> str:
    terminal = Terminal()
    terminal.file = output = io.StringIO()
    if colours:
        terminal._force_terminal = True
    for renderable in renderables:
        terminal.print(renderable, soft_wrap=not isinstance(renderable, Table))
    return output.getvalue()


@pytest.mark.parametrize("renderable", [HOSTILE, Text(HOSTILE), Text(HOSTILE, style="red")])
def test_what_a_terminal_would_obey_is_shown(renderable: object) -> None:
    assert printed(renderable) == f"{SHOWN}\n"


def test_a_table_and_a_log_line_are_safe_too() -> None:
    table = Table("name", box=None)
    table.add_row("\x1b[2J\u202e")
    line = json.dumps(
        {"event": "x\x1b]0;y", "level": "info", "at": "\x9b", "n\x1b": "v\u202e", "exception": "e\x1b\nf"}
    )
    for text in (
        printed(table),
        printed(render("push\x1b", line)),
        printed(render("push", "\x1b]8;;http://x\x07text")),
    ):
        assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(text)


def test_lines_and_tabs_and_ordinary_texts_stay() -> None:
    text = "Größe\u00a05 kB, 漢字 🚀\n  second line"
    assert printed(text) == f"{text}\n"
    assert printed("x" * 300) == "x" * 300 + "\n"
    assert printed(styled("[bold]a[/] b")) == "a b\n"


def test_json_stays_the_same_document() -> None:
    document = {"a\x9b": "b\u202e\ud800\U000e0001\x7f", "c": "é\n"}
    shown = printable_json(json.dumps(document, indent=2, ensure_ascii=False))
    assert json.loads(shown) == document
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert "é" in shown


def test_a_document_is_written_with_the_escapes_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"a\x9b": "b\u202e\x1b]52;c;Zg==\x07", "c": "é"}
    Terminal().write_json(document)
    shown = capsys.readouterr().out
    assert json.loads(shown) == document
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_a_log_in_a_pipe_stays_json_that_no_terminal_obeys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_LOCAL_DIR", str(tmp_path))
    (tmp_path / "log").mkdir()
    (tmp_path / "log/push.log").write_text('{"event": "sent\x9b2J\u202e"}\n\x1b]52;c;Zg==\x07 no event\n')
    shown = CliRunner().invoke(logs, ["push"]).stdout.splitlines()
    assert json.loads(shown[0]) == {"event": "sent\x9b2J\u202e"}
    assert shown[0].isprintable()
    assert shown[1].isprintable()


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "| true"])
def test_a_process_that_must_go_on_loses_the_line_and_goes_on(redirection: str) -> None:
    program = (
        "import sys, time\nfrom ops.terminal import Terminal\nterminal = Terminal(unfailing=True)\ntime.sleep(0.2)\n"
        "with terminal.status('waiting'):\n    terminal.print('x' * 100_000)\n"
        "terminal.print('y')\nsys.stderr.write('went on')"
    )
    command = f"'{sys.executable}' -c \"$0\" {redirection}"
    ended = subprocess.run(["/bin/sh", "-c", command, program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.stderr == "went on"


def test_only_one_module_writes_to_the_terminal() -> None:
    # The probe of a container must start fast, and prints one line of its own.
    alone = {"ops/terminal.py", "ops/probe.py"}
    for path in (ROOT / "ops").rglob("*.py"):
        if str(path.relative_to(ROOT)) not in alone:
            for node in ast.walk(ast.parse(path.read_text())):
                name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
                assert name not in {"echo", "secho", "Console", "from_ansi"}, f"{path}: {name}"
                assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print")
