"""Sends messages to channels and reads their history, from any thread, with a client of redis-py."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import orjson
import redis

from shared import clock
from shared.message.channels import PRIORITIES, Priority
from shared.message.identity import scoped_id
from shared.realtime.channels.message import Sent, frame_around
from shared.realtime.channels.names import key_of
from shared.redis.client import store_errors

_SCRIPT = (Path(__file__).parent / "send.lua").read_text()
#: How long an unused channel keeps its sequence, ms: longer than any of its messages.
_META_MS = 7 * 86_400_000
EPOCH_BYTES = 4


class Channels:
    """Sends and reads. Every method raises RedisUnavailable; a message may have been sent all the same then.

    ``keep`` is CHANNEL_KEEP, messages of each priority; ``keep_s`` is CHANNEL_KEEP_S.
    """

    def __init__(self, client: redis.Redis, *, keep: int, keep_s: float) -> None:
        self._client = client
        self._send = client.register_script(_SCRIPT)
        self._keep, self._keep_ms = keep, round(keep_s * 1000)

    def send(
        self, channel: str, message: str, priority: Priority, *, client: str = "", request_id: str | None = None
    ) -> Sent:
        """Sends one message. With a ``request_id`` of this client it is sent once, however often it is called."""
        record = "" if request_id is None else f"notify-channel-sent:{channel}:{scoped_id(client, request_id)}"
        head, tail = frame_around(channel, priority, message, clock.now_ms())
        with store_errors():
            epoch, offset, at_ms, repeated = self._send(
                keys=[key_of(channel), record],
                args=[
                    secrets.token_hex(EPOCH_BYTES),
                    priority,
                    self._keep,
                    self._keep_ms,
                    max(_META_MS, self._keep_ms),
                    "" if request_id is None else "1",
                    head,
                    tail,
                ],
            )
        return Sent(channel, epoch.decode(), offset, at_ms, bool(repeated))

    def history(self, channel: str, priority: Priority | None = None) -> list[dict[str, Any]]:
        """Returns what is kept of one priority, or of all, newest first, as ``channel_message`` frames."""
        wanted = PRIORITIES if priority is None else (priority,)
        found: list[tuple[int, bytes]] = []
        with store_errors():
            seconds, microseconds = self._client.time()
            oldest_ms = seconds * 1000 + microseconds // 1000 - self._keep_ms
            for one in wanted:
                entries: Any = self._client.xrevrange(f"{key_of(channel)}:{one}", count=self._keep)
                for id_, fields in entries:
                    if int(fields[b"t"]) >= oldest_ms:
                        found.append((int(id_.partition(b"-")[0]), fields[b"f"]))
        found.sort(reverse=True)
        return [orjson.loads(frame) for _, frame in found]

    def counts(self, channel: str) -> dict[str, int]:
        """Returns how many messages of each priority are kept, and ``sent``: how many the channel has had in all."""
        history = self.history(channel)
        with store_errors():
            sent: Any = self._client.hget(key_of(channel), "seq")
        kept: dict[str, int] = {
            priority: sum(one["priority"] == priority for one in history) for priority in PRIORITIES
        }
        return {**kept, "sent": int(sent or 0)}
