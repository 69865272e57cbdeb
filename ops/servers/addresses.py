"""Finds out at which addresses a server given by a URL can be reached, and whether anything listens there."""

import socket
from urllib.parse import urlsplit

from ops.errors import OpsError
from shared.settings.addresses import amqp_urls, database_hosts, is_sentinel, sentinel_url

_DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671, "redis": 6379, "rediss": 6379}

#: a host and a port, or the path of a socket
Address = tuple[str, int] | str


def addresses_of(url: str) -> list[Address]:
    """Returns every address that the URL names, in the order in which they are tried."""
    if url.startswith("unix://"):
        return [urlsplit(url).path]
    if is_sentinel(url):
        return list(sentinel_url(url).sentinels)
    if url.startswith("postgres"):
        return list(database_hosts(url))
    return [_address(each) for each in (amqp_urls(url) if url.startswith("amqp") else (url,))]


def shown_addresses(url: str) -> str:
    """Returns the addresses for people; never a password."""
    return ", ".join(map(_shown, addresses_of(url)))


def shown_database(url: str) -> str:
    """Returns the database for people: its file, or its server; never a password."""
    if url.startswith("sqlite:///"):
        return f"SQLite, {url.removeprefix('sqlite:///')}"
    return f"PostgreSQL, {shown_addresses(url)}"


def check_address(name: str, url: str, setting: str, timeout_s: float = 5.0) -> None:
    """Raises OpsError, whose text does not contain the password, if nothing listens at any address of the URL."""
    complaint: OSError | None = None
    for address in addresses_of(url):
        try:
            _connect(address, timeout_s)
        except OSError as exc:
            complaint = exc
        else:
            return
    raise OpsError(f"{name} at {shown_addresses(url)} ({setting}) does not answer: {complaint}") from complaint


def _address(url: str) -> Address:
    parts = urlsplit(url)
    return parts.hostname or "localhost", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _shown(address: Address) -> str:
    if isinstance(address, str):
        return address
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _connect(address: Address, timeout_s: float) -> None:
    if not isinstance(address, str):
        socket.create_connection(address, timeout=timeout_s).close()
        return
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        client.connect(address)
