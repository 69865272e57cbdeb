"""Defines the types of settings, and the base class of their groups.

A group is a frozen model with one field per setting. ``variable`` gives the environment name of a field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from shared.settings.addresses import check_amqp, check_database, check_proxy, check_redis

_USUAL_PORTS = {"http": 80, "https": 443}


class Group(BaseModel):
    """Holds settings that belong together. They are checked when the group is made, and never change afterwards."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        validate_by_alias=True,
        validate_by_name=True,
        hide_input_in_errors=True,
    )


def variable(name: str) -> Any:
    """Says which environment variable sets a field.

    ``{CHANNEL}`` in ``name`` stands for the channel's name, in the groups that exist once per channel.
    """
    return Field(validation_alias=name)


def words(value: Any) -> Any:
    """Splits comma-separated text into its words; leaves everything else as it is."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _split(value: Any) -> Any:
    return tuple(value.split(",")) if isinstance(value, str) else value


def _address(check: Callable[[str], None]) -> AfterValidator:
    """Accepts a URL that ``check`` accepts. Its errors do not show the URL, because it may hold a password."""

    def checked(value: SecretStr) -> SecretStr:
        check(value.get_secret_value())
        return value

    return AfterValidator(checked)


def _hosts(value: str) -> str:
    hosts = words(value)
    if not hosts or any(c.isspace() or c in "/@?#" for host in hosts for c in host):
        raise ValueError("must be host or host:port, or several of them, separated by commas")
    if not all(_has_readable_port(f"//{host}") for host in hosts):
        raise ValueError("a port must be 1 to 65535")
    return ",".join(hosts)


def _has_readable_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _ascending(levels_s: tuple[float, ...]) -> tuple[float, ...]:
    if list(levels_s) != sorted(set(levels_s)):
        raise ValueError("each value must be greater than the one before")
    return levels_s


def origins(values: tuple[str, ...]) -> tuple[str, ...]:
    """Returns ``values`` unchanged. Raises ValueError if one of them is no origin of a page."""
    for number, value in enumerate(values, 1):
        if not _is_origin(value):
            raise ValueError(
                f"entry {number} must be an origin as browsers send it, for example https://app.example.org: in lower "
                "case, without a path, and with a port only if it is not the usual one"
            )
    return values


def _is_origin(value: str) -> bool:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    # It is compared character by character with what a browser sends, so another form of it would never match.
    usual = port is not None and port in (0, _USUAL_PORTS.get(parts.scheme))
    return (
        value == f"{parts.scheme}://{parts.netloc}".lower() and bool(parts.hostname) and "@" not in value and not usual
    )


DatabaseUrl = Annotated[SecretStr, _address(check_database)]
AmqpUrl = Annotated[SecretStr, _address(check_amqp)]
ProxyUrl = Annotated[SecretStr, _address(check_proxy)]
RedisUrl = Annotated[SecretStr, _address(check_redis)]
#: one host or host:port, or several, separated by commas
Hosts = Annotated[str, AfterValidator(_hosts)]
Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
#: a whole number, 1 or more
Count = Annotated[int, Field(ge=1)]
#: a fraction: above 0, at most 1
Share = Annotated[float, Field(gt=0, le=1)]
#: comma-separated text
Words = Annotated[tuple[str, ...], BeforeValidator(words)]
#: comma-separated origins of pages
Origins = Annotated[Words, AfterValidator(origins)]
#: comma-separated seconds, each greater than the one before
RisingSeconds = Annotated[tuple[Seconds, ...], BeforeValidator(_split), AfterValidator(_ascending)]
