"""Decides which losses, repeats and calls the events explain, and which break a promise."""

from __future__ import annotations

from tests.models.claims.state import LIVES, MAX_ATTEMPTS, Copy, World, plus, tally


def wrong_with(world: World) -> str:
    """Returns the promise that does not hold in this world, or ''."""
    if world.broken:
        return world.broken
    if not (world.settled or world.queue or world.ladder or world.failed or _in_hand(world)):
        return "lost: there is no copy anywhere, and nothing is recorded"
    if world.accepted > 1 + world.excused_sends:
        return f"accepted {world.accepted} times, {world.excused_sends} more than once explained"
    for life in range(LIVES):
        if world.ends[life] > 1 + world.excused_ends:
            return (
                f"{world.ends[life]} entries in failed.queue of one life, {world.excused_ends} more than one explained"
            )
        if world.calls[life] > MAX_ATTEMPTS + world.excused_calls:
            return f"{world.calls[life]} calls in one life, at most {MAX_ATTEMPTS + world.excused_calls} explained"
    return ""


def excuse(world: World, *, sends: int = 0, ends: int = 0, calls: int = 0) -> World:
    return world._replace(
        excused_sends=world.excused_sends + sends,
        excused_ends=world.excused_ends + ends,
        excused_calls=world.excused_calls + calls,
    )


def entered(world: World, copy: Copy) -> World:
    """Stores an end of this life in failed.queue."""
    broken = world.broken
    if world.accepted and not _excused(world):
        broken = "in failed.queue although the provider has accepted it"
    return world._replace(
        failed=plus(world.failed, copy._replace(attempt=0, returns=0)), ends=tally(world.ends, copy.life), broken=broken
    )


def entered_reused(world: World, copy: Copy) -> World:
    """Stores another message with the same request_id in failed.queue: it ends no life of this message."""
    return world._replace(failed=plus(world.failed, copy._replace(attempt=0, returns=0)))


def called(world: World, copy: Copy, *, accepted: bool) -> World:
    """Records that a call reached the provider."""
    broken = world.broken
    if accepted and world.ends[copy.life] and not _excused(world):
        broken = "accepted although the same life has ended in failed.queue"
    return world._replace(calls=tally(world.calls, copy.life), accepted=world.accepted + accepted, broken=broken)


def _in_hand(world: World) -> bool:
    return any(handler.attached for handlers in world.processes for handler in handlers)


def _excused(world: World) -> bool:
    return bool(world.excused_sends or world.excused_ends)
