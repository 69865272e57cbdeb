"""Tests that the half of the process that serves devices does not stop for long collections of cycles."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from services.websocket import __main__ as process
from services.websocket.node import Node


async def test_the_collector_is_calmed_once_everything_is_open_and_before_devices_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []

    class FakeNode:
        async def start(self) -> None:
            steps.append("start")

        async def run(self, _stop: asyncio.Event) -> None:
            steps.append("run")

    monkeypatch.setattr(process, "calm_collector", lambda: steps.append("calm"))
    await process.serve_devices(cast(Node, FakeNode()))
    assert steps == ["start", "calm", "run"]
