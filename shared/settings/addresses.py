"""Checks the URLs of servers and of the proxy when settings are read, and takes lists of hosts apart.

Otherwise a wrong part would end a process with a traceback later, or would be ignored. redis-py reads a URL here as it
will later; for RabbitMQ ``amqp_parameters`` has pika's rules, because only the broker package may import pika. No error
shows a value: it may be a secret.

RabbitMQ: ``amqp[s]://user:password@host[:port][,host[:port]]...[/virtual host][?parameters]``; whole URLs may be
separated by commas too.
Redis: ``redis[s]://[user:password@]host[:port][/database]``, ``unix://``, or behind Sentinel
``redis[s]+sentinel://[user:password@]sentinel[:port][,sentinel[:port]].../name of the master[/database]``.
Database: ``sqlite:///file``, or ``postgresql://user:password@host[:port][,host[:port]].../database[?parameters]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import redis.asyncio

from shared.settings.amqp_parameters import check_parameter

SENTINEL_PORT = 26379
POSTGRESQL_PORT = 5432
#: The parameter of a Sentinel URL that holds the password of the Sentinels themselves; theirs may differ from Redis'.
_SENTINEL_PASSWORD = "sentinel_password"
_AMQP_SCHEMES = ("amqp", "amqps")
_REDIS_SCHEMES = ("redis", "rediss")
_SENTINEL_SCHEMES = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
_SQLITE = "sqlite:///"
_POSTGRESQL_SCHEMES = ("postgresql", "postgres")
#: The parameters of libpq that a URL may have. Others would change how transactions begin, or where errors go.
_POSTGRESQL_PARAMETERS = re.compile(
    r"application_name|channel_binding|connect_timeout|gssencmode|keepalives(_count|_idle|_interval)?|load_balance_hosts"
    r"|passfile|require_auth|ssl(cert|certmode|crl|key|mode|negotiation|password|rootcert|sni)|target_session_attrs"
    r"|tcp_user_timeout|user"
)
_PARAMETER = re.compile(r"[a-z_]{1,40}")
_NEXT_URL = re.compile(r",\s*(?=[A-Za-z]+://)")


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """Holds the parts of a Sentinel URL; ``credentials`` and ``parameters`` are those of Redis, as written there."""

    sentinels: tuple[tuple[str, int], ...]
    master: str
    scheme: str
    credentials: str = field(repr=False)
    database: int
    parameters: str = field(repr=False)
    sentinel_password: str | None = field(repr=False)

    def redis_url(self, host: str, port: int) -> str:
        """Returns the URL of the Redis at this address."""
        shown = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{self.credentials}{shown}:{port}/{self.database}{self.parameters}"


def amqp_urls(text: str) -> tuple[str, ...]:
    """Returns one URL per host, in the order in which they are tried. Raises ValueError."""
    urls: list[str] = []
    for url in _NEXT_URL.split(text.strip()):
        scheme, separator, rest = url.partition("://")
        if scheme not in _AMQP_SCHEMES or not separator:
            raise ValueError("must be amqp:// or amqps://...")
        before, hosts, after = _around_hosts(rest)
        urls += [f"{scheme}://{before}{host}{after}" for host in hosts]
    return tuple(urls)


def check_amqp(text: str) -> None:
    """Raises ValueError that says what is wrong with the setting, without quoting it."""
    for url in amqp_urls(text):
        parts = _split(url)
        if parts.username is not None and parts.password is None:
            raise ValueError("the user has no password: write user:password@host")
        if parts.path.count("/") > 1:
            raise ValueError("the virtual host holds a slash: write it as %2F")
        _check_parameters(parts, _amqp_parameters)


def check_redis(text: str) -> None:
    """Raises ValueError that says what is wrong with the setting, without quoting it."""
    scheme, separator, _ = text.partition("://")
    if scheme in _SENTINEL_SCHEMES and separator:
        check_redis(sentinel_url(text).redis_url("localhost", 6379))
        return
    if scheme not in (*_REDIS_SCHEMES, "unix") or not separator:
        raise ValueError("must be redis://, rediss://, unix:// or redis+sentinel://...")
    parts = _split(text)
    database = parts.path.strip("/")
    if scheme != "unix" and database and not (database.isascii() and database.isdigit()):
        raise ValueError("the database must be a number, as in redis://host/0")
    _check_parameters(parts, _redis_connection)


def check_database(text: str) -> None:
    """Raises ValueError that says what is wrong with the setting, without quoting it."""
    if text.startswith(_SQLITE):
        path = text.removeprefix(_SQLITE)
        if not path or path.endswith("/") or "?" in path or not path.isprintable():
            raise ValueError("must name a file, as in sqlite:///inbox.db or sqlite:////var/lib/notify/inbox.db")
        return
    scheme, separator, rest = text.partition("://")
    if scheme not in _POSTGRESQL_SCHEMES or not separator:
        raise ValueError("must be postgresql://user:password@host/database or sqlite:///file")
    before, hosts, after = _around_hosts(rest)
    for host in hosts:
        parts = _split(f"{scheme}://{before}{host}{after}")
        if not parts.path.strip("/") or "/" in parts.path[1:]:
            raise ValueError("must name one database after the host")
        for name, _ in _once(parse_qsl(parts.query, keep_blank_values=True)):
            if not _POSTGRESQL_PARAMETERS.fullmatch(name):
                shown = name if _PARAMETER.fullmatch(name) else "(not shown)"
                raise ValueError(f"parameter {shown}: unknown, or it cannot be set here")


def database_hosts(url: str) -> list[tuple[str, int]]:
    """Returns host and port of each server of a PostgreSQL URL, in the order in which they are tried."""
    _, _, rest = url.partition("://")
    parts = [_split(f"postgresql://{host}") for host in _around_hosts(rest)[1]]
    return [(part.hostname or "localhost", part.port or POSTGRESQL_PORT) for part in parts]


def check_proxy(text: str) -> None:
    """Raises ValueError if this is not the URL of an HTTP proxy; the error does not quote it."""
    scheme, separator, _ = text.partition("://")
    if scheme != "http" or not separator:
        raise ValueError("must be http://[user:password@]host:port")
    parts = _split(text)
    if parts.path.strip("/") or parts.query:
        raise ValueError("must end after the port")


def is_sentinel(url: str) -> bool:
    """Tells whether the URL names Sentinels, which know the address of Redis."""
    return url.partition("://")[0] in _SENTINEL_SCHEMES


def sentinel_url(text: str) -> SentinelUrl:
    """Takes a Sentinel URL apart. Raises ValueError."""
    scheme, _, rest = text.partition("://")
    before, hosts, after = _around_hosts(rest)
    parts = _split(f"redis://{before}localhost{after}")
    addresses = [_split(f"redis://{host}") for host in hosts]
    master, _, database = unquote(parts.path).strip("/").partition("/")
    if not master or (database and not (database.isascii() and database.isdigit())):
        raise ValueError("must end in /name-of-the-master or /name-of-the-master/database")
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    password = parameters.pop(_SENTINEL_PASSWORD, None)
    return SentinelUrl(
        sentinels=tuple((address.hostname or "", address.port or SENTINEL_PORT) for address in addresses),
        master=master,
        scheme=_SENTINEL_SCHEMES[scheme],
        credentials=before,
        database=int(database or 0),
        parameters=f"?{urlencode(parameters)}" if parameters else "",
        sentinel_password=password,
    )


def split_url(url: str) -> SplitResult:
    """Takes a URL apart. Raises ValueError, which does not quote it, if its host or port is wrong or it holds a '#'."""
    if "#" in url:
        raise ValueError("'#' must be written as %23")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise ValueError("the host or the port is malformed; a port is 1 to 65535") from exc
    if port == 0:
        raise ValueError("the port must be 1 to 65535")
    return parts


def _around_hosts(rest: str) -> tuple[str, list[str], str]:
    """Splits what follows ``://`` into the credentials with their @, the hosts, and the path with its parameters."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    before, at, hosts = authority.rpartition("@")
    named = [host.strip() for host in hosts.split(",")]
    if len(named) > 1 and not all(named):
        raise ValueError("one of the hosts is empty")
    return before + at, named, rest[len(authority) :]


def _split(url: str) -> SplitResult:
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ValueError("it holds a space or a control character: percent-encode it")
    parts = split_url(url)
    if not parts.hostname and parts.scheme != "unix":
        raise ValueError("it names no host")
    return parts


def _check_parameters(parts: SplitResult, read: Callable[[str], Any]) -> None:
    """Lets the library read the URL with each parameter alone, so that the error names the one that is wrong."""
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        try:
            read(urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode({name: value}), "")))
        except Exception as exc:
            # The name is part of a password if that holds a question mark.
            shown = name if _PARAMETER.fullmatch(name) else "(not shown)"
            raise ValueError(f"parameter {shown}: unknown, or its value cannot be used ({type(exc).__name__})") from exc
    try:
        read(parts.geturl())
    except Exception as exc:
        raise ValueError("it cannot be read; each parameter may be given once") from exc


def _amqp_parameters(url: str) -> None:
    for name, value in _once(parse_qsl(urlsplit(url).query, keep_blank_values=True)):
        check_parameter(name, value)


def _once(parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if len({name for name, _ in parameters}) < len(parameters):
        raise ValueError("a parameter is given twice")
    return parameters


def _redis_connection(url: str) -> None:
    connection: Any = redis.asyncio.ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    if isinstance(connection, redis.asyncio.SSLConnection):
        # This reads the files of certificates.
        connection.ssl_context.get()
