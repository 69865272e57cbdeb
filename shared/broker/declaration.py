"""Declares the topology over one connection; no other module declares anything.

Three things can keep a part out, and each has its own answer. If a queue or exchange exists with other arguments, the
process must end: TopologyMismatch names all of them. If an exchange of an earlier version lacks an argument, it is used
as it is. What the broker refuses for any other reason keeps out only itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import structlog

from shared.broker import topology
from shared.broker.channel import AmqpChannel, ChannelGone
from shared.broker.connection import Connection
from shared.errors import Locked, TopologyMismatch
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

_RESOURCE_LOCKED, _PRECONDITION_FAILED = 405, 406
#: how RabbitMQ's text names an argument that differs (``rabbit_misc:assert_args_equivalence``); 406 has other reasons
#: too, for example a limit of queues, which say nothing about the existing queues
_OTHER_ARGUMENTS = "inequivalent arg"


class Declaration:
    """Declares the topology of ``channels``, as often as it is called.

    All parts are declared at once. If the broker refuses one, it closes the AMQP channel without telling which parts
    are done. Then each part is declared on a channel of its own, and from then on those that were refused (no
    permission, another connection has the queue for itself, a limit of queues) or lack an argument. That is logged when
    it begins, changes or ends; a refusal is counted each time.
    """

    def __init__(
        self, connection: Connection, levels_s: Iterable[float], channels: Iterable[str], metrics: Metrics
    ) -> None:
        self._connection = connection
        self._parts = tuple(topology.parts(tuple(levels_s), channels))
        #: the parts that are declared apart -> the logged text of the broker, or '' while nothing is logged
        self._apart: dict[str, str] = {}
        self._count = metrics.declaration_failed

    async def declare(self) -> None:
        """Declares everything that the broker does not refuse.

        Raises TopologyMismatch if queues or exchanges exist with other arguments (its text names all of them, each with
        its argument and the command to move over), ChannelGone if the connection is lost, and TimeoutError.
        """
        together = [part for part in self._parts if part.name not in self._apart]
        apart = [part for part in self._parts if part.name in self._apart]
        try:
            await self._write(together)
        except ChannelGone as exc:
            if not exc.code:
                raise
            if (lacking := next((part for part in together if _lacks(part, exc)), None)) is not None:
                # It exists, so the others can be declared at once.
                self._apart[lacking.name] = ""
                await self.declare()
                return
            apart = list(self._parts)
        mismatches = [found for part in apart if (found := await self._declare_apart(part))]
        if mismatches:
            raise TopologyMismatch("\n".join(mismatches))

    async def _declare_apart(self, part: topology.Part) -> str:
        """Declares one part. Returns '', or what an operator has to know if it exists with other arguments."""
        used = part
        refused = lacking = await self._refusal(part)
        if refused is not None and isinstance(part, topology.Exchange) and _lacks(part, refused):
            used = part.of_earlier_version()
            refused = await self._refusal(used)
        if refused is not None and _has_other_arguments(refused):
            return f"{refused}\n    {part.move_over(_vhost(refused))}"
        if refused is None and lacking is not None:
            self._report_lacking(part.name, lacking)
        else:
            self._report(part.name, str(refused or ""))
        return ""

    async def _refusal(self, part: topology.Part) -> ChannelGone | None:
        """Declares one part, and returns the broker's error if it refuses. Raises as ``declare``."""
        try:
            await self._write([part])
        except ChannelGone as exc:
            if not exc.code:
                raise
            return exc
        return None

    async def _write(self, parts: Iterable[topology.Part]) -> None:
        # If the connection was closed with the channel, this raises a ChannelGone without a code.
        channel = await self._connection.channel()
        try:
            for part in parts:
                part.write(channel.raw)
            # The broker handles a channel's methods in order: this answer means that all methods before it are done.
            # It changes nothing, and needs no permission.
            await channel.call(channel.raw.basic_qos, prefetch_count=0)
        finally:
            await channel.close()

    def _report_lacking(self, name: str, lacking: ChannelGone) -> None:
        if self._apart.get(name) != str(lacking):
            command = topology.policy_command(_vhost(lacking))
            log.warning("unroutable_messages_are_lost", exchange=name, unless_you_have_run=command)
        self._apart[name] = str(lacking)

    def _report(self, name: str, text: str) -> None:
        before = self._apart.pop(name, "")
        if text:
            self._apart[name] = text
            self._count.labels(name).inc()
            if text != before:
                log.error("declaration_failed", part=name, error=text)
        elif before:
            log.info("declaration_succeeded", part=name)


def _has_other_arguments(refused: ChannelGone) -> bool:
    return refused.code == _PRECONDITION_FAILED and _OTHER_ARGUMENTS in str(refused)


def _lacks(part: topology.Part, refused: ChannelGone) -> bool:
    """Tells whether the broker refused ``part`` because it exists without (or with another) argument it may lack."""
    if not (isinstance(part, topology.Exchange) and part.may_lack and _has_other_arguments(refused)):
        return False
    return f"'{part.may_lack}'" in str(refused) and f"'{part.name}'" in str(refused)


def _vhost(refused: ChannelGone) -> str:
    return found[1] if (found := re.search(r"in vhost '([^']*)'", str(refused))) else "/"


async def declare_lock(channel: AmqpChannel) -> None:
    """Declares the operators' lock, an exclusive queue that lasts as long as the channel's connection.

    Raises Locked if another connection holds it (the broker then closes the channel), ChannelGone, TimeoutError.
    """
    try:
        await channel.call(
            channel.raw.queue_declare,
            queue=topology.LOCK_QUEUE,
            exclusive=True,
            arguments={"x-queue-type": "classic"},
        )
    except ChannelGone as exc:
        if exc.code == _RESOURCE_LOCKED:
            raise Locked("another operation on failed.queue is in progress; try again when it has ended") from exc
        raise
