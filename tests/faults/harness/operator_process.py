"""Runs an operator who replays everything in failed.queue and dies.

Usage: ``python -m tests.faults.harness.operator_process NTH``. The process gets SIGKILL just before its NTH message
would be acked: the message is published and confirmed, and still in failed.queue.
"""

from __future__ import annotations

import asyncio
import sys

from shared.broker.browse import Scan
from shared.failed.queue import FailedQueue
from shared.failed.selection import parse_replay
from shared.settings.load import load_settings
from tests.faults.harness.worker_process import Countdown, die_with_parent


def die_before_ack(nth: int) -> None:
    tick, original = Countdown(nth), Scan.ack

    def ack(scan: Scan, tag: int) -> None:
        tick()
        original(scan, tag)

    Scan.ack = ack  # type: ignore[method-assign, assignment]


async def replay_all() -> None:
    """Replays everything in failed.queue. Raises Locked while another operator is at work."""
    await FailedQueue(load_settings(env_file=None)).replay(parse_replay({"all": True}), operator="fault harness")


if __name__ == "__main__":
    die_with_parent()
    die_before_ack(int(sys.argv[1]))
    asyncio.run(replay_all())
