"""Writes what a subscriber of a channel reads, in the native dialect and in the plain one of ``/``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from services.websocket.transport import native
from shared.realtime.channels.reader import ChannelPull
from shared.realtime.wakeup import Wakeup
from shared.store.values import Owner


class NativeChannels:
    """Writes ``subscribed`` with what was missed, then ``channel_message`` for each message."""

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        return b"".join([native.text(frame) for frame in wakeup.frames])

    def pulled(self, pull: ChannelPull) -> Iterator[bytes]:
        """Yields ``subscribed`` frames; only the last one has the position, and only the first may not be recovered."""
        recovered, items, size = pull.recovered, list[bytes](), 0
        for frame in pull.rows:
            if items and (len(items) >= native.PAGE_ROWS or size + len(frame) > native.PAGE_BYTES):
                yield self._subscribed(pull, items, recovered, last=False)
                recovered, items, size = True, [], 0
            items.append(frame)
            size += len(frame)
        yield self._subscribed(pull, items, recovered, last=True)

    @staticmethod
    def _subscribed(pull: ChannelPull, items: list[bytes], recovered: bool, *, last: bool) -> bytes:
        frame: dict[str, Any] = {
            "type": "subscribed",
            "channel": pull.channel,
            "recovered": recovered,
            "items": [orjson.Fragment(item) for item in items],
        }
        if last:
            frame |= {"epoch": pull.position.epoch, "offset": pull.position.offset}
        return native.text(orjson.dumps(frame))


class PlainChannels:
    """Writes each message as a bare object, and nothing else: what was sent before is in the history."""

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        return b"".join([self._one(frame) for frame in wakeup.frames])

    def pulled(self, pull: ChannelPull) -> Iterator[bytes]:
        return map(self._one, pull.rows if pull.recovered else ())

    @staticmethod
    def _one(frame: bytes) -> bytes:
        sent = orjson.loads(frame)
        shown = {
            "channel": sent["channel"],
            "message": sent["message"],
            "priority": sent["priority"],
            "timestamp": sent["created_at"],
            "id": sent["id"],
        }
        return native.text(orjson.dumps(shown))


NATIVE_CHANNELS, PLAIN_CHANNELS = NativeChannels(), PlainChannels()
