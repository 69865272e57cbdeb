"""Reads channels for the nodes, from an asyncio loop; all reads of one turn of the loop travel in one call of Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.realtime.channels.names import key_of
from shared.realtime.channels.sender import EPOCH_BYTES
from shared.redis.batch import Batcher
from shared.store.values import Position

_SCRIPT = (Path(__file__).parent / "read.lua").read_text()


@dataclass(frozen=True, slots=True)
class ChannelPull:
    """Holds what a subscriber needs to be at ``position``.

    ``recovered``: ``rows`` are the frames of all messages since its position, in their order. Otherwise that position
    cannot be continued, and they are everything that the channel keeps.
    """

    channel: str
    position: Position
    recovered: bool
    rows: tuple[bytes, ...] = ()
    #: Reading gives such a channel a fresh epoch at once.
    went_back: bool = False


class ChannelReader:
    """Reads channels; ``keep_s`` is CHANNEL_KEEP_S. Every method raises RedisUnavailable."""

    def __init__(self, redis: Batcher, keep_s: float) -> None:
        self._redis = redis
        self._read = redis.script(_SCRIPT, b"%d" % round(keep_s * 1000))

    async def pull(self, wanted: Sequence[tuple[str, Position | None]]) -> list[ChannelPull]:
        """Returns what each subscriber lacks, in the order of ``wanted``. Without a position one begins at the end."""
        return await asyncio.gather(*(self._pull(channel, position) for channel, position in wanted))

    async def positions(self, channels: Sequence[str]) -> dict[str, Position]:
        """Returns where the channels end; a channel that keeps nothing is absent."""
        answers = await asyncio.gather(
            *(self._redis.command(b"HMGET", key_of(channel), b"epoch", b"seq") for channel in channels)
        )
        return {
            channel: Position(epoch.decode(), int(seq))
            for channel, (epoch, seq) in zip(channels, answers, strict=True)
            if epoch is not None and seq is not None
        }

    async def _pull(self, channel: str, position: Position | None) -> ChannelPull:
        if position is None:
            ends = await self.positions([channel])
            return ChannelPull(channel, ends.get(channel, Position("", 0)), recovered=True)
        fresh = secrets.token_hex(EPOCH_BYTES).encode()
        epoch, offset, continues, *frames = await self._read.call(
            key_of(channel).encode(), position.epoch.encode(), b"%d" % position.offset, fresh
        )
        return ChannelPull(channel, Position(epoch.decode(), offset), bool(continues), tuple(frames))
