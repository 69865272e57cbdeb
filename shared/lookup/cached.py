"""Looks up the users and templates that messages name: in memory, in a shared Redis if there is one, else over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ValidationError

from shared.breaker.breaker import Breaker
from shared.breaker.report import BreakerReport
from shared.errors import SourceNotFound, SourceUnavailable, SourceUnreadable
from shared.lookup.http_source import HttpSource, KeyUnavailable, SourceLimits
from shared.lookup.memory_cache import Loaded, TtlCache
from shared.lookup.redis_cache import SharedCache
from shared.metrics import Metrics
from shared.settings.settings import Settings

M = TypeVar("M", bound=BaseModel)

#: an answer "not found", or one that cannot be read, is cached for at most this long, seconds: the entry may be
#: created or mended at any moment
MISSING_TTL_S = 5.0
#: most memory for the entries of one source, bytes. One answer may have 1 MiB, so that SOURCE_CACHE_ENTRIES (10 000)
#: of them would need 10 GB
MOST_CACHED_BYTES = 32 * 1024 * 1024

_SETTINGS = {"users": "USER_ENDPOINT", "templates": "TEMPLATE_ENDPOINT"}


@dataclass(frozen=True, slots=True)
class _Failing:
    """Stands in the cache in place of an entry: the service answers, but not for this key."""

    error: str


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands in the cache in place of an entry that cannot be read."""

    error: str


class Source(Generic[M]):
    """Looks up a ``model`` by its key. An entry may be up to ``SOURCE_TTL_S`` seconds old."""

    def __init__(
        self,
        name: Literal["users", "templates"],
        model: type[M],
        key_field: str,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._name = name
        self._model = model
        self._key_field = key_field
        self._ttl_s = settings.lookup.ttl_s
        # The first good answer closes it: the caches answer most lookups, so further probes could take long to come.
        policy = settings.breaker.model_copy(update={"successes": 1})
        # A source belongs to no channel: its label is empty, and Prometheus treats an empty label as no label.
        self.breaker = Breaker(name, policy, listener=BreakerReport(metrics, "", name))
        self._service = self._service_at(settings)
        cache_url = settings.lookup.cache_redis_url
        self._shared = SharedCache(cache_url.get_secret_value(), f"notify-cache:{name}:") if cache_url else None
        self._cache: TtlCache[M | _Failing | _Unreadable | None] = TtlCache(
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
        """Returns the entry of ``key``.

        Raises SourceNotFound; SourceUnreadable if the service's entry cannot be read; SourceUnavailable if no cache has
        the entry and the service did not give it. After a SourceUnavailable ``is_open`` is True if the service is
        unavailable, and False if it fails for this key alone.
        """
        found = await self._cache.get(key)
        if isinstance(found, _Failing):
            raise SourceUnavailable(self._name, found.error)
        if isinstance(found, _Unreadable):
            raise SourceUnreadable(self._name, found.error)
        if found is None:
            raise SourceNotFound(self._name, f"{self._name}: there is no such entry")
        return found

    @property
    def is_open(self) -> bool:
        """Returns True if the service cannot be asked now: callers that need more than the caches hold should wait."""
        # Unlike a provider's breaker, it does not stay open until a probe has succeeded: the caches may serve all
        # messages for a long time, so that no probe is made.
        return self.retry_in_s() > 0

    def retry_in_s(self) -> float:
        """Returns the seconds until a lookup makes sense again; 0 if it makes sense now."""
        return self.breaker.retry_in_s()

    def _service_at(self, settings: Settings) -> HttpSource[M] | None:
        endpoint = settings.users_url if self._name == "users" else settings.templates_url
        if endpoint is None:
            return None
        limits = SourceLimits.of(settings)
        return HttpSource(
            self._name, endpoint, _SETTINGS[self._name], self._model, self._key_field, limits, self.breaker
        )

    async def _load(self, key: str) -> Loaded[M | _Failing | _Unreadable | None]:
        shared = await self._load_shared(key)
        if shared is not None:
            return shared
        if self._service is None:
            raise SourceUnavailable(self._name, f"{self._name}: {_SETTINGS[self._name]} is not set")
        try:
            found = await self._service.fetch(key)
        except KeyUnavailable as exc:
            # Do not ask for this key again for a while: many messages for one bad key would open the breaker for all.
            return Loaded(_Failing(str(exc)), self.breaker.policy.open_s, 0)
        except SourceUnreadable as exc:
            return Loaded(_Unreadable(str(exc)), min(self._ttl_s, MISSING_TTL_S), 0)
        if found is None:
            return Loaded(None, min(self._ttl_s, MISSING_TTL_S), 0)
        # The cache keeps the model, which may be far smaller than the answer: its size is the length of its JSON.
        document = found.model_dump_json().encode()
        if self._shared is not None:
            await self._shared.put(key, document, self._ttl_s)
        return Loaded(found, self._ttl_s, len(document))

    async def _load_shared(self, key: str) -> Loaded[M | _Failing | _Unreadable | None] | None:
        entry = await self._shared.get(key) if self._shared is not None else None
        if entry is None:
            return None
        try:
            found = self._model.model_validate_json(entry[0])
        except ValidationError:
            found = None
        if found is None or getattr(found, self._key_field) != key:
            # Another version has written it: treat it as missing; it is overwritten now.
            return None
        return Loaded(found, entry[1], len(entry[0]))
