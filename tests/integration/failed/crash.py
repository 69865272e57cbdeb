"""Runs an operator that SIGKILLs itself at a point: ``python -m tests.integration.failed.crash POINT URL``.

At ``taken`` everything has been taken. At ``published`` a batch is confirmed, and nothing is acked yet.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from shared.broker.browse import Scan
from shared.failed.queue import FailedQueue
from shared.failed.selection import parse_replay
from tests.support.failed_messages import settings_for


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(point: str, url: str) -> None:
    method = {"taken": "give_back", "published": "ack"}[point]
    setattr(Scan, method, die)
    dry_run = point == "taken"
    await FailedQueue(settings_for(url)).replay(parse_replay({"all": True, "dry_run": dry_run}), operator="test")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
