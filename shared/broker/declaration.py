"""Declares a topology over one connection; what the broker refuses to declare keeps out only itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog

from shared.broker import topology
from shared.broker.channel import ChannelGone
from shared.broker.connection import Connection
from shared.metrics import Metrics

log = structlog.get_logger(__name__)


class Declaration:
    """Declares the topology of ``channels``, as often as it is called.

    All parts are declared at once. If the broker refuses one (no permission, another connection has the queue for
    itself, a limit of queues), it closes the AMQP channel without telling which parts are done. Then each part is
    declared on a channel of its own. A refused part is logged when that begins, changes or ends, and counted each time.
    """

    def __init__(
        self, connection: Connection, levels_s: Sequence[float], channels: Iterable[str], metrics: Metrics
    ) -> None:
        self._connection = connection
        self._parts = topology.parts(levels_s, channels)
        self._refused: dict[str, str] = {}
        self._count = metrics.declaration_failed

    async def declare(self) -> None:
        """Declares everything that the broker does not refuse.

        Raises TopologyMismatch if a queue or exchange exists with other arguments, ChannelGone if the connection is
        lost, and TimeoutError.
        """
        accepted = [part for part in self._parts if part.name not in self._refused]
        apart: Sequence[topology.Part] = [part for part in self._parts if part.name in self._refused]
        try:
            await self._declare(accepted)
        except ChannelGone as exc:
            if not exc.code:
                raise
            apart = self._parts
        self._report([(part.name, await self._refusal(part)) for part in apart])

    async def _refusal(self, part: topology.Part) -> str:
        """Declares one part, and returns the broker's text if it refuses it, else ''. Raises as ``declare``."""
        try:
            await self._declare([part])
        except ChannelGone as exc:
            if not exc.code:
                raise
            return str(exc)
        return ""

    async def _declare(self, parts: Sequence[topology.Part]) -> None:
        # If the connection was closed with the channel, this raises a ChannelGone without a code.
        channel = await self._connection.channel()
        try:
            await topology.declare_parts(channel, parts)
        finally:
            await channel.close()

    def _report(self, refusals: Iterable[tuple[str, str]]) -> None:
        for name, text in refusals:
            before = self._refused.pop(name, "")
            if text:
                self._refused[name] = text
                self._count.labels(name).inc()
                if text != before:
                    log.error("declaration_failed", part=name, error=text)
            elif before:
                log.info("declaration_succeeded", part=name)
