"""Defines the settings of the lookups: where users and templates come from, and how long they are cached."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.settings.types import Count, Group, RedisUrl, Seconds, variable


class LookupSettings(Group):
    """Holds the endpoints as they were set, and the limits of one lookup."""

    # An endpoint may hold a user and a password.
    user_endpoint: Annotated[str | None, variable("USER_ENDPOINT"), Field(repr=False)] = None
    template_endpoint: Annotated[str | None, variable("TEMPLATE_ENDPOINT"), Field(repr=False)] = None
    #: how old a cached entry may be, seconds
    ttl_s: Annotated[Seconds, variable("SOURCE_TTL_S")] = 60
    #: longest wait for one answer, seconds
    timeout_s: Annotated[Seconds, variable("SOURCE_TIMEOUT_S")] = 3
    #: most users, and most templates, that one process keeps in memory
    cache_entries: Annotated[Count, variable("SOURCE_CACHE_ENTRIES")] = 10_000
    #: a second Redis that caches for all workers; it may evict
    cache_redis_url: Annotated[RedisUrl | None, variable("CACHE_REDIS_URL")] = None
