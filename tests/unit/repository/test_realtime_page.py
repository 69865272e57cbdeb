"""Tests that docs/realtime.md names every close code, frame and error as the code has them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from shared.realtime.close_codes import CLOSE_CODES

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "realtime.md").read_text()
SOURCES = [
    *sorted((ROOT / "services" / "websocket").rglob("*.py")),
    ROOT / "shared" / "realtime" / "frames.py",
]


def section(title: str) -> str:
    found = re.search(rf"^#+ {re.escape(title)}$(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def first_cells(text: str) -> set[str]:
    """Returns the words in backticks of the first column of a table."""
    return {word for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for word in re.findall(r"`(\w+)`", row)}


def test_every_close_code_is_described_as_in_the_code() -> None:
    rows = re.findall(r"^\| (\d{4}) \| (.*?) \| (.*?) \|$", section("Close codes"), re.MULTILINE)
    assert [(int(code), meaning, device) for code, meaning, device in rows] == [
        (one.code, one.meaning, one.device) for one in CLOSE_CODES
    ]


def test_codes_below_4500_bring_devices_back_and_others_do_not() -> None:
    assert {one.reconnect for one in CLOSE_CODES if 4000 <= one.code < 4500} == {True}
    assert {one.reconnect for one in CLOSE_CODES if one.code >= 4500} == {False}
    assert [one.code for one in CLOSE_CODES] == sorted({one.code for one in CLOSE_CODES})
    # A close frame holds at most 123 bytes of reason.
    assert all(0 < len(one.reason) < 123 for one in CLOSE_CODES)


def test_every_frame_to_a_device_is_described() -> None:
    assert first_cells(section("To the device")) - {"type"} == set(_frames())


def test_every_frame_from_a_device_is_described() -> None:
    source = (ROOT / "services" / "websocket" / "transport" / "socket.py").read_text()
    taken = {
        alternative.value.value
        for match in ast.walk(ast.parse(source))
        if isinstance(match, ast.Match) and isinstance(match.subject, ast.Name) and match.subject.id == "kind"
        for case in match.cases
        for alternative in ast.walk(case.pattern)
        if isinstance(alternative, ast.MatchValue) and isinstance(alternative.value, ast.Constant)
    }
    assert first_cells(section("From the device").split("| `error` |")[0]) - {"type"} == taken


def test_every_error_is_described() -> None:
    table = section("From the device").split("| `error` |")[1]
    assert first_cells(table) == set(_errors())


def _frames() -> Iterator[str]:
    """Yields the types of frames that the code writes in the native dialect."""
    for path in SOURCES:
        if path.name in ("simple.py", "sse.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "type" and isinstance(value, ast.Constant):
                        yield _text(value)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "say":
                yield _text(node.args[0])


def _errors() -> Iterator[str]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id == "Unreadable":
                yield _text(node.args[0])
            for keyword in node.keywords:
                is_say = isinstance(node.func, ast.Attribute) and node.func.attr == "say"
                if is_say and keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield _text(keyword.value)


def _text(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value
