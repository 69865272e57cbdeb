"""Checks that settings are read once and checked together, that every bad one is named at once without showing
secrets, and that each is described.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import BadSettings
from shared.settings.addresses import amqp_urls, database_hosts, sentinel_url
from shared.settings.load import load_settings, read_variables, settings_from, variables_of

ROOT = Path(__file__).parents[3]

BAD = {
    "NOTIFY_ENV": "staging",
    "LOG_LEVEL": "LOUD",
    "RABBITMQ_URL": "rabbit.example.org",
    "RABBITMQ_HOST": "rabbit.example.org:99999",
    "REDIS_URL": "http://redis.example.org",
    "REDIS_PORT": "0",
    "CACHE_REDIS_URL": "redis://redis.example.org:port",
    "DATABASE_URL": "mysql://db.example.org/notify",
    "INBOX_DAYS": "0",
    "GATEWAY_PORT": "65536",
    "PREFETCH": "many",
    "PUBLISH_DEADLINE_S": "-1",
    "RETRY_LEVELS_S": "1,five",
    "API_KEYS": "shop:send:0123",
    "BREAKER_FAILURE_RATE": "1.5",
    "PUSH_PORT": "0",
    "EMAIL_PROCESSES": "x",
    "MAX_ATTEMPTS_SMS": "0",
    "EXPIRES_S_EMAIL": "0",
    "SOCKET_AUTH": "sometimes",
    "SOCKET_TOKEN_KEYS": "one:short",
    "SOCKET_ORIGINS": "app.example.org",
}
UNSEEN = "not-to-be-seen"


@pytest.fixture(autouse=True)
def _only_what_the_test_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(os.environ) & {*_settings_by_name(), *BAD}:
        monkeypatch.delenv(name)


def problems(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, str]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as caught:
        load_settings(env_file=None)
    return dict(caught.value.problems)


def test_every_bad_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, **BAD).keys() == BAD.keys()


def refused_start(module: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Starts a process with ``variables`` alone. It must exit with 2, and without a traceback."""
    process = subprocess.run(
        [sys.executable, "-m", module],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    return process


@pytest.mark.parametrize("module", ["services.push", "services.email", "services.sms", "services.websocket", "gateway"])
def test_a_process_with_bad_settings_names_them_all_and_exits_2(module: str, tmp_path: Path) -> None:
    named = {line.partition(":")[0] for line in refused_start(module, tmp_path, **BAD).stderr.splitlines()}
    assert named == BAD.keys()


def test_the_gateway_does_not_start_in_production_without_keys(tmp_path: Path) -> None:
    assert "API_KEYS" in refused_start("gateway", tmp_path, NOTIFY_ENV="production").stderr


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"LEASE_S": "50"}, "LEASE_S"),
        ({"HANDLING_BUDGET_S": "30"}, "LEASE_S"),
        ({"RETRY_LEVELS_S": "5,1"}, "RETRY_LEVELS_S"),
        ({"RETRY_LEVELS_S": "1,1"}, "RETRY_LEVELS_S"),
        ({"BREAKER_OPEN_MAX_S": "29"}, "BREAKER_OPEN_MAX_S"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problems(monkeypatch, **variables).keys() == {named}


def test_settings_that_exclude_each_other_are_named_beside_those_that_are_wrong_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    excluding = {"LEASE_S": "50", "BREAKER_OPEN_MAX_S": "29", "RETRY_LEVELS_S": "5,1"}
    assert problems(monkeypatch, **excluding, PREFETCH="0").keys() == {*excluding, "PREFETCH"}


# -- secrets ------------------------------------------------------------------------------------------------------


def test_secrets_are_in_no_text_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "RABBITMQ_URL": f"amqp://user:{UNSEEN}@rabbit.example.org/",
        "REDIS_URL": f"redis://:{UNSEEN}@redis.example.org",
        "REDIS_PASSWORD": UNSEEN,
        "CACHE_REDIS_URL": f"redis://:{UNSEEN}@cache.example.org",
        "USER_ENDPOINT": f"https://user:{UNSEEN}@users.example.org",
        "TEMPLATE_ENDPOINT": f"https://user:{UNSEEN}@templates.example.org",
        "FIREBASE_KEY": UNSEEN,
        "SOCKET_TOKEN_KEYS": f"one:{UNSEEN:0>32}",
        "EMAIL_PROVIDERS": f"smtp://user:{UNSEEN}@mail.example.org?from=a@b.example",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(env_file=None)
    assert UNSEEN in settings.broker.url
    assert UNSEEN in settings.channels["email"].provider_urls[0]
    assert UNSEEN in settings.sockets.token_keys[0].secret.get_secret_value()
    assert UNSEEN not in repr(settings) + str(settings) + repr(settings.channels)


@pytest.mark.parametrize(
    "variable", ["RABBITMQ_URL", "REDIS_URL", "CACHE_REDIS_URL", "RABBITMQ_HOST", "API_KEYS", "REDIS_PORT"]
)
def test_what_is_wrong_is_said_without_the_value(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = problems(monkeypatch, **{variable: f"u:{UNSEEN}@h"})
    assert said.keys() == {variable}
    assert UNSEEN not in str(said)


def test_a_bad_provider_is_named_by_the_process_without_its_secrets(tmp_path: Path) -> None:
    urls = f"smtp://me:{UNSEEN}@mail.example.org,pigeon://{UNSEEN}@loft"
    process = refused_start("services.email", tmp_path, EMAIL_PROVIDERS=urls)
    assert "EMAIL_PROVIDERS: entry 2" in process.stderr
    assert UNSEEN not in process.stderr + process.stdout


# -- what would otherwise be ignored ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("GATEWAY_PROT", "GATEWAY_PORT"),
        ("PUSH_PROVIDER", "PUSH_PROVIDERS"),
        ("EMAIL_PROCESES", "EMAIL_PROCESSES"),
        ("FIREBASE-KEY", "FIREBASE_KEY"),
        ("RETRY_CAP_S_SMSS", "RETRY_CAP_S_SMS"),
        ("APIKEYS", "API_KEYS"),
        ("LAESE_S", "LEASE_S"),
    ],
)
def test_a_misspelt_variable_is_named(variable: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, **{variable: "1", "PREFETCH": "0"}) == {
        variable: f"there is no such setting; did you mean {meant}?",
        "PREFETCH": "Input should be greater than or equal to 1",
    }


def test_a_variable_of_another_program_is_not_taken_for_a_misspelt_one(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = {
        # Kubernetes sets these for services of the same namespace.
        "RABBITMQ_PORT": "tcp://10.0.0.1:5672",
        "REDIS_SERVICE_HOST": "10.0.0.2",
        "WORKER_PORT": "80",
        # Another program's, because ours is set beside it.
        "REDIS_URI": "redis://10.0.0.2",
        "REDIS_URL": "redis://10.0.0.2",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    assert load_settings(env_file=None).redis.url == "redis://10.0.0.2"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"PREFETCH=8\nGATEWAY_PORT 5051\n", "line 2"),
        (b"PREFETCH=8\n\nPUSH_PORT\n", "line 3"),
        (f"# a comment\nREDIS_PASSWORD='{UNSEEN}\n".encode(), "line 2"),
        (f'FIREBASE_KEY={{\n  "private_key": "{UNSEEN}"\n}}\n'.encode(), "line 2"),
        (b"PREFETCH=8\nREDIS_PASSWORD=\xff\n", "line 2: is not UTF-8"),
        (f"GATEWAY_PORT: {UNSEEN}\n".encode(), "line 1"),
    ],
    ids=["no equals sign", "a name alone", "quote not closed", "several lines", "not UTF-8", "YAML"],
)
def test_a_broken_line_of_the_file_is_named_and_not_shown(content: bytes, named: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(BadSettings) as caught:
        load_settings(env_file=str(tmp_path / ".env"))
    assert named in str(caught.value)
    assert UNSEEN not in str(caught.value)
    assert read_variables(str(tmp_path / ".env"), skip_unreadable=True).keys() >= set(os.environ)


def test_a_file_that_is_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="cannot be read: Is a directory"):
        load_settings(env_file=str(tmp_path))


def test_the_first_name_of_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PREFETCH=8\n", encoding="utf-8-sig")
    assert load_settings(env_file=str(tmp_path / ".env")).worker.prefetch == 8


# -- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("RABBITMQ_URL", "amqp://h/?cacertfile=/x", "parameter cacertfile"),
        ("RABBITMQ_URL", "amqp://h/?heartbeat=often", "parameter heartbeat"),
        ("RABBITMQ_URL", "amqps://h/?ssl_options={'ca_certs':'/missing'}", "parameter ssl_options"),
        ("RABBITMQ_URL", "amqp://h/?frame_max=8192&frame_max=8192", "each parameter may be given once"),
        ("RABBITMQ_URL", "amqp://one,two/?channel_max=99999999", "parameter channel_max"),
        ("RABBITMQ_URL", "amqp://user@h", "the user has no password"),
        ("RABBITMQ_URL", "amqp://h/a/b", "write it as %2F"),
        ("RABBITMQ_URL", f"amqp://u:{UNSEEN}#@h", "'#' must be written as %23"),
        ("RABBITMQ_URL", f"amqp://u:x?{UNSEEN}@h", "malformed"),
        ("RABBITMQ_URL", "amqp://one,,two", "one of the hosts is empty"),
        ("RABBITMQ_URL", "amqp://one,two:0", "the port must be"),
        ("RABBITMQ_URL", "amqp://u:p@/", "it names no host"),
        ("RABBITMQ_HOST", "one,two:70000", "a port must be"),
        ("RABBITMQ_HOST", "one two", "separated by commas"),
        ("REDIS_URL", "redis://h/0?foo=1", "parameter foo"),
        ("REDIS_URL", "rediss://h/0?ssl_ca_certs=/missing", "parameter ssl_ca_certs"),
        ("REDIS_URL", "rediss://h?ssl_cert_reqs=perhaps", "parameter ssl_cert_reqs"),
        ("REDIS_URL", "redis://h/zero", "the database must be a number"),
        ("REDIS_URL", f"redis://:{UNSEEN}/@h", "malformed"),
        ("CACHE_REDIS_URL", "redis://h?socket_timeout=long", "parameter socket_timeout"),
        ("REDIS_URL", "redis+sentinel://one,two", "name-of-the-master"),
        ("REDIS_URL", "redis+sentinel://one,two/main/first", "name-of-the-master"),
        ("REDIS_URL", "redis+sentinel://one,two/main?foo=1", "parameter foo"),
        ("REDIS_URL", "redis+sentinel://one:port/main", "malformed"),
        ("DATABASE_URL", "notify.db", "must be postgresql://user:password@host/database or sqlite:///file"),
        ("DATABASE_URL", "sqlite://notify.db", "must be postgresql://"),
        ("DATABASE_URL", "sqlite:///", "must name a file"),
        ("DATABASE_URL", "sqlite:////var/lib/", "must name a file"),
        ("DATABASE_URL", "sqlite:///notify.db?mode=ro", "must name a file"),
        ("DATABASE_URL", f"postgresql://u:{UNSEEN}@h", "must name one database"),
        ("DATABASE_URL", f"postgresql://u:{UNSEEN}@h/a/b", "must name one database"),
        ("DATABASE_URL", f"postgresql://u:{UNSEEN}#@h/a", "'#' must be written as %23"),
        ("DATABASE_URL", "postgresql://one,two:0/a", "the port must be"),
        ("DATABASE_URL", "postgresql://h/a?options=-csynchronous_commit=off", "parameter options: unknown"),
        ("DATABASE_URL", "postgresql://h/a?sslmode=require&sslmode=disable", "a parameter is given twice"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_with_its_reason(
    variable: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = problems(monkeypatch, **{variable: value})
    assert said.keys() == {variable}
    assert why in said[variable]
    assert UNSEEN not in said[variable]


@pytest.mark.parametrize(
    ("value", "urls"),
    [
        ("amqp://h", ["amqp://h"]),
        (
            "amqps://u:p@one,two:5673/v?heartbeat=3",
            ["amqps://u:p@one/v?heartbeat=3", "amqps://u:p@two:5673/v?heartbeat=3"],
        ),
        ("amqp://u:p@one/v, amqps://x:y@two/w", ["amqp://u:p@one/v", "amqps://x:y@two/w"]),
        ("amqp://a%2Cb:c@[::1]:5,[::2]/%2F", ["amqp://a%2Cb:c@[::1]:5/%2F", "amqp://a%2Cb:c@[::2]/%2F"]),
    ],
)
def test_several_brokers_are_read_from_one_url(value: str, urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_URL", value)
    assert list(amqp_urls(load_settings(env_file=None).broker.url)) == urls


def test_several_brokers_are_read_from_one_list_of_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_HOST", "one, two:5673")
    urls = amqp_urls(load_settings(env_file=None).broker.url)
    assert urls == ("amqp://guest:guest@one:5672/%2F", "amqp://guest:guest@two:5673/%2F")


def test_a_sentinel_url_is_taken_apart() -> None:
    parts = sentinel_url("rediss+sentinel://me:a%2Fb@one,[::1]:5/main/2?sentinel_password=x%26y&client_name=z")
    assert parts.sentinels == (("one", 26379), ("::1", 5))
    assert (parts.master, parts.sentinel_password) == ("main", "x&y")
    assert parts.redis_url("10.0.0.1", 6379) == "rediss://me:a%2Fb@10.0.0.1:6379/2?client_name=z"
    assert "b@" not in repr(parts)


def test_the_database_is_a_file_below_the_checkout_unless_an_address_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_settings(env_file=None).database
    assert (found.file, found.url) == (ROOT / ".local/store/notify.db", f"sqlite:///{ROOT}/.local/store/notify.db")
    for value, file in {"sqlite:///data/a.db": ROOT / "data/a.db", "sqlite:////srv/a.db": Path("/srv/a.db")}.items():
        monkeypatch.setenv("DATABASE_URL", value)
        assert load_settings(env_file=None).database.file == file
    url = "postgresql://u:p%2F@one,[::1]:5433/notify?sslmode=require&target_session_attrs=any"
    monkeypatch.setenv("DATABASE_URL", url)
    found = load_settings(env_file=None).database
    assert (found.file, found.url, database_hosts(url)) == (None, url, [("one", 5432), ("::1", 5433)])
    assert "p%2F" not in repr(found)


# -- where they come from -----------------------------------------------------------------------------------------


def test_the_environment_wins_over_the_file_and_an_empty_value_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("PREFETCH=8\nPUSH_PORT=6001\nEMAIL_PORT=6002\nLEASE_S=\n")
    monkeypatch.setenv("EMAIL_PORT", "6003")
    monkeypatch.setenv("QUEUE_MAX_READY", "")
    monkeypatch.setenv("PREFETCH", "")
    settings = load_settings(env_file=str(file))
    assert (settings.worker.prefetch, settings.idempotency.lease_s, settings.gateway.queue_max_ready) == (
        8,
        60,
        1_000_000,
    )
    assert (settings.channels["push"].port, settings.channels["email"].port) == (6001, 6003)


def test_a_variable_may_be_written_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("queue_max_ready", "7")
    assert variables_of(load_settings(env_file=None))["QUEUE_MAX_READY"] == 7


def test_what_is_made_from_given_variables_does_not_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFETCH", "8")
    assert variables_of(settings_from({"LEASE_S": "99"}))["PREFETCH"] == 256


def test_an_override_wins_over_the_environment_and_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFETCH", "8")
    overridden = variables_of(load_settings(env_file=None, prefetch=9, max_attempts_sms=3))
    assert (overridden["PREFETCH"], overridden["MAX_ATTEMPTS_SMS"], overridden["MAX_ATTEMPTS_PUSH"]) == (9, 3, 8)
    with pytest.raises(BadSettings, match="LEASE_S"):
        load_settings(env_file=None, lease_s=1)


def test_an_override_that_sets_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match="prefetched"):
        load_settings(env_file=None, prefetched=9)


def test_a_variable_that_every_channel_reads_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRY_BASE_S", "0.5")
    channels = load_settings(env_file=None).channels.values()
    assert [channel.retry.base_s for channel in channels] == [0.5] * 4
    monkeypatch.setenv("RETRY_BASE_S", "0")
    with pytest.raises(BadSettings) as caught:
        load_settings(env_file=None)
    assert [name for name, _ in caught.value.problems] == ["RETRY_BASE_S"]


def test_each_channel_has_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_ATTEMPTS_SMS", "3")
    channels = load_settings(env_file=None).channels
    assert {name: channel.retry.max_attempts for name, channel in channels.items()} == {
        "push": 8,
        "email": 10,
        "sms": 3,
        "websocket": 8,
    }


def test_an_url_wins_over_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RABBITMQ_HOST", "rabbit")
    assert load_settings(env_file=None).broker.url == "amqp://guest:guest@rabbit:5672/%2F"
    monkeypatch.setenv("RABBITMQ_URL", "amqps://other/v")
    assert load_settings(env_file=None).broker.url == "amqps://other/v"


def test_a_redis_password_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "a/b@c:d")
    monkeypatch.setenv("REDIS_HOST", "redis")
    assert load_settings(env_file=None).redis.url == "redis://:a%2Fb%40c%3Ad@redis:6379/0"


def test_keys_are_read_with_their_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", f"shop:send:{'0' * 64}, ops:send+operate:{'1' * 64}")
    keys = load_settings(env_file=None).gateway.api_keys
    assert [(key.client, sorted(key.scopes)) for key in keys] == [("shop", ["send"]), ("ops", ["operate", "send"])]


def test_the_keys_of_tokens_are_read_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOCKET_TOKEN_KEYS", f"new:{'a' * 32}, old:{'b:' * 16}")
    keys = load_settings(env_file=None).sockets.token_keys
    assert [(key.kid, key.secret.get_secret_value()) for key in keys] == [("new", "a" * 32), ("old", "b:" * 16)]


@pytest.mark.parametrize("value", [f"one:{'a' * 31}", f":{'a' * 32}", f"one:{'a' * 32},one:{'b' * 32}"])
def test_a_key_of_tokens_without_a_name_of_its_own_and_32_bytes_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problems(monkeypatch, SOCKET_TOKEN_KEYS=value).keys() == {"SOCKET_TOKEN_KEYS"}


@pytest.mark.parametrize(
    "value",
    [
        *("https://a.example/path", "https://a.example/", "https://", "null", "https://u@a.example", "https://a:x"),
        # Browsers send an origin in lower case and without the usual port, so these would never match.
        *("https://A.example", "https://a.example:443", "http://a.example:80", "https://a.example:0"),
    ],
)
def test_an_origin_must_be_one_that_a_browser_sends(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = dict.fromkeys(("SOCKET_ORIGINS", "CORS_ORIGINS"), f"https://b.example, {value}")
    found = problems(monkeypatch, **variables)
    assert found.keys() == variables.keys()
    assert all("entry 2" in why for why in found.values())


@pytest.mark.parametrize(
    "value", ["https://a.example", "http://localhost:3000", "http://[::1]:8000", "app://localhost"]
)
def test_an_origin_may_have_any_scheme_and_port(value: str) -> None:
    settings = load_settings(env_file=None, socket_origins=value, cors_origins=value)
    assert settings.sockets.origins == settings.gateway.cors_origins == (value,)


def test_pages_of_every_origin_may_call_the_gateway_only_if_that_is_all_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_settings(env_file=None, cors_origins="*").gateway.cors_origins == ("*",)
    assert problems(monkeypatch, CORS_ORIGINS="*, https://a.example").keys() == {"CORS_ORIGINS"}
    assert problems(monkeypatch, SOCKET_ORIGINS="*").keys() == {"SOCKET_ORIGINS", "CORS_ORIGINS"}


def test_devices_need_no_proof_in_development_without_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(env_file=None).socket_auth == "open"
    assert load_settings(env_file=None, notify_env="production").socket_auth == "required"
    monkeypatch.setenv("SOCKET_TOKEN_KEYS", f"one:{'a' * 32}")
    assert load_settings(env_file=None).socket_auth == "required"
    assert load_settings(env_file=None, socket_auth="open").socket_auth == "open"


def test_production_listens_everywhere_with_its_gateway_alone_and_leans_on_no_sandbox(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    development = load_settings(env_file=None)
    assert development.listen_host == development.worker_listen_host == "127.0.0.1"
    assert development.users_url == "http://127.0.0.1:5070/users"
    monkeypatch.setenv("NOTIFY_ENV", "production")
    production = load_settings(env_file=None)
    assert (production.listen_host, production.worker_listen_host) == ("0.0.0.0", "127.0.0.1")
    assert (production.users_url, production.templates_url) == (None, None)


def test_nobody_changes_them_once_they_are_read() -> None:
    settings = load_settings(env_file=None)
    with pytest.raises(ValidationError):
        settings.worker.prefetch = 1
    with pytest.raises(ValidationError):
        settings.worker = settings.worker


# -- .env.example -------------------------------------------------------------------------------------------------


def _settings_by_name() -> dict[str, Any]:
    """Maps each variable that the code reads to its default."""
    from ops.settings import LocalSettings
    from sandbox.settings import read_settings

    found = variables_of(settings_from({})) | variables_of(LocalSettings())
    sandbox = read_settings([], {})
    return found | {f"SANDBOX_{name.upper()}": getattr(sandbox, name) for name in sandbox.__dataclass_fields__}


def _examples() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = [line[1:].partition("=") for line in lines if line.startswith("#") and line[1:2].isupper() and "=" in line]
    names = [name for name, _, _ in pairs]
    assert len(names) == len(set(names))
    return {name: value for name, _, value in pairs}


def _written(default: Any) -> str:
    match default:
        case None:
            return ""
        case tuple():
            return ",".join(map(_written, default))
        case float():
            return f"{default:.10g}"
    return str(default)


def test_every_setting_is_in_the_example_with_its_default() -> None:
    assert _examples() == {name: _written(default) for name, default in _settings_by_name().items()}


def test_an_example_taken_as_it_is_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("".join(f"{name}={value}\n" for name, value in _examples().items()))
    assert load_settings(env_file=str(file)).model_dump() == load_settings(env_file=None).model_dump()


@pytest.mark.parametrize("region", ["XX", "de", "GBR", "+44"])
def test_a_region_that_does_not_exist_is_refused(region: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, PHONE_REGION=region).keys() == {"PHONE_REGION"}
