"""Runs nodes as an operator does, ``python -m services.websocket``, and devices that follow an inbox through losses."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import websockets
from websockets.exceptions import WebSocketException

from shared.store.values import Position
from tests.support.realtime.stage import KEY, token
from tests.support.run.servers import run_ports
from tests.support.waiting import eventually_async

ROOT = Path(__file__).parents[3]


class NodeProcess:
    """Controls one node; ``settings`` are environment variables, and its output goes to a file in ``directory``."""

    def __init__(self, directory: Path, name: str, **settings: str) -> None:
        self.port = run_ports(1)[0]
        self.log = directory / f"{name}.log"
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "WEBSOCKET_ROLE": "sockets",
            "SOCKET_PORT": str(self.port),
            "SOCKET_TOKEN_KEYS": KEY,
            **settings,
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.websocket"],
                cwd=directory,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def wait_ready(self) -> None:
        await eventually_async(self._ready, 20)

    def kill(self) -> None:
        """Ends it without a word."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """Sends SIGTERM, and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    async def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        try:
            url = f"http://127.0.0.1:{self.port}/health/ready"
            async with aiohttp.ClientSession() as client, client.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


class Follower:
    """Is a device that keeps the rules: it resumes from its position, over whichever node answers."""

    def __init__(self, user: str, ports: Sequence[int]) -> None:
        self.user = user
        self.position: Position | None = None
        self.rows: dict[int, dict[str, Any]] = {}
        self.connected = False
        #: how often it connected, and how often it was told to start anew after its first load
        self.connections = self.resets = 0
        self.doubles: list[int] = []
        self.gaps: list[dict[str, Any]] = []
        self._nodes = itertools.cycle(random.sample(list(ports), len(ports)))

    @property
    def shown(self) -> dict[int, bool]:
        """Maps each notification that it shows to whether it is read."""
        return {id_: row["read_at"] is not None for id_, row in self.rows.items() if not row.get("deleted")}

    async def run(self) -> None:
        """Follows until it is cancelled."""
        while True:
            try:
                await self._follow(next(self._nodes))
            except (OSError, WebSocketException, TimeoutError):
                self.connected = False
            await asyncio.sleep(random.uniform(0.01, 0.1))

    async def _follow(self, port: int) -> None:
        url = f"ws://127.0.0.1:{port}/ws"
        async with websockets.connect(url, compression=None, proxy=None, open_timeout=3) as connection:
            auth: dict[str, Any] = {"type": "auth", "token": token(self.user)}
            if self.position is not None:
                auth["resume"] = self.position._asdict()
            await connection.send(orjson.dumps(auth).decode())
            self.connections += 1
            async for text in connection:
                self._apply(orjson.loads(text))

    def _apply(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "missed_notifications":
                self._apply_pull(frame)
            case "notification" | "updated":
                if self.position is None or frame["prev"] != self.position.offset:
                    self.gaps.append(frame)
                    return
                self._apply_live(frame)
                self.position = Position(self.position.epoch, frame["offset"])

    def _apply_pull(self, frame: dict[str, Any]) -> None:
        if not frame["recovered"]:
            self.resets += self.position is not None
            self.rows, self.position = {}, None
        for item in frame["items"]:
            known = self.rows.get(item["id"])
            if known is None or known["offset"] < item["offset"]:
                self.rows[item["id"]] = item
        if "offset" in frame:
            self.position, self.connected = Position(frame["epoch"], frame["offset"]), True

    def _apply_live(self, frame: dict[str, Any]) -> None:
        new = frame.get("notification")
        if new is not None:
            if new["id"] in self.rows:
                self.doubles.append(new["id"])
            self.rows[new["id"]] = new
        for item in frame.get("items", ()):
            if item["id"] in self.rows:
                self.rows[item["id"]] = {**self.rows[item["id"]], **item, "offset": frame["offset"]}
        for row in self.rows.values():
            if "upto" in frame and row["id"] <= frame["upto"] and not row.get("deleted") and row["read_at"] is None:
                row.update(read_at=frame["read_at"], offset=frame["offset"])
