"""Looks up what messages refer to (users, templates): in memory, in a shared Redis if there is one, else over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ValidationError

from shared.breaker.breaker import Breaker
from shared.breaker.report import BreakerReport
from shared.errors import SourceNotFound, SourceUnavailable
from shared.lookup.http_source import HttpSource, KeyUnavailable, SourceLimits
from shared.lookup.memory_cache import Loaded, TtlCache
from shared.lookup.redis_cache import SharedCache
from shared.metrics import Metrics
from shared.settings.settings import Settings

M = TypeVar("M", bound=BaseModel)

#: an answer "not found" is kept at most this long, seconds: the thing may be created at this moment
MISSING_TTL_S = 5.0
#: memory that the entries of one source may take. One answer may have 1 MiB, and SOURCE_CACHE_ENTRIES of them 10 GB
MOST_CACHED_BYTES = 32 * 1024 * 1024

_SETTINGS = {"users": "USER_ENDPOINT", "templates": "TEMPLATE_ENDPOINT"}


@dataclass(frozen=True, slots=True)
class _Failing:
    """In place of an entry: the service answers, but not for this key."""

    error: str


class Source(Generic[M]):
    """``model`` by key. An entry may be as old as ``SOURCE_TTL_S``."""

    def __init__(
        self, name: Literal["users", "templates"], model: type[M], settings: Settings, metrics: Metrics
    ) -> None:
        self._name = name
        self._model = model
        self._ttl_s = settings.lookup.ttl_s
        # The first answer closes it: what it admits are lookups, and most of them are answered from the cache.
        policy = settings.breaker.model_copy(update={"successes": 1})
        # Not a channel's: the label is empty, which to Prometheus is none.
        self.breaker = Breaker(name, policy, listener=BreakerReport(metrics, "", name))
        self._service = self._service_at(settings)
        cache_url = settings.lookup.cache_redis_url
        self._shared = SharedCache(cache_url.get_secret_value(), f"notify-cache:{name}:") if cache_url else None
        self._cache: TtlCache[M | _Failing | None] = TtlCache(
            self._load, settings.lookup.cache_entries, MOST_CACHED_BYTES
        )

    async def __aenter__(self) -> Self:
        if self._service is not None:
            await self._service.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cache.close()
        if self._service is not None:
            await self._service.close()
        if self._shared is not None:
            await self._shared.close()

    async def get(self, key: str) -> M:
        """Raises SourceNotFound; SourceUnavailable if it is in no cache and the service could not be asked.

        Then it ``is_open`` if the service is away, and is not if it fails for this key alone.
        """
        found = await self._cache.get(key)
        if isinstance(found, _Failing):
            raise SourceUnavailable(self._name, found.error)
        if found is None:
            raise SourceNotFound(self._name, f"{self._name}: there is no such entry")
        return found

    @property
    def is_open(self) -> bool:
        """The service cannot be asked now: who needs more than the caches hold had better wait."""
        # Not until a probe has succeeded, as with providers: messages may go on for long without any lookup.
        return self.retry_in_s() > 0

    def retry_in_s(self) -> float:
        """Seconds until a lookup makes sense again; 0 if it does now."""
        return self.breaker.retry_in_s()

    def _service_at(self, settings: Settings) -> HttpSource[M] | None:
        endpoint = settings.users_url if self._name == "users" else settings.templates_url
        if endpoint is None:
            return None
        limits = SourceLimits.of(settings)
        return HttpSource(self._name, endpoint, _SETTINGS[self._name], self._model, limits, self.breaker)

    async def _load(self, key: str) -> Loaded[M | _Failing | None]:
        shared = await self._load_shared(key)
        if shared is not None:
            return shared
        if self._service is None:
            raise SourceUnavailable(self._name, f"{self._name}: {_SETTINGS[self._name]} is not set")
        try:
            found = await self._service.fetch(key)
        except KeyUnavailable as exc:
            # Not asked for again for a while: many messages for one bad key would open the breaker for all others.
            return Loaded(_Failing(str(exc)), self.breaker.policy.open_s, 0)
        if found is None:
            return Loaded(None, min(self._ttl_s, MISSING_TTL_S), 0)
        # What is kept is the model, which may be far smaller than the answer: the length of its JSON is its size.
        document = found.model_dump_json().encode()
        if self._shared is not None:
            await self._shared.put(key, document, self._ttl_s)
        return Loaded(found, self._ttl_s, len(document))

    async def _load_shared(self, key: str) -> Loaded[M | _Failing | None] | None:
        entry = await self._shared.get(key) if self._shared is not None else None
        if entry is None:
            return None
        try:
            return Loaded(self._model.model_validate_json(entry[0]), entry[1], len(entry[0]))
        except ValidationError:
            # Written by another version: as good as none, and overwritten now.
            return None
