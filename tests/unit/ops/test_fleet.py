"""Tests which processes run, and on which ports."""

import socket
from typing import Any

import pytest

from ops.errors import BadSetting, OpsError
from ops.servers.ports import free_ports, is_free
from ops.settings import Configuration, LocalSettings
from ops.system.fleet import check_ports, programs
from ops.system.supervision import configuration_text
from shared.message.channels import CHANNELS
from shared.settings.load import group_from, load_settings, read_variables
from tests.support.run.servers import run_ports


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that makes a Configuration from variables; unnamed ports get free numbers."""
    names = ["GATEWAY_PORT", "SANDBOX_PORT", "SANDBOX_SMTP_PORT", "SOCKET_PORT"]
    names += [f"{name.upper()}_PORT" for name in CHANNELS]
    names += ["RABBITMQ", "RABBITMQ_MANAGEMENT", "RABBITMQ_DIST", "REDIS"]
    keys = [name if name.endswith("PORT") else f"LOCAL_{name}_PORT" for name in names] + ["LOCAL_EPMD_PORT"]

    def build(**variables: str) -> Configuration:
        ports = dict(zip(keys, map(str, run_ports(len(keys))), strict=True))
        for name, value in (ports | variables).items():
            monkeypatch.setenv(name, value)
        return Configuration(load_settings(env_file=None), group_from(LocalSettings, read_variables(env_file=None)))

    return build


def test_every_channel_runs_without_being_named_here(configuration: Any) -> None:
    modules = {program.module for program in programs(configuration())}
    assert modules == {"gateway", "sandbox", *(f"services.{name}" for name in CHANNELS)}


def test_a_replica_has_a_name_a_number_and_ten_ports_up(configuration: Any) -> None:
    found = configuration(PUSH_PROCESSES="3", PUSH_PORT="21100")
    workers = [program for program in programs(found) if program.module == "services.push"]
    assert [(w.name, w.replica, w.ports[0].number) for w in workers] == [
        ("push", 0, 21100),
        ("push-1", 1, 21110),
        ("push-2", 2, 21120),
    ]


@pytest.mark.parametrize(
    ("role", "ports", "health"),
    [
        ("both", [(21100, "WEBSOCKET_PORT"), (21200, "SOCKET_PORT")], 21100),
        ("consumer", [(21100, "WEBSOCKET_PORT")], 21100),
        ("sockets", [(21200, "SOCKET_PORT")], 21200),
    ],
)
def test_a_websocket_process_opens_the_ports_of_its_role(
    configuration: Any, role: str, ports: list[tuple[int, str]], health: int
) -> None:
    found = configuration(WEBSOCKET_ROLE=role, WEBSOCKET_PORT="21100", SOCKET_PORT="21200", WEBSOCKET_PROCESSES="2")
    first, second = (program for program in programs(found) if program.module == "services.websocket")
    assert [(port.number, port.setting) for port in first.ports] == ports
    assert [(port.number, port.setting) for port in second.ports] == [(number + 10, name) for number, name in ports]
    assert first.health_url == f"http://127.0.0.1:{health}/health"


def test_the_port_of_devices_has_its_own_address(configuration: Any) -> None:
    found = configuration(SOCKET_HOST="0.0.0.0")
    (process,) = (program for program in programs(found) if program.module == "services.websocket")
    assert [port.host for port in process.ports] == ["127.0.0.1", "0.0.0.0"]


def test_production_has_no_sandbox(configuration: Any) -> None:
    found = configuration(NOTIFY_ENV="production", API_KEYS=f"shop:send:{'0' * 64}")
    assert "sandbox" not in {program.name for program in programs(found)}


@pytest.mark.parametrize("setting", ["SMS_PORT", "SOCKET_PORT"])
def test_a_taken_port_is_named_with_its_setting(configuration: Any, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        with pytest.raises(OpsError, match=rf"^port {port} \({setting}\) is in use\n"):
            check_ports(configuration(**{setting: str(port)}))


def test_one_port_for_two_is_a_bad_setting(configuration: Any) -> None:
    with pytest.raises(BadSetting, match="port 21100 is set twice, by GATEWAY_PORT and PUSH_PORT"):
        check_ports(configuration(GATEWAY_PORT="21100", PUSH_PORT="21100"))


def test_free_ports_are_out_of_reach_of_outgoing_connections() -> None:
    found = free_ports(50)
    assert len(set(found)) == 50
    assert max(found) < 32768


@pytest.mark.parametrize(
    ("variables", "rabbitmq", "redis"),
    [
        ({}, True, True),
        ({"RABBITMQ_URL": "amqp://h/", "REDIS_URL": "redis://h/0"}, False, False),
        ({"RABBITMQ_HOST": "h", "REDIS_HOST": "h"}, False, False),
        ({"RABBITMQ_URL": "", "REDIS_HOST": ""}, True, True),
    ],
)
def test_servers_are_private_unless_an_address_is_given(
    configuration: Any, variables: dict[str, str], rabbitmq: bool, redis: bool
) -> None:
    found = configuration(**variables)
    assert (found.private_rabbitmq, found.private_redis) == (rabbitmq, redis)


def test_secrets_reach_no_file(configuration: Any) -> None:
    found = configuration(RABBITMQ_URL="amqp://u:very%2Fsecret@h/", REDIS_PASSWORD="also secret")
    text = configuration_text(found.place, found.place.run / "s.sock", programs(found))
    assert "secret" not in text
