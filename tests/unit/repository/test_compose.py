"""Tests that docker-compose.yml agrees with the product: its channels, ports, settings and times."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.settings import LocalSettings
from sandbox.settings import DEFAULT_PORT as SANDBOX_PORT
from shared.message.channels import CHANNELS
from shared.settings.addresses import database_hosts
from shared.settings.load import fields_of, settings_from, variables_of

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docker-compose.yml").read_text()
FILE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]

PRODUCT = {"gateway", "sockets", *CHANNELS}
BUILT = {*PRODUCT, "sandbox"}

#: Variables that only the sandbox reads, beside those that it shares with the product.
SANDBOX_ALONE = {"SANDBOX_KEEP"}
#: RabbitMQ's own variable: a configuration file instead would need one more mount.
RABBITMQ_ALONE = {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"}
#: PostgreSQL's own variables.
POSTGRESQL_ALONE = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_HOST_AUTH_METHOD"}

#: Settings that the file must not pass on, grouped by the reason.
WITHHELD = {
    # The processes must use the servers of this file.
    *("RABBITMQ_URL", "REDIS_URL", "REDIS_PORT", "REDIS_PASSWORD"),
    # Inside a container every process listens on its default port; the health checks and port mappings rely on it.
    *("GATEWAY_PORT", "SANDBOX_PORT", "SANDBOX_SMTP_PORT", "SOCKET_PORT"),
    # The file has a service for each role.
    "WEBSOCKET_ROLE",
    *(f"{name.upper()}_PORT" for name in CHANNELS),
    # Here --scale starts more workers of a channel, and each replica has its own address.
    *("NOTIFY_REPLICA", *(f"{name.upper()}_PROCESSES" for name in CHANNELS)),
    # stop_grace_period fits the default only.
    "SHUTDOWN_S",
}


#: The environment is not read: settings of the person who runs the tests must not matter.
DEFAULTS, LOCAL_DEFAULTS = settings_from({}), LocalSettings()
PRODUCT_SETTINGS = set(variables_of(DEFAULTS))
#: The database's address has no password in it; the test of secrets looks at all URLs.
SECRETS = {"API_KEYS"} | {
    variable for variable, field, _ in fields_of(DEFAULTS) if "SecretStr" in str(field.annotation)
} - {"DATABASE_URL"}


@pytest.mark.parametrize("name", sorted(BUILT))
def test_a_process_of_the_product_has_time_to_finish_the_messages_in_progress(name: str) -> None:
    assert SERVICES[name]["stop_grace_period"] == "35s"
    assert DEFAULTS.worker.shutdown_s < 35


@pytest.mark.parametrize("name", sorted(BUILT))
def test_a_process_of_the_product_has_no_privilege_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_each_health_check_asks_the_port_on_which_its_process_listens() -> None:
    ports = {"gateway": DEFAULTS.gateway.port, "sandbox": SANDBOX_PORT, "sockets": DEFAULTS.sockets.port}
    ports |= {name: channel.worker_port for name, channel in CHANNELS.items()}
    paths = {name: "/health/ready" if name in ("gateway", "sockets") else "/health" for name in BUILT}
    asked = {name: SERVICES[name]["healthcheck"]["test"] for name in BUILT}
    assert asked == {
        name: ["CMD", "python", "-m", "ops.probe", f"http://127.0.0.1:{ports[name]}{paths[name]}"] for name in BUILT
    }


#: Settings that only one service gets.
OWN: dict[str, dict[str, str | None]] = {
    # The demo page tells browsers the port that is published; nothing listens on it in this container.
    "gateway": {"SOCKET_PORT": None},
    "websocket": {"WEBSOCKET_ROLE": "consumer"},
    "sockets": {"WEBSOCKET_ROLE": "sockets"},
}


@pytest.mark.parametrize("name", sorted(PRODUCT))
def test_every_setting_of_the_product_reaches_it_and_nothing_else(name: str) -> None:
    environment = SERVICES[name]["environment"]
    own = OWN.get(name, {})
    assert set(environment) == PRODUCT_SETTINGS - WITHHELD | own.keys()
    assert {setting: environment[setting] for setting in own} == own


def test_notifications_are_stored_and_devices_are_served() -> None:
    """Checks that both roles of the websocket channel run, from the same program."""
    assert SERVICES["websocket"]["command"] == SERVICES["sockets"]["command"] == ["python", "-m", "services.websocket"]


def test_the_tables_are_brought_up_to_date_before_a_process_of_the_product_starts() -> None:
    job = SERVICES["store"]
    assert job["command"] == ["python", "-m", "ops", "store", "upgrade"]
    assert job["environment"] == SERVICES["push"]["environment"]
    assert job["depends_on"] == {"postgresql": {"condition": "service_healthy"}}
    waits = {SERVICES[name]["depends_on"]["store"]["condition"] for name in PRODUCT}
    assert waits == {"service_completed_successfully"}
    url = settings_from({"DATABASE_URL": job["environment"]["DATABASE_URL"]}).database.url
    assert database_hosts(url) == [("postgresql", 5432)]
    environment = SERVICES["postgresql"]["environment"]
    assert url.endswith(f"/{environment['POSTGRES_DB']}?user={environment['POSTGRES_USER']}")


def test_every_variable_is_a_known_setting() -> None:
    known = PRODUCT_SETTINGS | set(variables_of(LOCAL_DEFAULTS)) | SANDBOX_ALONE
    interpolated = set(re.findall(r"\$\{(\w+)", TEXT))
    assert interpolated <= known
    assert set(SERVICES["sandbox"]["environment"]) <= known
    assert set(SERVICES["rabbitmq"].get("environment", {})) <= RABBITMQ_ALONE
    assert set(SERVICES["postgresql"]["environment"]) <= POSTGRESQL_ALONE
    assert "environment" not in SERVICES["redis"]


def test_it_holds_no_secret() -> None:
    for service in SERVICES.values():
        environment = service.get("environment", {})
        assert {name for name in SECRETS & set(environment) if environment[name] is not None} == set()
    # Every default within ${...} is a port.
    assert re.findall(r"\$\{\w+:-(?!\d+\})", TEXT) == []
    assert re.findall(r"\w+://[^/\s]*@", TEXT) == []
    assert not re.search(r"pass(word|wd)?\s*[:=]\s*\S", TEXT, re.IGNORECASE)


def test_it_is_for_development_and_published_on_this_machine_alone() -> None:
    assert {SERVICES[name]["environment"]["NOTIFY_ENV"] for name in PRODUCT} == {"development"}
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []
    assert [name for name in CHANNELS if "ports" in SERVICES[name]] == [], "a second replica could not start"


def test_it_is_found_where_the_command_would_start_it() -> None:
    published = {
        name: int(port)
        for service in SERVICES.values()
        for mapping in service.get("ports", [])
        for name, port in re.findall(r"^127\.0\.0\.1:\$\{(\w+):-(\d+)\}:\d+$", mapping)
    }
    assert published == {
        "GATEWAY_PORT": DEFAULTS.gateway.port,
        "SANDBOX_PORT": DEFAULTS.sandbox.port,
        "SANDBOX_SMTP_PORT": DEFAULTS.sandbox.smtp_port,
        "SOCKET_PORT": DEFAULTS.sockets.port,
        "LOCAL_RABBITMQ_PORT": LOCAL_DEFAULTS.local_rabbitmq_port,
        "LOCAL_RABBITMQ_MANAGEMENT_PORT": LOCAL_DEFAULTS.local_rabbitmq_management_port,
        "LOCAL_REDIS_PORT": LOCAL_DEFAULTS.local_redis_port,
    }
