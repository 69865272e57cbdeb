"""Every setting of the product, read once from the environment and ``.env``, checked whole, silent about secrets.

This is the only file that reads the environment. ``load_settings`` names every bad variable at once.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.errors import BadSettings
from shared.message.channels import CHANNELS, ChannelDefaults

_API_KEY = re.compile(r"([A-Za-z0-9_.-]{1,64}):((?:send|operate)(?:\+(?:send|operate))*):([0-9a-f]{64})")
_CONFIG = SettingsConfigDict(
    frozen=True,
    env_file=".env",
    env_file_encoding="utf-8",
    extra="ignore",
    env_ignore_empty=True,
    hide_input_in_errors=True,
)


class ApiKey(BaseModel):
    """One live key of one client; only its SHA-256 is known here."""

    model_config = ConfigDict(frozen=True)
    client: str
    scopes: frozenset[str]
    sha256: str


def _numbers(value: Any) -> Any:
    return tuple(value.split(",")) if isinstance(value, str) else value


def _words(value: Any) -> Any:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _keys(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    keys = []
    for number, entry in enumerate(_words(value), 1):
        match = _API_KEY.fullmatch(entry)
        if match is None:
            raise ValueError(f"entry {number} is not client:send+operate:<sha256 hex>")
        keys.append(ApiKey(client=match[1], scopes=frozenset(match[2].split("+")), sha256=match[3]))
    return tuple(keys)


def _address(*schemes: str) -> AfterValidator:
    """A URL with one of ``schemes``. What is wrong is said without the URL: it may hold a password."""

    def check(value: SecretStr) -> SecretStr:
        scheme, separator, _ = value.get_secret_value().partition("://")
        if scheme not in schemes or not separator or not _has_readable_port(value.get_secret_value()):
            raise ValueError(f"must be {' or '.join(f'{scheme}://' for scheme in schemes)}...; a port is 1 to 65535")
        return value

    return AfterValidator(check)


def _host_and_port(value: str) -> str:
    if any(c.isspace() or c in "/@?#" for c in value) or not _has_readable_port(f"//{value}"):
        raise ValueError("must be host or host:port")
    return value


def _has_readable_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


AmqpUrl = Annotated[SecretStr, _address("amqp", "amqps")]
RedisUrl = Annotated[SecretStr, _address("redis", "rediss", "unix")]
Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=1, le=65535)]


class ChannelSettings(BaseSettings):
    """What is set a channel; the variables carry the channel's name (``PUSH_PORT``, ``MAX_ATTEMPTS_PUSH``)."""

    model_config = _CONFIG
    port: Port
    processes: Annotated[int, Field(ge=0, le=64)] = 1
    providers: SecretStr | None = None
    max_attempts: Annotated[int, Field(ge=1, le=1000)]
    retry_cap_s: Seconds
    expires_s: Seconds

    @property
    def provider_urls(self) -> tuple[str, ...]:
        """The provider URLs in order of preference; () if none is set. They hold secrets."""
        return _words(self.providers.get_secret_value()) if self.providers else ()


def _channel_model(channel: ChannelDefaults) -> type[ChannelSettings]:
    name = channel.name.upper()

    def field(kind: Any, variable: str, default: Any) -> Any:
        return (kind, Field(default=default, validation_alias=variable))

    model: type[ChannelSettings] = create_model(
        f"{channel.name.capitalize()}Settings",
        __base__=ChannelSettings,
        port=field(Port, f"{name}_PORT", channel.worker_port),
        processes=field(Annotated[int, Field(ge=0, le=64)], f"{name}_PROCESSES", 1),
        providers=field(SecretStr | None, f"{name}_PROVIDERS", None),
        max_attempts=field(Annotated[int, Field(ge=1, le=1000)], f"MAX_ATTEMPTS_{name}", channel.max_attempts),
        retry_cap_s=field(Seconds, f"RETRY_CAP_S_{name}", channel.retry_cap_s),
        expires_s=field(Seconds, f"EXPIRES_S_{name}", channel.expires_s),
    )
    return model


class Settings(BaseSettings):
    """``.env.example`` describes each; times are in seconds."""

    model_config = _CONFIG

    notify_env: Literal["development", "production"] = "development"
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    rabbitmq_url: AmqpUrl | None = None
    rabbitmq_host: Annotated[str, AfterValidator(_host_and_port)] = "localhost:5672"
    redis_url: RedisUrl | None = None
    redis_host: str = "localhost"
    redis_port: Port = 6379
    redis_password: SecretStr | None = None
    cache_redis_url: RedisUrl | None = None

    # They may hold a user and a password too.
    user_endpoint: str | None = Field(default=None, repr=False)
    template_endpoint: str | None = Field(default=None, repr=False)
    source_ttl_s: Seconds = 60
    source_timeout_s: Seconds = 3
    source_cache_entries: Annotated[int, Field(ge=1)] = 10_000
    firebase_key: SecretStr | None = None
    #: where the stand-in providers listen in development
    sandbox_host: str = "127.0.0.1"
    sandbox_port: Port = 5070
    sandbox_smtp_port: Port = 5025

    api_keys: Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_keys)] = ()
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)] = ()
    gateway_host: str | None = None
    gateway_port: Port = 5050
    gateway_processes: Annotated[int, Field(ge=1, le=64)] = 1
    #: where a worker's /health and /metrics listen
    worker_host: str | None = None
    #: which replica of its channel a worker is; its port is the channel's + 10 times this
    notify_replica: Annotated[int, Field(ge=0, le=1000)] = 0

    prefetch: Annotated[int, Field(ge=1, le=4096)] = 256
    publish_deadline_s: Seconds = 5
    publish_max_pending: Annotated[int, Field(ge=1)] = 5_000
    queue_max_ready: Annotated[int, Field(ge=1)] = 1_000_000
    shutdown_s: Seconds = 25

    retry_levels_s: Annotated[tuple[Seconds, ...], NoDecode, BeforeValidator(_numbers)] = (1, 5, 15, 60, 300, 900, 3600)
    retry_base_s: Seconds = 10
    retry_min_s: Seconds = 1

    handling_budget_s: Seconds = 25
    lease_s: Seconds = 60
    done_ttl_s: Seconds = 259_200
    accepted_ttl_s: Seconds = 86_400
    idempotency_on_redis_down: Literal["pause", "proceed"] = "pause"
    redis_record_patience_s: Seconds = 10

    breaker_failures: Annotated[int, Field(ge=1)] = 5
    breaker_window_s: Seconds = 30
    breaker_window_calls: Annotated[int, Field(ge=1)] = 20
    breaker_failure_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    breaker_slow_rate: Annotated[float, Field(gt=0, le=1)] = 0.8
    breaker_slow_s: Seconds = 5
    breaker_open_s: Seconds = 30
    breaker_open_max_s: Seconds = 300
    breaker_successes: Annotated[int, Field(ge=1)] = 3
    #: longest that a paused worker keeps messages in hand (the broker's ack timeout is 30 minutes)
    pause_hold_s: Seconds = 300
    pause_probe_s: Seconds = 1
    heartbeat_s: Seconds = 2

    channels: dict[str, ChannelSettings] = Field(default_factory=dict, validation_alias="NOTIFY_CHANNELS_ARE_NOT_READ")

    @property
    def production(self) -> bool:
        return self.notify_env == "production"

    @property
    def rabbitmq(self) -> str:
        """AMQP URL; it may hold a password."""
        if self.rabbitmq_url is not None:
            return self.rabbitmq_url.get_secret_value()
        host = self.rabbitmq_host
        return f"amqp://guest:guest@{host if ':' in host else f'{host}:5672'}/%2F"

    @property
    def redis(self) -> str:
        """Redis URL; it may hold a password."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        secret = f":{quote(self.redis_password.get_secret_value(), safe='')}@" if self.redis_password else ""
        return f"redis://{secret}{self.redis_host}:{self.redis_port}/0"

    @property
    def listen_host(self) -> str:
        """Where the gateway listens: this machine only, unless in production or set."""
        return self.gateway_host or ("0.0.0.0" if self.production else "127.0.0.1")

    @property
    def worker_listen_host(self) -> str:
        return self.worker_host or ("0.0.0.0" if self.production else "127.0.0.1")

    @cached_property
    def sandbox_url(self) -> str:
        return f"http://{self.sandbox_host}:{self.sandbox_port}"

    @property
    def users_url(self) -> str | None:
        """The directory; the sandbox's in development unless one is set."""
        return self.user_endpoint or (None if self.production else f"{self.sandbox_url}/users")

    @property
    def templates_url(self) -> str | None:
        return self.template_endpoint or (None if self.production else f"{self.sandbox_url}/templates")

    # Checked a field at a time, so that each is named beside whatever else is wrong. What a field is compared with
    # stands above it, and is missing from ``data`` if it is wrong itself.

    @field_validator("retry_levels_s")
    @classmethod
    def _rise(cls, levels_s: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels_s) != sorted(set(levels_s)):
            raise ValueError("must rise")
        return levels_s

    @field_validator("lease_s")
    @classmethod
    def _outlast_two_handlings(cls, lease_s: float, info: ValidationInfo) -> float:
        budget_s = info.data.get("handling_budget_s")
        if budget_s is not None and lease_s <= 2 * budget_s:
            raise ValueError(f"must be longer than twice HANDLING_BUDGET_S ({budget_s:g})")
        return lease_s

    @field_validator("breaker_open_max_s")
    @classmethod
    def _reach_the_first_stay(cls, longest_s: float, info: ValidationInfo) -> float:
        if longest_s < info.data.get("breaker_open_s", 0):
            raise ValueError("must not be below BREAKER_OPEN_S")
        return longest_s


def load_settings(env_file: str | None = ".env", **overrides: Any) -> Settings:
    """Read everything. Raises BadSettings naming each bad variable; ``overrides`` win, unchecked, for tests."""
    problems: list[tuple[str, str]] = []
    channels: dict[str, ChannelSettings] = {}
    for channel in CHANNELS.values():
        try:
            channels[channel.name] = _channel_model(channel)(_env_file=env_file)  # type: ignore[call-arg]
        except ValidationError as exc:
            problems += _problems(exc)
    try:
        settings = Settings(_env_file=env_file)  # type: ignore[call-arg]
        settings = settings.model_copy(update={"channels": channels, **overrides})
    except ValidationError as exc:
        problems += _problems(exc)
    if problems:
        raise BadSettings(sorted(set(problems)))
    return settings


def _problems(exc: ValidationError) -> list[tuple[str, str]]:
    return [
        (str(e["loc"][0]).upper() if e["loc"] else "", e["msg"].removeprefix("Value error, "))
        for e in exc.errors(include_url=False, include_input=False)
    ]
