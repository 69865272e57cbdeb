"""Tests that docs/realtime.md has the rules of devices, the numbers, the settings and the paths that the code has."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from notify_client import reconnect
from services.websocket.transport.dialects import place_of
from shared.realtime.frames import item
from shared.settings.groups.sockets import SocketSettings
from shared.settings.load import settings_from, variables_of
from shared.store.store import TOMBSTONE_MS
from shared.store.values import PULL_ROWS, PULL_TEXT_BYTES, Owner, Position, Pull
from tests.support.document import ROOT, Document, constant, rows, words
from tests.support.inbox_rows import row

PAGE = Document("realtime.md")
KIB = 1024


def node(name: str) -> float:
    """Returns a number of the nodes."""
    number: float = constant("services.websocket", name)
    return number


#: What the page says, with each number as a group, and the numbers of the code.
NUMBERS: list[tuple[str, tuple[float, ...]]] = [
    (r"kept for (\d+) days\)", (TOMBSTONE_MS / 86_400_000,)),
    (r"or if more than ([\d ]+) rows have changed", (PULL_ROWS,)),
    (r"gets the newest ([\d ]+) unread", (PULL_ROWS,)),
    (r"It has (\d+) seconds", (node("AUTH_S"),)),
    (r"the position within ([\d.]+) s", (node("OPEN_AUTH_S"),)),
    (r"frames of at most (\d+) rows or (\d+) KiB", (node("PAGE_ROWS"), node("PAGE_BYTES") / KIB)),
    (r"the text has more than (\d+) KiB", (PULL_TEXT_BYTES / KIB,)),
    (r"`ids`, at most (\d+)", (node("MOST_IDS"),)),
    (r"more than (\d+) frames a second, after a burst of (\d+)", (node("FRAMES_PER_S"), node("BURST"))),
    (r"Three within (\d+) seconds end", (node("STRIKES_S"),)),
    (r"A message has at most (\d+) KiB", (node("MOST_BYTES") / KIB,)),
    (r"the wait, which is at most (\d+) s", (node("MOST_WAIT_S"),)),
    (r"if the device has less than (\d+) KiB unsent", (node("FULL_BYTES") / KIB,)),
    (
        r"A device that has (\d+) KiB unsent and takes no byte for (\d+) s",
        (node("FULL_BYTES") / KIB, node("STALLED_S")),
    ),
    (r"or has more than (\d+) MiB unsent", (node("MOST_UNSENT_BYTES") / KIB / KIB,)),
    (r"Up to (\d+) devices are read in one snapshot", (node("PULLS_AT_ONCE"),)),
    (r"while ([\d ]+) wait for their first load", (node("MOST_WAITING"),)),
    (
        r"up to (\d) s at first \(never 0\), then up to (\d), (\d), (\d) \.\.\. (\d+) s",
        (reconnect.FIRST_S, *(reconnect.BASE_S * 2**attempt for attempt in (1, 2, 3)), reconnect.CAP_S),
    ),
]
#: Numbers that the page has in words.
IN_WORDS: list[tuple[str, float, float]] = [
    ("the third one ends the connection with 4500", node("MOST_FAULTS"), 3),
    ("Three within 10 seconds end the connection with 4429", node("STRIKES"), 3),
    ("the token ends within a minute", node("EXPIRING_S"), 60),
    ("and two snapshots at a time", node("READS_AT_ONCE"), 2),
    ("begin again after a minute of being connected", reconnect.STABLE_S, 60),
]


@pytest.mark.parametrize(("said", "numbers"), NUMBERS)
def test_a_number_of_the_page_is_that_of_the_code(said: str, numbers: tuple[float, ...]) -> None:
    found = re.search(said, PAGE.flowing)
    assert found is not None
    assert tuple(float(number.replace(" ", "")) for number in found.groups()) == tuple(map(float, numbers))


@pytest.mark.parametrize(("said", "number", "meant"), IN_WORDS)
def test_a_number_in_words_is_that_of_the_code(said: str, number: float, meant: float) -> None:
    assert said in PAGE.flowing
    assert number == meant


def test_the_rules_of_devices_are_those_of_the_browsers_client() -> None:
    module = (ROOT / "gateway" / "static" / "inbox" / "notify-inbox.js").read_text()
    head = re.sub(r"^ \* ?", "", module.split("*/")[0], flags=re.MULTILINE)
    of_module = dict(re.findall(r"^ +(\d)\. (.*?)(?=^ +\d\. |\Z)", head, re.MULTILINE | re.DOTALL))
    of_page = dict(
        re.findall(r"^(\d)\. (.*?)(?=^\d\. |\n\n)", PAGE.section("What a device does"), re.MULTILINE | re.DOTALL)
    )
    assert list(of_page) == [str(number) for number in range(1, 8)]
    assert {n: " ".join(text.split()) for n, text in of_page.items()} == {
        n: " ".join(text.split()) for n, text in of_module.items()
    }


def test_every_setting_of_the_sockets_is_described_with_its_default() -> None:
    described = {words(name).pop(): default for name, default, _ in rows(PAGE.section("Settings"))}
    values = variables_of(SocketSettings())
    assert described.keys() == values.keys()
    shown = {name: f"{value:g}" if isinstance(value, int | float) else value for name, value in values.items()}
    # These two follow from other settings.
    defaults = settings_from({})
    production = {"NOTIFY_ENV": "production"}
    shown["SOCKET_HOST"] = f"{defaults.socket_host}; {settings_from(production).socket_host} in production"
    key = {"SOCKET_TOKEN_KEYS": f"k1:{'0' * 32}"}
    kinds = (defaults.socket_auth, settings_from(key).socket_auth, settings_from(production).socket_auth)
    assert kinds == ("open", "required", "required")
    shown["SOCKET_AUTH"] = "open in development without keys, else required"
    assert described == {name: default or "none" for name, default in shown.items()}


@pytest.mark.parametrize(
    ("path", "dialect", "named"),
    [
        ("/ws", "native", None),
        ("/ws/{user_id}", "bare", "{user_id}"),
        ("/ws/notifications/", "typed", None),
    ],
)
def test_each_path_leads_to_its_dialect(path: str, dialect: str, named: str | None) -> None:
    (described,) = (cells for cells in rows(PAGE.section("Connecting")) if cells[0] == f"`ws://host:5055{path}`")
    assert ("two-simpler-dialects" in described[1]) == (dialect != "native")
    place = place_of(path, None)
    assert place is not None
    assert (place.dialect.name, place.named) == (dialect, named)


def test_the_simpler_dialects_are_described_with_their_fields() -> None:
    described = dict(rows(PAGE.section("Two simpler dialects")))
    pull = Pull(Owner("u1"), Position("e", 1), unread=1, recovered=False, rows=(row(),))
    (bare,) = _messages("/ws/u1", pull)
    assert words(described["`/ws/{user_id}`"]) == bare.keys()
    (missed,) = _messages("/ws/notifications/", pull)
    text = described["`/ws/notifications/`"]
    assert all(f'"{name}"' in text for name in missed)
    assert words(text) == missed["notifications"][0].keys() - item(row()).keys()


def _messages(path: str, pull: Pull) -> list[dict[str, Any]]:
    place = place_of(path, None)
    assert place is not None
    # A short message of a server has a head of two or four bytes, and its JSON object begins behind it.
    return [orjson.loads(data[data.index(b"{") :]) for data in place.dialect.pulled(pull)]
