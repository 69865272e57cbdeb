"""Lists, shows, replays and discards the messages in failed.queue for an operator.

The queue is the only record of undelivered messages, and only an operator removes messages from it. Each operation
scans the queue (the first 10 000 messages, 256 MB at most; all of it to find certain messages) and requeues every
message that it does not remove; see ``failed_operation``. The gateway and ``./notify failed`` call it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from shared.broker.browse import Scan, Taken
from shared.broker.publisher import Publication
from shared.clock import now_ms
from shared.failed.entry import FailedEntry, read_entry
from shared.failed.replay import CannotReplay, Chosen, replay_of, resend
from shared.failed.results import (
    FailedList,
    FailedMessage,
    FailedOutcome,
    SkippedMessage,
    item_of,
    message_of,
    nothing_done,
)
from shared.failed.selection import Listing, ReplaySelection, Selection
from shared.failed.session import MOST_BYTES, failed_operation
from shared.failed.unreadable import read_envelope, unreadable_body
from shared.message.privacy import mask_addresses
from shared.settings.settings import Settings

log = structlog.get_logger(__name__)

#: Longest time for publishing, seconds. Together with the scan it stays well below the limit of a whole operation.
RESEND_WITHIN_S = 20.0


class FailedQueue:
    """Works on failed.queue. Every method raises Locked while another operation is in progress, and BrokerUnavailable.

    ``operator`` is the name of the caller, for the log.
    """

    def __init__(self, settings: Settings, clock_ms: Callable[[], int] = now_ms) -> None:
        self._settings = settings
        self._clock_ms = clock_ms

    async def list(self, listing: Listing) -> FailedList:
        """Returns the matching messages, oldest first."""
        entries: list[FailedEntry] = []
        now = self._clock_ms()

        def visit(message: Taken) -> bool:
            entry = _entry(message)
            if listing.matches(entry, now):
                entries.append(entry)
            return True

        async with failed_operation(self._settings.broker.url, exact=listing.exact) as scan:
            await scan.take(visit)
        entries.sort(key=FailedEntry.age_order)
        return FailedList(
            items=[item_of(entry) for entry in entries[: listing.limit]],
            scanned=scan.taken,
            waiting=scan.waiting,
            matched=len(entries),
            reasons=dict(Counter(entry.reason for entry in entries).most_common()),
            truncated=scan.truncated or len(entries) > listing.limit,
        )

    async def show(self, failed_id: str, *, reveal: bool, operator: str) -> FailedMessage | None:
        """Returns one message, or None if it is not among those scanned. ``reveal`` shows addresses unmasked."""
        found: list[FailedMessage] = []

        def visit(message: Taken) -> bool:
            entry = _entry(message)
            if entry.id == failed_id:
                found.append(_shown(message, entry, reveal=reveal))
            return not found

        async with failed_operation(self._settings.broker.url, exact=True) as scan:
            await scan.take(visit)
        if found and reveal:
            log.info("failed_revealed", operator=operator, id=failed_id)
        return found[0] if found else None

    async def discard(self, selection: Selection, *, operator: str) -> FailedOutcome:
        """Deletes the selected messages permanently."""
        done = nothing_done(dry_run=selection.dry_run)
        async with failed_operation(self._settings.broker.url, exact=selection.exact) as scan:
            try:
                chosen = await self._choose(scan, selection, done)
                if not selection.dry_run:
                    for each in chosen:
                        each.message.ack()
                        done.done += 1
            finally:
                _record("failed_discarded", selection, done, operator)
        return done

    async def replay(self, selection: ReplaySelection, *, operator: str) -> FailedOutcome:
        """Publishes the selected messages again, each to its former lane; skips and keeps those that it cannot publish.

        A crash loses nothing: a message that is published and not yet acked is in both queues, and the claims let only
        one of the copies be sent.
        """
        done = nothing_done(dry_run=selection.dry_run)
        async with failed_operation(self._settings.broker.url, exact=selection.exact) as scan:
            try:
                chosen = await self._choose(scan, selection, done)
                ready = self._prepare(chosen, selection.ignore_expiry, done)
                if ready and not selection.dry_run:
                    await resend(self._settings, ready, RESEND_WITHIN_S, done)
            finally:
                _record("failed_replayed", selection, done, operator)
        return done

    async def _choose(self, scan: Scan, selection: Selection, done: FailedOutcome) -> Sequence[Chosen]:
        """Returns the oldest ``limit`` messages that match; the others are not kept in memory."""
        chosen: list[Chosen] = []
        kept_bytes = 0
        now = self._clock_ms()

        def visit(message: Taken) -> bool:
            nonlocal kept_bytes
            entry = _entry(message)
            if selection.matches(entry, now):
                chosen.append(Chosen(message, entry))
                kept_bytes += len(message.body)
            return kept_bytes < MOST_BYTES

        await scan.take(visit)
        done.missing = _missing(selection, chosen)
        # The broker requeues the taken messages in no particular order, so after a listing the oldest may be anywhere.
        chosen.sort(key=lambda each: each.entry.age_order())
        chosen = chosen[: selection.limit]
        done.matched, done.truncated = len(chosen), scan.truncated or scan.taken < scan.waiting
        return chosen

    def _prepare(
        self, chosen: Sequence[Chosen], ignore_expiry: bool, done: FailedOutcome
    ) -> Sequence[tuple[Chosen, Publication]]:
        ready = []
        for each in chosen:
            body, entry = each.message.body, each.entry
            try:
                publication = replay_of(body, entry, ignore_expiry=ignore_expiry, now_ms=self._clock_ms())
            except CannotReplay as exc:
                done.skipped.append(SkippedMessage(id=entry.id, reason=exc.reason, detail=str(exc)))
            else:
                ready.append((each, publication))
        return ready


def _entry(message: Taken) -> FailedEntry:
    return read_entry(message.body, message.headers, message.routing_key, message.timestamp_ms, message.exchange)


def _missing(selection: Selection, chosen: Sequence[Chosen]) -> list[str]:
    """Returns the ids that were asked for and not found, or the request_id if no message has it."""
    if selection.ids is not None:
        return sorted(selection.ids - {each.entry.id for each in chosen})
    return [selection.request_id] if selection.request_id is not None and not chosen else []


def _shown(message: Taken, entry: FailedEntry, *, reveal: bool) -> FailedMessage:
    envelope = read_envelope(message.body)
    if envelope is None:
        return message_of(entry, None, unreadable_body(message, reveal=reveal))
    return message_of(entry, envelope if reveal else mask_addresses(envelope))


def _record(event: str, selection: Selection, done: FailedOutcome, operator: str) -> None:
    log.info(
        event,
        operator=operator,
        selection=selection.named(),
        matched=done.matched,
        done=done.done,
        skipped=len(done.skipped),
        dry_run=done.dry_run,
    )
