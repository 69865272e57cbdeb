"""The hot path's HTTP client: llhttp (by httptools) on the event loop itself.

HTTP is the largest part of a delivery's CPU, and what was written must be known exactly, not guessed from a library's
error text. A call costs 10 to 11 us of CPU, against 24 to 34 with pyreqwest and 67 to 73 with aiohttp, side by side in
four runs of ``python -m bench.http_clients`` (77 000 to 97 000, 29 000 to 33 000 and 13 000 to 15 000 calls/s).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from shared.http.pool import Pool, PoolLimits, client_tls
from shared.http.request import Origin, Target
from shared.http.response import Response

__all__ = ["HttpClient", "Response"]

#: an idle connection is dropped after this long: sooner than servers do (nginx 75 s, many balancers 20 to 60 s), so
#: that a request is seldom written into one that the server is just closing
POOL_IDLE_S = 15.0
CONNECT_TIMEOUT_S = 3.0
#: to one scheme, host and port, below what a process may have open; a worker makes no more calls at once than this
CONNECTIONS_PER_ORIGIN = 512
# Providers post to one URL each; a caller that makes new ones all the time must not fill the memory.
_URLS_KEPT = 256


class HttpClient:
    """A pool of keep-alive connections. No redirects, no retries, no proxies from the environment, no cookies.

    A request is written at most once, and never behind another that is still unanswered. If the server has closed an
    idle connection before the first byte of a request was written to it, another is used; after that byte, never.
    """

    def __init__(
        self, connect_timeout_s: float = CONNECT_TIMEOUT_S, connections_per_origin: int = CONNECTIONS_PER_ORIGIN
    ) -> None:
        self._limits = PoolLimits(connect_timeout_s, POOL_IDLE_S, connections_per_origin)
        self._targets: dict[str, tuple[Target, Pool]] = {}
        self._pools: dict[Origin, Pool] = {}
        self._tls: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Take the running loop; nothing is connected yet."""
        self._loop = asyncio.get_running_loop()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Response:
        """One POST; ``timeout_s`` covers everything from connecting to the answer's last byte.

        Raises Unavailable, ambiguous unless no byte of the request was handed to a socket; ValueError for a URL or a
        header field that cannot be sent.
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
        # From here to the write nothing else runs: what the connection was found to be, it still is.
        try:
            return await connection.ask(request, timeout_s)
        finally:
            pool.leave()

    async def close(self) -> None:
        """Close every connection. Whoever waits gets Unavailable: ambiguous if the request was written."""
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
            pool = self._pools[target.origin] = Pool(target.origin, self._tls_for(target.origin), self._limits)
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
