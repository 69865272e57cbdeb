"""Reads the positions that devices name: as two fields, or as one text ``<epoch>:<offset>``."""

from __future__ import annotations

from collections.abc import Mapping

from shared.store.values import Position

#: Longest epoch that a device may name, characters.
_EPOCH_CHARS = 16
_LARGEST = 2**53


def position_of(epoch: object, offset: object) -> Position | None:
    """Returns the position; None if it is none."""
    if not isinstance(epoch, str) or len(epoch) > _EPOCH_CHARS or isinstance(offset, bool):
        return None
    return Position(epoch, offset) if isinstance(offset, int) and 0 <= offset < _LARGEST else None


def position_from(text: str) -> Position | None:
    """Reads ``<epoch>:<offset>``. Any other text is no position: everything is sent then."""
    epoch, _, offset = text.partition(":")
    return position_of(epoch, int(offset)) if offset.isascii() and offset.isdigit() and len(offset) <= 16 else None


def position_in(query: Mapping[str, str]) -> Position | None:
    """Reads the query of a request: ``epoch`` and ``offset``, or ``position``."""
    if "position" in query:
        return position_from(query["position"])
    return position_from(f"{query['epoch']}:{query['offset']}") if {"epoch", "offset"} <= query.keys() else None


def position_text(position: Position) -> str:
    """Returns the position in the form that ``position_from`` reads."""
    return f"{position.epoch}:{position.offset}"
