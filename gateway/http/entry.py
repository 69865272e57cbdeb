"""Stands before Flask: whom the gateway answers, under which path it is reached, and what every answer carries.

It is a WSGI middleware, because hooks of Flask would cost each request several times as much.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from gateway.connections.progress import Progress
from gateway.http.problem import Problem

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

#: The names under which a gateway without keys answers in any case. A web page elsewhere can make a browser connect to
#: this machine under a name of its own (DNS rebinding), and without keys nothing else would keep it out.
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
EVERY_NAME = "*"

#: A path as a proxy writes it; "//host" would lead a browser to another host.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+?)\.?(?::[0-9]{1,5})?", re.IGNORECASE)
_MOST_KNOWN_HOSTS = 1_000
_NOSNIFF = ("X-Content-Type-Options", "nosniff")
_NO_STORE = ("Cache-Control", "no-store")


class Entry:
    """Wraps the WSGI app. ``names`` are the Hosts that are answered, or None for every Host.

    ``proxies`` are addresses or networks; only a proxy there may say X-Forwarded-Prefix.
    """

    def __init__(self, app: WsgiApp, progress: Progress, names: Collection[str] | None, proxies: Sequence[str]) -> None:
        self._app = app
        self._progress = progress
        self._names = None if names is None or EVERY_NAME in names else frozenset(name.lower() for name in names)
        #: Hosts as clients wrote them, with a port or in other letters, that were found to be among the names.
        self._known_hosts: set[str] = set()
        self._proxies = [ip_network(proxy, strict=False) for proxy in proxies]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            stored = False
            for index, (name, value) in enumerate(headers):
                if name == "Cache-Control":
                    stored = True
                elif name == "Location":
                    headers[index] = name, _path(value)
            headers.append(_NOSNIFF)
            # Answers can contain addresses of people; files of the documentation say for how long to keep them.
            if not stored:
                headers.append(_NO_STORE)
            return start_response(status, headers, exc_info)

        self._progress.begin(environ)
        try:
            if self._names is not None and environ.get("HTTP_HOST") not in self._known_hosts:
                refusal = self._misdirected(environ.get("HTTP_HOST", ""))
                if refusal is not None:
                    return refusal.response()(environ, start)
            if "HTTP_X_FORWARDED_PREFIX" in environ:
                self._mount(environ)
            return self._app(environ, start)
        finally:
            self._progress.end()

    def _misdirected(self, host: str) -> Problem | None:
        found = _HOST.fullmatch(host)
        if self._names is None or found is None or found[1].lower() not in self._names:
            return Problem(421, "without API_KEYS the gateway answers only to local names and to GATEWAY_OPEN_HOSTS")
        if len(self._known_hosts) < _MOST_KNOWN_HOSTS:
            self._known_hosts.add(host)
        return None

    def _mount(self, environ: dict[str, Any]) -> None:
        """Puts the prefix of a trusted proxy before every URL that the gateway writes."""
        prefix = environ["HTTP_X_FORWARDED_PREFIX"].rstrip("/")
        if not _PREFIX.fullmatch(prefix) or any(part in (".", "..") for part in prefix.split("/")):
            return
        try:
            peer = ip_address(environ.get("REMOTE_ADDR", ""))
        except ValueError:
            return
        peer = getattr(peer, "ipv4_mapped", None) or peer
        if any(peer in proxy for proxy in self._proxies):
            environ["SCRIPT_NAME"] = prefix


def _path(url: str) -> str:
    """Returns the URL without scheme and host: behind a proxy, this gateway does not know those that callers use."""
    rest = urlsplit(url)._replace(scheme="", netloc="").geturl()
    return f"/{rest.lstrip('/')}"
