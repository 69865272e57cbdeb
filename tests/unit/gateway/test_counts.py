"""Counts over several processes add up, and outlive the process that wrote them."""

import multiprocessing
from pathlib import Path

from gateway.health.counts import AcceptedCounts
from shared.message.channels import Lane

PUSH, SMS = Lane("push", "high"), Lane("sms", "low")


def _count(directory: Path) -> None:
    AcceptedCounts(directory).add([PUSH] * 5)


def test_processes_add_up_and_the_dead_still_count(tmp_path: Path) -> None:
    counts = AcceptedCounts(tmp_path)
    counts.add([PUSH, SMS])
    for _ in range(2):
        other = multiprocessing.get_context("spawn").Process(target=_count, args=(tmp_path,))
        other.start()
        other.join()
    text = counts.render().decode()
    assert 'notify_accepted_total{channel="push",lane="high"} 11.0' in text
    assert 'notify_accepted_total{channel="sms",lane="low"} 1.0' in text
    assert 'notify_accepted_total{channel="email",lane="medium"} 0.0' in text
