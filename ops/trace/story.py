"""Turns the timeline of a notification into sentences."""

from collections.abc import Iterator, Sequence

from shared.clock import rfc3339
from shared.store.timeline.rows import Delivery, Told

_ENDS = {
    "pending": "It has come to no end yet.",
    "sent": "The provider has accepted it.",
    "delivered": "The vendor says that it has arrived.",
    "read": "Its user has read it.",
    "failed": "It could not be delivered, and is in failed.queue until an operator replays or discards it.",
    "skipped": "It was not sent, by the recipient's choice.",
    "expired": "Its life ended before it could be sent; it is in failed.queue.",
}


def stories(rows: Sequence[Delivery], told: Sequence[Told]) -> Iterator[str]:
    """Yields the lines of the story of each channel."""
    for number, row in enumerate(rows):
        if number:
            yield ""
        own = [one for one in told if (one.client, one.channel) == (row.client, row.channel)]
        sender = f" of {row.client}" if row.client else ""
        to = f" to {row.user_id}" if row.user_id else ""
        yield f"{row.request_id}{sender} by {row.channel}{to}: {row.status}"
        for one in own:
            yield f"  {rfc3339(one.at_ms)}  +{_after(one.at_ms - row.created_ms):>9}  {sentence(one)}"
        if row.republished:
            yield f"  It was published again {row.republished} times, because nothing was heard of it."
        yield f"  {_end(row)}"


def sentence(one: Told) -> str:
    """Returns what happened, in a sentence."""
    why = f"{one.reason}: {one.detail}" if one.reason and one.detail else one.reason or one.detail or ""
    match one.kind:
        case "accepted":
            return "The gateway accepted it."
        case "attempted" if not one.reason:
            return f"Attempt {one.attempt + 1}: {one.provider} accepted it within {one.ms} ms."
        case "attempted":
            return f"Attempt {one.attempt + 1}: {one.provider} did not accept it, after {one.ms} ms ({why})."
        case "retrying":
            return f"It waits until {rfc3339(one.next_try_ms or 0)} ({why})."
        case "sent":
            return f"It is sent, through {one.provider}."
        case "failed" | "expired":
            return f"It went to failed.queue ({why})."
        case "skipped":
            return f"It was not sent ({why})."
        case "duplicate":
            return f"A copy of it was dropped ({why})."
        case "replayed":
            return "An operator sent it again."
        case "token_dead":
            return f"The target {one.detail} is dead, says {one.provider}."
        case "delivered":
            return "It arrived, says the vendor."
        case "read":
            return "Its user read it."
    return one.kind


def _end(row: Delivery) -> str:
    if row.status == "pending" and row.next_try_ms > row.updated_ms:
        return f"It waits for its next try at {rfc3339(row.next_try_ms)}."
    return _ENDS[row.status]


def _after(ms: int) -> str:
    """Returns a duration as a reader takes it in: ``12 ms``, ``3.2 s``, ``4 min``, ``2.5 h``."""
    if ms < 1_000:
        return f"{ms} ms"
    if ms < 120_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms // 60_000} min" if ms < 7_200_000 else f"{ms / 3_600_000:.1f} h"
