"""Asks an internal service (users, templates) that answers ``GET {endpoint}/{key}`` with one JSON object.

Whose fault is a failure? No answer, a 5xx or a refusal is the service's, unless it answers for another key. A 200 that
cannot be read, or that is the entry of another key, is always the fault of this key's record: the service has answered.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from pydantic import BaseModel, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_before_delay, wait_random
from yarl import URL

from shared.breaker.breaker import Breaker, Permit
from shared.errors import BadSettings, SourceUnavailable, SourceUnreadable
from shared.http.retry_after import parse_retry_after
from shared.lookup.key import names_an_entry
from shared.settings.settings import Settings

#: largest answer that is read, bytes
MAX_ANSWER_BYTES = 1024 * 1024
_ATTEMPTS = 3
# All attempts together take at most this part of a message's handling budget: two lookups and a send must fit in it.
_BUDGET_PART = 0.3
_FOUND = 200
# These answers mean that this key has no entry; the service itself works. 400 and 422: it cannot read the key.
_NO_SUCH_THING = frozenset({400, 404, 410, 414, 422})

M = TypeVar("M", bound=BaseModel)


class _Passing(SourceUnavailable):
    """Says that another attempt at once may succeed."""


class KeyUnavailable(SourceUnavailable):
    """Says that the service did not answer for this key, although it answers for others."""


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """Holds the longest times, in seconds, of one attempt and of all attempts of one fetch together."""

    timeout_s: float
    budget_s: float

    @classmethod
    def of(cls, settings: Settings) -> SourceLimits:
        budget_s = settings.idempotency.handling_budget_s * _BUDGET_PART
        return cls(min(settings.lookup.timeout_s, budget_s), budget_s)


class HttpSource(Generic[M]):
    """Reads a ``model`` from the service at ``endpoint``, through its breaker.

    ``setting`` is the name of the endpoint's variable; ``key_field`` the field of the model that holds the key. Raises
    BadSettings if the endpoint is not usable.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        setting: str,
        model: type[M],
        key_field: str,
        limits: SourceLimits,
        breaker: Breaker,
    ) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise BadSettings([(setting, "must be an http or https URL without query")])
        self._name = name
        self._endpoint = endpoint.rstrip("/")
        self._model = model
        self._key_field = key_field
        self._limits = limits
        self._breaker = breaker
        self._session: aiohttp.ClientSession | None = None
        self._answers = 0
        #: the last two keys that were answered, the newest first
        self._answered: tuple[str, ...] = ()

    async def open(self) -> None:
        """Creates the connection pool; it sends nothing yet."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._limits.timeout_s),
            headers={"Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, key: str) -> M | None:
        """Returns the service's entry for ``key``, or None if there is no such entry.

        Raises SourceUnreadable if the entry cannot be read. Raises SourceUnavailable: after a few quick attempts if the
        service did not answer or answered 5xx; at once if it refused us, asked us to slow down, or its breaker is open.
        The breaker is then open, so that callers know at the first failed fetch that the service is unavailable. If the
        service fails for this key alone, the error is a KeyUnavailable and the breaker stays closed.
        """
        if not names_an_entry(key):
            return None
        limits = self._limits
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Passing),
            # Two timeouts are left: one for the last attempt, and one to ask for another key.
            stop=stop_after_attempt(_ATTEMPTS) | stop_before_delay(limits.budget_s - 2 * limits.timeout_s),
            wait=wait_random(0.05, 0.2),
            reraise=True,
        )
        began, answers = time.monotonic(), self._answers
        try:
            found: M | None = await retrying(self._attempt, key)
        except SourceUnavailable as exc:
            if self._breaker.is_open:
                raise
            left_s = began + limits.budget_s - time.monotonic()
            if self._answers == answers and not await self._answers_for_another(key, left_s):
                self._breaker.give_up("no answer for any key")
                raise
            raise KeyUnavailable(self._name, str(exc)) from exc
        return found

    async def _answers_for_another(self, key: str, within_s: float) -> bool:
        """Asks for another key that was answered before, and returns True if the service answers.

        So a single bad key does not stop all lookups.
        """
        other = next((known for known in self._answered if known != key), None)
        if other is None or within_s <= 0:
            return False
        try:
            async with asyncio.timeout(within_s):
                await self._attempt(other)
        except SourceUnreadable:
            return True
        except (SourceUnavailable, TimeoutError):
            return False
        return True

    async def _attempt(self, key: str) -> M | None:
        permit = self._breaker.permit()
        if permit is None:
            raise SourceUnavailable(self._name, f"{self._name}: breaker {self._breaker.state}")
        began = time.monotonic()
        # If the call is cancelled, leaving this block frees the permit.
        with permit:
            try:
                status, retry_after, body = await self._get(key)
            except (aiohttp.ClientError, TimeoutError) as exc:
                permit.failure(time.monotonic() - began)
                raise _Passing(self._name, f"{self._name}: {type(exc).__name__}") from exc
            self._judge(permit, time.monotonic() - began, status, retry_after)
        self._answers += 1
        self._answered = (key, *(known for known in self._answered if known != key))[:2]
        return self._read(key, body) if status == _FOUND else None

    async def _get(self, key: str) -> tuple[int, str, bytes]:
        if self._session is None:
            raise RuntimeError(f"{self._name}: call open() first")
        url = URL(f"{self._endpoint}/{quote(key, safe='')}", encoded=True)
        async with self._session.get(url, allow_redirects=False) as response:
            body = bytearray()
            try:
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        break
            except aiohttp.ClientPayloadError as exc:
                # A connection that is cut is the service's failure; an encoding that is broken, the record's.
                if not isinstance(exc.__cause__, ContentEncodingError):
                    raise
                body.clear()
            return response.status, response.headers.get("Retry-After", ""), bytes(body)

    def _judge(self, permit: Permit, took_s: float, status: int, retry_after: str) -> None:
        """Tells the breaker whether the service has answered. Raises SourceUnavailable if not."""
        if status == _FOUND or status in _NO_SUCH_THING:
            permit.success(took_s)
            return
        if status == 429:
            named_s = parse_retry_after(retry_after, time.time)
            pause_s = self._breaker.policy.open_s if named_s is None else named_s
            permit.throttled(self._name, pause_s, whole_provider=True)
            raise SourceUnavailable(self._name, f"{self._name}: 429")
        permit.failure(took_s)
        kind = _Passing if status >= 500 else SourceUnavailable
        raise kind(self._name, f"{self._name}: {status}")

    def _read(self, key: str, body: bytes) -> M:
        """Returns the entry in an answer. Raises SourceUnreadable."""
        try:
            found = self._model.model_validate_json(body)
        except ValidationError as exc:
            raise SourceUnreadable(self._name, f"{self._name}: unreadable answer, {_fields(exc)}") from exc
        if getattr(found, self._key_field) != key:
            detail = f"{self._name}: unreadable answer, {self._key_field}: not the one asked for"
            raise SourceUnreadable(self._name, detail)
        return found


def _fields(exc: ValidationError) -> str:
    """Returns which fields of the answer are wrong, without their values."""
    errors = exc.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['type']}" for e in errors[:5])
