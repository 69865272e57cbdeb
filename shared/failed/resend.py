"""Publishing failed messages again: confirmed first, out of failed.queue second."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.broker.browse import Taken
from shared.broker.publisher import Publication, Publisher
from shared.errors import PublishFailed
from shared.failed.entry import FailedEntry
from shared.failed.results import Done, Skipped
from shared.settings.settings import Settings

#: messages published together; after a crash at most so many are in their lane and in failed.queue too
BATCH = 200


@dataclass(frozen=True, slots=True)
class Chosen:
    """A message that the operator means."""

    message: Taken
    entry: FailedEntry


async def resend(settings: Settings, ready: Sequence[tuple[Chosen, Publication]], within_s: float, done: Done) -> None:
    """Publish each and ack what is confirmed. After the first failure, or ``within_s``, no further batch is tried."""
    until = time.monotonic() + within_s
    failed = False
    async with _publisher(settings) as publisher:
        for at in range(0, len(ready), BATCH):
            batch = ready[at : at + BATCH]
            if failed or time.monotonic() > until:
                done.skipped += [_unconfirmed(each, "not tried: the broker takes no more") for each, _ in batch]
                continue
            outcomes = await publisher.publish_all([publication for _, publication in batch])
            for (each, _), outcome in zip(batch, outcomes, strict=True):
                failed |= not _settle(each, outcome, done)


def _settle(each: Chosen, outcome: PublishFailed | None, done: Done) -> bool:
    # Only a confirm makes it safe to let go of it: an ack before would lose it with the next crash.
    if outcome is None:
        each.message.ack()
        done.done += 1
    else:
        done.skipped.append(_unconfirmed(each, str(outcome)))
    return outcome is None


@asynccontextmanager
async def _publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """On a connection of its own: an alarm stops those that publish, and what was taken must come back all the same."""
    publisher = Publisher(
        settings.rabbitmq,
        "failed.queue replay",
        levels_s=settings.retry_levels_s,
        deadline_s=settings.publish_deadline_s,
        max_pending=BATCH,
    )
    publisher.start()
    try:
        yield publisher
    finally:
        await publisher.close()


def _unconfirmed(each: Chosen, detail: str) -> Skipped:
    return Skipped(each.entry.id, "unconfirmed", detail)
