"""Reads and writes groups of channels: a name for several channels, for whoever sends or subscribes to all of them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from shared.store.tables import channel_groups

_g = channel_groups.c


def put(connection: Connection, name: str, channels: Sequence[str], tenant: str) -> bool:
    """Replaces the channels of a group; without channels there is no group. Returns whether there was one."""
    removed = connection.execute(sa.delete(channel_groups).where(_g.tenant == tenant, _g.name == name)).rowcount
    if channels:
        rows = [{"tenant": tenant, "name": name, "channel": channel} for channel in sorted(set(channels))]
        connection.execute(sa.insert(channel_groups), rows)
    return removed > 0


def get(connection: Connection, name: str, tenant: str) -> list[str]:
    """Returns the channels of a group in ascending order; an unknown group has none."""
    statement = sa.select(_g.channel).where(_g.tenant == tenant, _g.name == name).order_by(_g.channel)
    return list(connection.execute(statement).scalars())


def names(connection: Connection, tenant: str) -> dict[str, list[str]]:
    """Returns all groups with their channels, in ascending order."""
    found: dict[str, list[str]] = {}
    statement = sa.select(_g.name, _g.channel).where(_g.tenant == tenant).order_by(_g.name, _g.channel)
    for name, channel in connection.execute(statement):
        found.setdefault(name, []).append(channel)
    return found
