"""The hot path's HTTP client, and the only file that knows which library that is.

pyreqwest, because it took half of aiohttp's CPU a call (39 us against 80 us, and 30 000 calls/s against 12 500, side by
side in ``python -m bench.http_clients``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import RequestError

from shared.errors import Unavailable
from shared.retry_after import parse_retry_after

#: an idle connection is dropped after this long: sooner than servers do (nginx 75 s, many balancers 20 to 60 s), so
#: that a request is seldom written into one that the server is just closing
POOL_IDLE_S = 15.0
CONNECT_TIMEOUT_S = 3.0
# What hyper calls every failure before a connection, TLS included, was ready for the first byte of a request. The
# exception's class does not tell: a reset after the request was written is a ConnectError too. Should this text ever
# change, everything is ambiguous, which is the safe side; a test would say so.
_NEVER_CONNECTED = "client error (Connect)"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. ``headers`` are looked up without regard to case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def retry_after_s(self) -> float | None:
        """The header ``Retry-After`` in seconds, None if there is none that can be read."""
        return parse_retry_after(self.headers.get("retry-after"), time.time)

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object; {} if it is anything else."""
        try:
            document = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return document if isinstance(document, dict) else {}


class HttpClient:
    """A pool of keep-alive connections. No redirects, no retries, no proxies from the environment, no cookies.

    A request is written at most once. If the server has closed an idle connection before the first byte of a request
    was written to it, a fresh connection is used; after that byte, never.
    """

    def __init__(self, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._client: Client | None = None

    async def open(self) -> None:
        self._client = (
            ClientBuilder()
            .follow_redirects(False)
            .no_proxy()
            .referer(False)
            .user_agent("notify")
            .tcp_nodelay(True)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .connect_timeout(timedelta(seconds=self._connect_timeout_s))
            .pool_idle_timeout(timedelta(seconds=POOL_IDLE_S))
            .build()
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Response:
        """One POST; ``timeout_s`` covers everything from connecting to the answer's last byte.

        Raises Unavailable, ambiguous unless the request cannot have been written.
        """
        if self._client is None:
            raise RuntimeError("HttpClient is not open")
        request = self._client.post(url).headers(headers).timeout(timedelta(seconds=timeout_s)).body_bytes(body).build()
        try:
            response = await request.send()
            received = bytes(await response.bytes())
        except RequestError as exc:
            raise _unavailable(exc) from exc
        return Response(response.status, response.headers, received)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def _unavailable(exc: RequestError) -> Unavailable:
    causes = [cause["message"] for cause in exc.details["causes"] or ()]
    # Not the first cause: it holds the whole URL.
    why = causes[-1] if len(causes) > 1 else type(exc).__name__
    return Unavailable(f"no answer: {why}", ambiguous=_NEVER_CONNECTED not in causes)
