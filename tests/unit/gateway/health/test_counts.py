"""Tests that the counts of several processes add up, and outlive the process that wrote them."""

import multiprocessing
import os
from pathlib import Path

import pytest

from gateway.health.counts import AcceptedCounts
from shared.message.channels import Lane

PUSH, SMS = Lane("push", "high"), Lane("sms", "low")


def _count(lanes: list[Lane]) -> None:
    AcceptedCounts().add(lanes)
    # End as if killed, without any cleanup.
    os._exit(0)


def test_processes_add_up_and_the_dead_still_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    for lanes in ([PUSH] * 5, [PUSH] * 5, [PUSH, SMS]):
        # The process is spawned, because prometheus_client reads the variable when it is imported.
        process = multiprocessing.get_context("spawn").Process(target=_count, args=(lanes,))
        process.start()
        process.join()
        assert process.exitcode == 0
    text = AcceptedCounts().render().decode()
    assert 'notify_accepted_total{channel="push",lane="high"} 11.0' in text
    assert 'notify_accepted_total{channel="sms",lane="low"} 1.0' in text
    assert 'notify_accepted_total{channel="email",lane="medium"} 0.0' in text
    assert "# HELP notify_accepted_total Envelopes confirmed by the broker" in text
