"""Checks the parameters of an AMQP URL by pika's rules (pika.URLParameters, version 1.4), without pika."""

from __future__ import annotations

import ast
import ssl
from collections.abc import Callable
from typing import Any

#: The bounds of AMQP 0-9-1 that pika applies: channel numbers have 16 bits; a frame has 4 KiB to 128 KiB.
_CHANNELS, _FRAME_BYTES = (0, 65_535), (4_096, 131_072)


def check_parameter(name: str, value: str) -> None:
    """Raises an error of any type if pika does not know the parameter or cannot use its value."""
    _RULES[name](value)


def _whole(least: int, most: float = float("inf")) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not least <= int(value) <= most:
            raise ValueError(f"must be {least} to {most}")

    return check


def _seconds(value: str) -> None:
    if not float(value) > 0:
        raise ValueError("must be above 0")


def _seconds_or_none(value: str) -> None:
    if not float(value) >= 0:
        raise ValueError("must not be negative")


def _dictionary(value: str) -> dict[str, Any]:
    options = ast.literal_eval(value)
    if not isinstance(options, dict):
        raise TypeError("must be a dictionary")
    return options


def _tls(value: str) -> None:
    """Reads the files as pika does: an authority is needed, a certificate of one's own is not."""
    options = _dictionary(value)
    context = ssl.SSLContext(options.get("protocol", ssl.PROTOCOL_TLS_CLIENT))
    context.load_verify_locations(
        options.get("ca_certs") or options.get("cafile"),
        options.get("ca_path") or options.get("capath"),
        options.get("ca_data") or options.get("cadata"),
    )
    if "certfile" in options:
        context.load_cert_chain(options["certfile"], options.get("keyfile"), options.get("password"))
    if "ciphers" in options:
        context.set_ciphers(options["ciphers"])


_RULES: dict[str, Callable[[str], Any]] = {
    "blocked_connection_timeout": _seconds_or_none,
    "channel_max": _whole(*_CHANNELS),
    "client_properties": _dictionary,
    "connection_attempts": _whole(1),
    "frame_max": _whole(*_FRAME_BYTES),
    "heartbeat": _whole(0),
    "locale": str.encode,
    "retry_delay": _seconds_or_none,
    "socket_timeout": _seconds,
    "ssl_options": _tls,
    "stack_timeout": _seconds,
    "tcp_options": _dictionary,
}
