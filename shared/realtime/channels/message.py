"""Defines a message of a channel, and writes it as a frame of the native dialect."""

from __future__ import annotations

from typing import NamedTuple

import orjson

from shared.clock import rfc3339
from shared.message.channels import Priority


class Sent(NamedTuple):
    """Says where a message is in its channel. ``repeated``: it had been sent before, with the same request_id."""

    channel: str
    epoch: str
    offset: int
    at_ms: int
    repeated: bool

    @property
    def id(self) -> str:
        """Returns the id of the message, unique for all time."""
        return f"{self.epoch}-{self.offset}"


def frame_around(channel: str, priority: Priority, message: str, at_ms: int) -> tuple[bytes, bytes]:
    """Returns the frame of a new message in two parts; its offset, ``prev`` and id belong between them."""
    head = orjson.dumps({"type": "channel_message", "channel": channel})
    tail = orjson.dumps({"priority": priority, "message": message, "created_at": rfc3339(at_ms)})
    return head[:-1], b"," + tail[1:]
