"""Calls providers over HTTP, with the llhttp parser (by httptools) directly on the event loop.

HTTP takes the largest part of a delivery's CPU time, and the client must know exactly whether a request was written,
not guess it from a library's error text. A call costs 10 to 11 us of CPU, against 24 to 34 us with pyreqwest and 67 to
73 us with aiohttp, side by side in four runs of ``python -m bench.http_clients`` (77 000 to 97 000, 29 000 to 33 000
and 13 000 to 15 000 calls/s).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from shared.http.pool import Pool, PoolLimits, client_tls
from shared.http.proxy import Proxy
from shared.http.request import Origin, Target
from shared.http.response import Response

__all__ = ["HttpClient", "Response"]

#: an idle connection is closed after this many seconds: sooner than servers do it (nginx 75 s, many load balancers 20
#: to 60 s), so that a request is seldom written to a connection that the server is just closing
POOL_IDLE_S = 15.0
CONNECT_TIMEOUT_S = 3.0
#: most connections to one scheme, host and port. It is less than the number of files that a process may have open, and
#: a worker does not make more calls at once
CONNECTIONS_PER_ORIGIN = 512
# Each provider posts to one URL; a caller that makes new URLs all the time must not fill the memory.
_URLS_KEPT = 256


class HttpClient:
    """Posts requests over pooled keep-alive connections.

    It follows no redirects, makes no retries, uses no proxy but ``proxy``, and keeps no cookies. A request is
    written at most once, and never behind another that is still unanswered. If the server closed an idle connection
    before the first byte of a request was written to it, another connection is used; after that byte, never.
    """

    def __init__(
        self,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        connections_per_origin: int = CONNECTIONS_PER_ORIGIN,
        proxy: Proxy | None = None,
    ) -> None:
        self._proxy = proxy
        self._limits = PoolLimits(connect_timeout_s, POOL_IDLE_S, connections_per_origin)
        self._targets: dict[str, tuple[Target, Pool]] = {}
        self._pools: dict[Origin, Pool] = {}
        self._tls: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Binds the client to the running loop; it does not connect yet."""
        self._loop = asyncio.get_running_loop()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Response:
        """Sends one POST; ``timeout_s`` covers everything from connecting to the answer's last byte.

        Raises Unavailable, which is ambiguous unless no byte of the request was passed to a socket; ValueError for a
        URL or a header field that cannot be sent.
        """
        if self._loop is None:
            raise RuntimeError("HttpClient is not open")
        target, pool = self._targets.get(url) or self._look_up(url)
        request = target.request(headers, body)
        connection = pool.take()
        if connection is None:
            began = self._loop.time()
            connection = await pool.obtain(timeout_s)
            timeout_s -= self._loop.time() - began
        # No other code runs between the check of the connection and the write, so the check still holds.
        try:
            return await connection.ask(request, timeout_s)
        finally:
            pool.leave()

    async def close(self) -> None:
        """Closes every connection. Waiting calls raise Unavailable, ambiguous if their request was written."""
        for pool in self._pools.values():
            pool.close()
        self._loop = None
        self._targets.clear()
        self._pools.clear()
        # A transport closes its socket in the loop's next turn.
        await asyncio.sleep(0)

    def _look_up(self, url: str) -> tuple[Target, Pool]:
        target = Target(url)
        pool = self._pools.get(target.origin)
        if pool is None:
            proxy = self._proxy if self._proxy is not None and self._proxy.serves(target.origin) else None
            pool = Pool(target.origin, self._tls_for(target.origin), self._limits, proxy)
            self._pools[target.origin] = pool
        if len(self._targets) >= _URLS_KEPT:
            self._targets.clear()
        self._targets[url] = target, pool
        return target, pool

    def _tls_for(self, origin: Origin) -> ssl.SSLContext | None:
        if origin.scheme == "http":
            return None
        if self._tls is None:
            self._tls = client_tls()
        return self._tls
