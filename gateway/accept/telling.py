"""Tells the timeline what was accepted.

It is told after the confirm of the notification, never before: the timeline must not know what was never accepted. The
answer to the caller waits for it, but not for long (``Reporter``).
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.accept.candidate import Candidate
from shared.events.event import happening
from shared.events.reporter import Batch, Reporter


class Telling:
    """Tells of accepted notifications. ``keep_bodies``: the timeline keeps each until the notification has an end,
    because it may have to be published again.
    """

    def __init__(self, reporter: Reporter, *, keep_bodies: bool) -> None:
        self._reporter, self._keep_bodies = reporter, keep_bodies

    def tell(self, accepted: Iterable[tuple[str, Candidate]], at_ms: int) -> list[Batch]:
        """Tells of pairs (client, notification) that were accepted at a time. Returns what to wait for."""
        batches: dict[Batch, None] = {}
        for client, candidate in accepted:
            user_id, type_ = candidate.envelope.user_id or "", candidate.envelope.type
            for lane, body in candidate.parts:
                told = (happening("accepted", at_ms, body=body.decode() if self._keep_bodies else None),)
                named = (client, candidate.request_id, lane.channel, user_id, lane.priority, type_)
                batches[self._reporter.report((*named, at_ms, 0, 0, 0, "", told))] = None
        return list(batches)

    async def told(self, batches: Iterable[Batch]) -> None:
        """Waits until RabbitMQ has confirmed what was told, for about a second at most; raises nothing."""
        for batch in batches:
            await self._reporter.confirmed(batch)
