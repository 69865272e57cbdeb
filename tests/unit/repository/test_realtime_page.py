"""Tests that docs/realtime.md names every frame with its fields, every close code and every error of the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import orjson

from services.websocket.transport import native
from shared.realtime import frames
from shared.realtime.close_codes import CLOSE_CODES, RESTART
from shared.store.values import Owner, Position, Pull
from tests.support.document import ROOT, Document, rows, words
from tests.support.inbox_rows import change, row

PAGE = Document("realtime.md")
NODE = ROOT / "services" / "websocket"
#: What writes and reads the native dialect. ``simple`` has the two other ones, ``sse`` an event beside the frames.
SOURCES = [
    *(path for path in sorted(NODE.rglob("*.py")) if path.name not in ("simple.py", "sse.py")),
    ROOT / "shared" / "realtime" / "frames.py",
]
#: Repeats the ``id`` of a frame of the device.
ECHOES = ("echo", "echo_of", "_echo_of")


def test_every_close_code_is_described_as_in_the_code() -> None:
    assert [(int(code), meaning, device) for code, meaning, device in rows(PAGE.section("Close codes"))] == [
        (one.code, one.meaning, one.device) for one in CLOSE_CODES
    ]


def test_codes_below_4500_bring_devices_back_and_others_do_not() -> None:
    assert {one.reconnect for one in CLOSE_CODES if 4000 <= one.code < 4500} == {True}
    assert {one.reconnect for one in CLOSE_CODES if one.code >= 4500} == {False}
    assert [one.code for one in CLOSE_CODES] == sorted({one.code for one in CLOSE_CODES})
    # A close frame holds at most 123 bytes of reason.
    assert all(0 < len(one.reason) < 123 for one in CLOSE_CODES)


def test_every_frame_to_a_device_is_described_with_its_fields() -> None:
    described = {kind: words(fields) for type_, fields in rows(PAGE.section("To the device")) for kind in words(type_)}
    assert described == {**_said(), **_written()}


def test_every_frame_of_the_code_is_among_those_that_are_compared() -> None:
    assert {*_said(), *_written()} == set(_types())


def test_every_field_of_an_item_is_described() -> None:
    found = [line for line in PAGE.section("To the device").split("\n\n") if line.startswith("An item is a row:")]
    whole = frames.item(row(partial=True))
    deleted = frames.item(row(deleted_ms=1))
    assert words(found[0]) - {"GET"} == whole.keys() | deleted.keys()


def test_every_frame_from_a_device_is_described_with_its_fields() -> None:
    table = PAGE.section("From the device").split("| `error` |")[0]
    described = {kind: words(fields) for types, fields in rows(table) for kind in words(types)}
    assert set(described) == set(_taken())
    # ``type``, ``id`` and the ``channel`` of a subscription belong to every frame, or to none in this version.
    assert set().union(*described.values()) == _read() - {"type", "id", "channel"}
    assert described["auth"] == {"token", "ticket", "resume", "epoch", "offset"}
    assert described["read_all"] == {"upto"}
    assert described["delete"] == {"ids"}


def test_every_error_is_described() -> None:
    table = "| `error` |" + PAGE.section("From the device").split("| `error` |")[1]
    assert set().union(*(words(name) for name, _ in rows(table))) == set(_errors())


def _written() -> dict[str, set[str]]:
    """Returns the fields of the frames that show an inbox or begin or end a connection, as they are really written."""
    marked = change(row(changed_seq=4, read_ms=1), row(8, changed_seq=4, deleted_ms=1))
    pull = Pull(Owner("u1"), Position("e", 1), unread=0, recovered=True, rows=(row(), row(8)))
    shown = [
        *frames.of_change(change(row())),
        *frames.of_change(marked),
        frames.updated_upto(7, 1, 4, 3, 0),
        *native.pages(pull),
        native.disconnect_json(RESTART, 1, "detail"),
    ]
    fields: dict[str, set[str]] = {}
    for frame in map(orjson.loads, shown):
        fields.setdefault(frame["type"], set()).update(_fields_of(frame))
    return fields


def _fields_of(frame: dict[str, Any]) -> set[str]:
    of_items = [item.keys() for item in frame.get("items", ())] if frame["type"] == "updated" else []
    return set().union(frame.keys(), *of_items) - {"type"}


def _said() -> dict[str, set[str]]:
    """Returns the fields of the other frames: those with which the code calls ``say``, and ``welcome``."""
    fields: dict[str, set[str]] = {}
    for call in _calls():
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name == "say":
            fields.setdefault(_text(call.args[0]), set()).update(_keywords(call))
        elif name == "welcome":
            fields["welcome"] = set(_keywords(call))
    return fields


def _keywords(call: ast.Call) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg
        else:
            assert isinstance(keyword.value, ast.Call)
            assert isinstance(keyword.value.func, ast.Name)
            assert keyword.value.func.id in ECHOES
            yield "id"


def _types() -> Iterator[str]:
    """Yields the type of every frame that the code writes, whether the tests above make such a frame or not."""
    yield from _said()
    for node in _nodes():
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "type" and isinstance(value, ast.Constant):
                    yield _text(value)


def _taken() -> Iterator[str]:
    """Yields the types of frames that a device may send."""
    for match in _nodes():
        if isinstance(match, ast.Match) and isinstance(match.subject, ast.Name) and match.subject.id == "kind":
            for case in match.cases:
                for part in ast.walk(case.pattern):
                    if isinstance(part, ast.MatchValue) and isinstance(part.value, ast.Constant):
                        yield _text(part.value)


def _read() -> set[str]:
    """Returns the fields that the code reads in the frames of devices."""
    found: set[str] = set()
    for node in _nodes():
        if isinstance(node, ast.GeneratorExp) and "frame.get(name)" in ast.unparse(node.elt):
            found |= set(ast.literal_eval(node.generators[0].iter))
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        place = {"frame.get": 0, "resume.get": 0, "number_in": 1}.get(called)
        if place is not None and isinstance(node.args[place], ast.Constant):
            found.add(ast.literal_eval(node.args[place]))
        elif place is not None:
            assert isinstance(node.args[place], ast.Name)
    return found


def _errors() -> Iterator[str]:
    for call in _calls():
        if isinstance(call.func, ast.Name) and call.func.id == "Unreadable":
            yield _text(call.args[0])
        for keyword in call.keywords:
            is_say = isinstance(call.func, ast.Attribute) and call.func.attr == "say"
            if is_say and keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                yield _text(keyword.value)


def _calls() -> Iterator[ast.Call]:
    return (node for node in _nodes() if isinstance(node, ast.Call))


def _nodes() -> Iterator[ast.AST]:
    for path in SOURCES:
        yield from ast.walk(ast.parse(path.read_text()))


def _text(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, str)
    return node.value
