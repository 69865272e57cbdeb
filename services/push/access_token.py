"""Fetches a bearer token that expires: once for all callers, and again before it expires, one fetch at a time."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from shared.errors import Refused, Unavailable

_log = structlog.get_logger(__name__)

#: A token that expires within this time is renewed in the background while it is still used, seconds.
RENEW_BEFORE_S = 300.0
#: A token that expires within this time is no longer used, because it could expire on the way, seconds.
MARGIN_S = 10.0
#: Shortest pause between a failed renewal and the next one, seconds.
RENEW_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Granted:
    """Holds a token and its expiry, seconds since the epoch."""

    token: str
    expires_at_s: float


class AccessToken:
    """Caches the token. ``fetch`` may block and raises Refused; it runs in a thread, never twice at a time."""

    def __init__(self, fetch: Callable[[], Granted], clock: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._clock = clock
        self._current: Granted | None = None
        self._fetching: asyncio.Future[Granted] | None = None
        self._renew_not_before_s = 0.0

    async def get(self, timeout_s: float) -> str:
        """Returns the current token, without waiting if there is one.

        Raises the errors of ``fetch``, or Unavailable after ``timeout_s``. Nothing was sent yet, so none of them is
        ambiguous.
        """
        now_s = self._clock()
        current = self._current
        if current is not None and now_s < current.expires_at_s - MARGIN_S:
            if now_s >= current.expires_at_s - RENEW_BEFORE_S and now_s >= self._renew_not_before_s:
                self._start()
            return current.token
        try:
            # The fetch is shielded: one caller that gives up must not cancel it for the others.
            granted = await asyncio.wait_for(asyncio.shield(self._start()), timeout_s)
        except TimeoutError as exc:
            raise Unavailable(f"no access token within {timeout_s:g} s") from exc
        return granted.token

    def drop(self, token: str) -> None:
        """Discards ``token``, which was refused. A late refusal of an older token changes nothing."""
        if self._current is not None and self._current.token == token:
            self._current = None

    def _start(self) -> asyncio.Future[Granted]:
        if self._fetching is None:
            answer: concurrent.futures.Future[Granted] = concurrent.futures.Future()
            self._fetching = asyncio.wrap_future(answer)
            self._fetching.add_done_callback(self._fetched)
            # It is a daemon thread: the process must be able to stop while the token's server is unresponsive.
            threading.Thread(target=self._answer, args=(answer,), name="access-token", daemon=True).start()
        return self._fetching

    def _answer(self, answer: concurrent.futures.Future[Granted]) -> None:
        try:
            answer.set_result(self._fetch())
        except Exception as exc:  # noqa: BLE001 - raised again in the callers that wait
            answer.set_exception(exc)

    def _fetched(self, fetched: asyncio.Future[Granted]) -> None:
        self._fetching = None
        error = fetched.exception()
        if error is None:
            self._current = fetched.result()
            return
        self._renew_not_before_s = self._clock() + RENEW_PAUSE_S
        known = isinstance(error, Refused)
        _log.warning("access_token_not_fetched", error=str(error), exc_info=None if known else error)
