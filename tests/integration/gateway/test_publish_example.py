"""Runs the README's example unchanged: another service publishes directly to RabbitMQ."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.support.run.moved_clock import clock_variables
from tests.support.waiting import eventually_async
from tests.support.workbench import ScriptedProvider, quick_settings, running

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "publish.py"


async def run_example(rabbitmq_url: str) -> tuple[int, str]:
    """Runs the example. Returns its exit code and its error output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        env={"PATH": os.environ["PATH"], **clock_variables(), "RABBITMQ_URL": rabbitmq_url},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, errors.decode()


async def test_what_the_example_publishes_is_delivered_once(vhost_url: str, redis_url: str) -> None:
    provider = ScriptedProvider()
    async with running(quick_settings(vhost_url, redis_url), [provider]) as bench:
        assert await run_example(vhost_url) == (0, "")
        await eventually_async(lambda: provider.targets == ["token-of-a-device"])
        assert await run_example(vhost_url) == (0, "")
        await eventually_async(lambda: bench.count("notify_duplicates_total", channel="push") == 1)
        assert provider.accepted == ["order-42-shipped"]


async def test_the_example_fails_with_an_error_if_no_queue_would_get_the_message(vhost_url: str) -> None:
    code, errors = await run_example(vhost_url)
    assert code != 0
    assert "NOT_FOUND" in errors


def test_the_readme_shows_the_example_as_it_is() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert EXAMPLE.read_text().split("import json", 1)[1] in {block.split("import json", 1)[-1] for block in blocks}
