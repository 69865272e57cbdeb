"""Tests ``./notify failed`` with a real broker: the output for an operator, and the exit code."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.broker.publisher import Publication
from shared.broker.topology import FAILED_QUEUE
from shared.failed.session import failed_operation
from tests.support.failed_messages import counts, dead_letter_now, failed, failed_before, push_body
from tests.support.run.forked import run_command

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def notify(vhost_url: str, tmp_path: Path) -> Command:
    def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"RABBITMQ_URL": vhost_url, "NOTIFY_LOCAL_DIR": str(tmp_path), "COLUMNS": "160"}
        return run_command(["failed", *arguments], environment | settings, timeout_s=60)

    return run


@pytest.fixture
def dead_lettered(vhost_url: str) -> list[Publication]:
    messages = [
        failed_before(7200, "r1", body=push_body("r1", recipient={"push_tokens": ["device-token-1234"]})),
        failed("r2", reason="recipient_invalid", notify_failed_error="[bold]no such\x1b[2J device[/bold]"),
        failed("r3", body=push_body("r3", expires_at="2020-01-01T00:00:00Z")),
    ]
    dead_letter_now(vhost_url, messages)
    return messages


def test_a_listing_shows_each_id_whole(notify: Command, dead_lettered: list[Publication]) -> None:
    shown = notify("list")
    assert shown.returncode == 0, shown.stderr
    for message in dead_lettered:
        assert message.headers["notify-failed-id"] in shown.stdout
    assert r"[bold]no such\x1b[2J device[/bold]" in shown.stdout
    assert "3 of 3 looked at" in shown.stdout
    narrow = notify("list", "--reason", "recipient_invalid", COLUMNS="60").stdout
    assert dead_lettered[1].headers["notify-failed-id"] in narrow
    assert dead_lettered[0].headers["notify-failed-id"] not in narrow


def test_json_is_what_the_gateway_answers(notify: Command, dead_lettered: list[Publication]) -> None:
    listed = json.loads(notify("list", "--older-than", "1h", "--json").stdout)
    assert [item["request_id"] for item in listed["items"]] == ["r1"]
    assert (listed["scanned"], listed["truncated"]) == (3, False)


def test_one_message_is_shown_masked_unless_revealed(notify: Command, dead_lettered: list[Publication]) -> None:
    failed_id = dead_lettered[0].headers["notify-failed-id"]
    masked, revealed = notify("show", failed_id).stdout, notify("show", failed_id, "--reveal").stdout
    assert "***34" in masked
    assert "device-token-1234" not in masked
    assert "device-token-1234" in revealed
    missing = notify("show", "unknown")
    assert (missing.returncode, "unknown" in missing.stderr) == (1, True)


def test_a_replay_says_what_it_left_and_is_on_record(
    notify: Command, dead_lettered: list[Publication], vhost_url: str, tmp_path: Path
) -> None:
    dry = notify("replay", "--all", "--dry-run")
    assert (dry.returncode, "2 of 3 would be replayed" in dry.stdout) == (0, True)
    done = notify("replay", "--all")
    assert (done.returncode, "2 of 3 replayed" in done.stdout) == (0, True)
    assert dead_lettered[2].headers["notify-failed-id"] in done.stdout
    assert counts(vhost_url, FAILED_QUEUE) == [1]
    late = json.loads(
        notify("replay", dead_lettered[2].headers["notify-failed-id"], "--ignore-expiry", "--json").stdout
    )
    assert (late["matched"], late["done"]) == (1, 1)
    lines = [json.loads(line) for line in (tmp_path / "log/operator.log").read_text().splitlines()]
    actions = [(line["dry_run"], line["done"]) for line in lines if line["event"] == "failed_replayed"]
    assert actions == [(True, 0), (False, 2), (False, 1)]


def test_a_body_that_is_no_envelope_is_shown_as_it_was_published(notify: Command, vhost_url: str) -> None:
    message = failed("r", body=b"<sms to='+447700900123'>\x1b]0;owned\x07</sms>", sender="\x9b2J")
    dead_letter_now(vhost_url, [message])
    failed_id = message.headers["notify-failed-id"]
    masked, revealed = notify("show", failed_id), notify("show", failed_id, "--reveal")
    assert masked.returncode == revealed.returncode == 0, masked.stderr + revealed.stderr
    assert r"<sms to='+447700900123'>\x1b]0;owned\x07</sms>" in revealed.stdout
    assert "447700900123" not in masked.stdout
    assert r"header sender: \x9b2J" in masked.stdout
    assert not {"\x1b", "\x07", "\x9b"} & set(masked.stdout + revealed.stdout)


@pytest.mark.parametrize("action", ["replay", "discard"])
@pytest.mark.parametrize("selector", [["unknown"], ["--request-id", "unknown"]])
def test_a_message_that_is_not_there_is_1_and_named(
    notify: Command, dead_lettered: list[Publication], action: str, selector: list[str]
) -> None:
    for more in ([], ["--dry-run"], ["--json"]):
        missing = notify(action, *selector, *more)
        assert (missing.returncode, missing.stderr) == (1, "Not in failed.queue: unknown\n")
    known = dead_lettered[0].headers["notify-failed-id"]
    if selector == ["unknown"]:
        partly = notify(action, known, "unknown")
        assert (partly.returncode, "1 of 1" in partly.stdout, "unknown" in partly.stderr) == (1, True, True)


def test_a_discard_deletes_what_was_named(notify: Command, dead_lettered: list[Publication], vhost_url: str) -> None:
    done = notify("discard", *(message.headers["notify-failed-id"] for message in dead_lettered[:2]))
    assert (done.returncode, "2 of 2 discarded" in done.stdout) == (0, True)
    assert counts(vhost_url, FAILED_QUEUE) == [1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay"], "--all"),
        (["discard", "--dry-run"], "--all"),
        (["discard", "--limit", "3"], "--all"),
        (["list", "--older-than", "soon"], "--older-than"),
        (["list", "--reason", "bored"], "--reason"),
        (["list", "--limit", "0"], "--limit"),
        (["replay", "--all", "--channel", "fax"], "--channel"),
        (["list", "--limit", "many"], "--limit"),
        (["show"], "ID"),
        (["discard", "--all", "--ignore-expiry"], "--ignore-expiry"),
    ],
)
def test_bad_usage_is_2_and_names_the_option(notify: Command, arguments: list[str], said: str) -> None:
    refused = notify(*arguments)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_another_operation_in_progress_is_5(notify: Command, dead_lettered: list[Publication], vhost_url: str) -> None:
    async def hold_and_ask() -> list[int]:
        async with failed_operation(vhost_url):
            return [
                (await asyncio.to_thread(notify, *arguments)).returncode
                for arguments in (["list"], ["show", "x"], ["replay", "--all"], ["discard", "--all"])
            ]

    assert asyncio.run(hold_and_ask()) == [5, 5, 5, 5]
    assert counts(vhost_url, FAILED_QUEUE) == [3]


def test_an_unavailable_broker_is_1_and_named(notify: Command) -> None:
    away = notify("list", RABBITMQ_URL="amqp://guest:guest@127.0.0.1:9/")
    assert away.returncode == 1
    assert "127.0.0.1:9" in away.stderr
    assert "guest" not in away.stderr
