"""Builds a channel's providers from its setting (``PUSH_PROVIDERS``, for example), in order of preference.

An entry is ``scheme://[user[:password]@][host[:port]][/path]?option=value``. User, password and options may be
percent-encoded, and must be if they contain one of ``, / ? # @ : & %``; a ``+`` is a plus sign. Error texts name the
variable and the entry's number, never the entry itself, because it holds secrets.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, unquote

import structlog

from shared.errors import BadSettings
from shared.providers.provider import Provider
from shared.settings.addresses import split_url
from shared.settings.settings import Settings

_log = structlog.get_logger(__name__)

DEFAULT_TIMEOUT_S = 10.0
#: The providers of channels that need no vendor: they are part of the product.
BUILT_IN: Mapping[str, tuple[str, ...]] = {"websocket": ("inbox://",)}
_FLAGS = {"1": True, "0": False}


@dataclass(frozen=True, slots=True)
class ProviderUrl:
    """Holds one entry, split and decoded. Its methods raise BadSettings that names the variable and the entry."""

    variable: str
    entry: int
    scheme: str
    #: Unique in the channel: fcm, smtp, smtp2.
    name: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    #: '' if none is given.
    host: str = ""
    port: int | None = None
    #: Without leading and trailing slashes.
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def problem(self, why: str) -> BadSettings:
        return BadSettings([(self.variable, f"entry {self.entry} ({self.scheme}): {why}")])

    def allow(self, *names: str) -> None:
        """Refuses every option except these and ``timeout``, so that a misspelt one is noticed. Raises BadSettings."""
        for name in self.options:
            if name not in names and name != "timeout":
                raise self.problem(f"unknown option {name!r}; use {', '.join(sorted({*names, 'timeout'}))}")

    def required(self, name: str) -> str:
        value = self.options.get(name, "")
        if not value:
            raise self.problem(f"option {name} is required")
        return value

    def flag(self, name: str) -> bool | None:
        """Returns True for 1, False for 0, None if the option is not given."""
        value = self.options.get(name)
        if value is None:
            return None
        if value not in _FLAGS:
            raise self.problem(f"option {name} must be 0 or 1")
        return _FLAGS[value]

    def positive(self, name: str, default: float) -> float:
        value = self.options.get(name)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError as exc:
            raise self.problem(f"option {name} must be a number") from exc
        if not 0 < number < 86_400:
            raise self.problem(f"option {name} must be above 0 and below 86400")
        return number

    @property
    def timeout_s(self) -> float:
        return self.positive("timeout", DEFAULT_TIMEOUT_S)

    def http_base(self, vendor_host: str) -> str:
        """Returns ``https://host[:port]``, with the vendor's host unless one is given; ``http`` if ``tls=0``."""
        plain = self.flag("tls") is False
        host = self.host or vendor_host
        if plain:
            self.warn_if_readable(host)
        return f"{'http' if plain else 'https'}://{_bracketed(host)}{f':{self.port}' if self.port else ''}"

    def warn_if_readable(self, host: str) -> None:
        """Logs a warning if credentials and messages would cross a network unencrypted."""
        if not is_loopback(host):
            _log.warning("provider_without_tls", provider=self.name, host=host)


Builder = Callable[[ProviderUrl, Settings], Provider[Any]]


def is_loopback(host: str) -> bool:
    """Tells whether ``host`` is ``localhost`` or a loopback address; it resolves no names."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def providers_for(channel: str, builders: Mapping[str, Builder], settings: Settings) -> tuple[Provider[Any], ...]:
    """Builds the channel's providers: the configured ones, else the built-in, else in development the sandbox's.

    Raises BadSettings that names every bad entry.
    """
    urls = known_urls(channel, settings)
    if not urls:
        urls = development_urls(channel, settings)
        _log.warning("sandbox_providers", channel=channel, variable=_variable(channel), providers=len(urls))
    providers: list[Provider[Any]] = []
    problems: list[tuple[str, str]] = []
    for url in parse_provider_urls(urls, builders, channel):
        try:
            providers.append(_build(url, builders[url.scheme], settings))
        except BadSettings as exc:
            problems += exc.problems
    if problems:
        raise BadSettings(problems)
    return tuple(providers)


def known_urls(channel: str, settings: Settings) -> tuple[str, ...]:
    """Returns the configured entries of a channel, else its built-in ones; () if it has neither."""
    return settings.channels[channel].provider_urls or BUILT_IN.get(channel, ())


def _build(url: ProviderUrl, builder: Builder, settings: Settings) -> Provider[Any]:
    if "timeout" in url.options and url.timeout_s >= settings.idempotency.handling_budget_s:
        raise url.problem(
            f"option timeout must be below HANDLING_BUDGET_S ({settings.idempotency.handling_budget_s:g})"
        )
    return builder(url, settings)


def parse_provider_urls(urls: Sequence[str], schemes: Collection[str], channel: str) -> tuple[ProviderUrl, ...]:
    """Splits and names the entries. Raises BadSettings that names every bad one."""
    parsed: list[ProviderUrl] = []
    problems: list[tuple[str, str]] = []
    seen: Counter[str] = Counter()
    for entry, text in enumerate(urls, 1):
        try:
            parts = _split(text, schemes)
            seen[parts.scheme] += 1
            number = seen[parts.scheme]
            name = parts.scheme if number == 1 else f"{parts.scheme}{number}"
            parsed.append(_decoded(parts, _variable(channel), entry, name))
        except ValueError as exc:
            problems.append((_variable(channel), f"entry {entry}: {exc}"))
    if problems:
        raise BadSettings(problems)
    return tuple(parsed)


def development_urls(channel: str, settings: Settings) -> tuple[str, ...]:
    """Returns URLs that use the sandbox as this channel's vendors. Raises BadSettings in production."""
    if settings.production:
        raise BadSettings([(_variable(channel), "required with NOTIFY_ENV=production: name at least one provider")])
    http = f"{_bracketed(settings.sandbox.host)}:{settings.sandbox.port}"
    smtp = f"{_bracketed(settings.sandbox.host)}:{settings.sandbox.smtp_port}"
    callback = quote(f"http://{http}/sandbox/callback", safe="")
    by_channel = {
        "push": (f"fcm://{http}/sandbox?tls=0",),
        "email": tuple(
            f"smtp://{account}:sandbox@{smtp}?from=notify@sandbox.example&starttls=0" for account in ("smtp", "smtp2")
        ),
        "sms": (
            f"twilio://sandbox:sandbox@{http}?from=+15005550006&callback={callback}&tls=0",
            f"vonage://sandbox:sandbox@{http}?from=Notify&tls=0",
        ),
    }
    return by_channel[channel]


def _variable(channel: str) -> str:
    return f"{channel.upper()}_PROVIDERS"


def _split(text: str, schemes: Collection[str]) -> SplitResult:
    scheme, separator, _ = text.partition("://")
    if not separator:
        raise ValueError("must be scheme://...")
    if scheme not in schemes:
        # A secret that was pasted before :// must not reach the log.
        shown = repr(scheme) if scheme.isalnum() and len(scheme) <= 16 else "(not shown)"
        raise ValueError(f"unknown scheme {shown}; use {', '.join(sorted(schemes))}")
    return split_url(text)


def _decoded(parts: SplitResult, variable: str, entry: int, name: str) -> ProviderUrl:
    return ProviderUrl(
        variable=variable,
        entry=entry,
        scheme=parts.scheme,
        name=name,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=parts.hostname or "",
        port=parts.port,
        path=unquote(parts.path.strip("/")),
        options=_options(parts.query),
    )


def _options(query: str) -> dict[str, str]:
    # parse_qs is not used, because it reads the plus sign of a phone number as a space.
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    options = {unquote(name): unquote(value) for name, _, value in pairs}
    if len(options) < len(pairs):
        raise ValueError("an option is given twice")
    return options


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
