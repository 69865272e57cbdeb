"""Lists the processes of the product. A new channel in ``shared/message/channels.py`` is added by itself."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from ops.errors import BadSetting, OpsError
from ops.servers.ports import is_free
from ops.settings import Configuration
from shared import version
from shared.message.channels import CHANNELS
from shared.settings.groups.channels import ChannelSettings
from shared.settings.load import names_of, read_variables
from shared.settings.settings import Settings

#: Variables that are no settings of the product and change what its processes do.
_OF_OTHERS = ("SANDBOX_", "SSL_CERT_", "PYTHON")


@dataclass(frozen=True)
class Port:
    """Names a port that a process of the system opens, and the setting that changes it."""

    number: int
    setting: str
    host: str = "127.0.0.1"

    @property
    def reachable_host(self) -> str:
        """Returns the host under which a client reaches the port."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def address(self) -> str:
        """Returns host and port as they stand in a URL."""
        host = self.reachable_host
        return f"[{host}]:{self.number}" if ":" in host else f"{host}:{self.number}"


@dataclass(frozen=True)
class Program:
    """Describes one process of the product, which is started by ``python -m <module>``."""

    name: str
    module: str
    ports: tuple[Port, ...]
    replica: int = 0

    @property
    def health_url(self) -> str:
        """Returns the URL of the process's own health report, on the first of its ports."""
        return f"http://{self.ports[0].address}/health"


def programs(configuration: Configuration) -> list[Program]:
    """Returns every process of the product, in the order in which they start."""
    product = configuration.product
    gateway = Program("gateway", "gateway", (Port(product.gateway.port, "GATEWAY_PORT", product.listen_host),))
    sandbox = Program(
        "sandbox",
        "sandbox",
        (
            Port(product.sandbox.port, "SANDBOX_PORT", product.sandbox.host),
            Port(product.sandbox.smtp_port, "SANDBOX_SMTP_PORT", product.sandbox.host),
        ),
    )
    return [*([] if product.production else [sandbox]), gateway, *_workers(configuration)]


def _workers(configuration: Configuration) -> Iterator[Program]:
    product = configuration.product
    for name, channel in product.channels.items():
        for replica in range(channel.processes):
            # The process also adds 10 per replica to each of its ports.
            worker = Port(channel.port + 10 * replica, f"{name.upper()}_PORT", product.worker_listen_host)
            ports = _websocket_ports(product, worker, replica) if name == "websocket" else (worker,)
            title = name if replica == 0 else f"{name}-{replica}"
            yield Program(title, f"services.{name}", ports, replica)


def _websocket_ports(product: Settings, worker: Port, replica: int) -> tuple[Port, ...]:
    """Returns the ports of a process that stores notifications, serves devices, or does both."""
    devices = _device_port(product, replica)
    return {"consumer": (worker,), "sockets": (devices,), "both": (worker, devices)}[product.sockets.role]


def _device_port(product: Settings, replica: int) -> Port:
    return Port(product.sockets.port + 10 * replica, "SOCKET_PORT", product.socket_host)


def devices_url(configuration: Configuration) -> str:
    """Returns the address to which devices connect on this machine: that of the first node."""
    return f"ws://{_device_port(configuration.product, 0).address}/ws"


def environment(configuration: Configuration) -> dict[str, str]:
    """Returns the variables that the processes need in their environment: the sandbox does not read ``.env``."""
    product = configuration.product
    return {
        "SANDBOX_HOST": product.sandbox.host,
        "SANDBOX_PORT": str(product.sandbox.port),
        "SANDBOX_SMTP_PORT": str(product.sandbox.smtp_port),
    }


def fleet_digest(configuration: Configuration) -> str:
    """Returns a digest of everything with which the processes are started; it shows no secret."""
    names = {*names_of(Settings), *names_of(type(configuration.local))}
    names |= {name for channel in CHANNELS for name in names_of(ChannelSettings, channel.upper())}
    variables = read_variables(skip_unreadable=True)
    chosen = {name: value for name, value in variables.items() if name in names or name.startswith(_OF_OTHERS)}
    fleet = [(program.name, program.ports) for program in programs(configuration)]
    return hashlib.sha256(repr((version(), fleet, sorted(chosen.items()))).encode()).hexdigest()


def server_ports(configuration: Configuration) -> Iterator[Port]:
    """Yields the ports that the private servers open, but none for a server that the user provides."""
    local = configuration.local
    if configuration.private_rabbitmq:
        yield Port(local.local_rabbitmq_port, "LOCAL_RABBITMQ_PORT")
        yield Port(local.local_rabbitmq_management_port, "LOCAL_RABBITMQ_MANAGEMENT_PORT")
        yield Port(local.local_rabbitmq_dist_port, "LOCAL_RABBITMQ_DIST_PORT")
        yield Port(local.local_epmd_port, "LOCAL_EPMD_PORT")
    if configuration.private_redis:
        yield Port(local.local_redis_port, "LOCAL_REDIS_PORT")


def check_ports(configuration: Configuration) -> None:
    """Raises BadSetting if two settings name the same port, and OpsError, which names every port that is in use."""
    wanted = [*server_ports(configuration), *(port for program in programs(configuration) for port in program.ports)]
    settings: dict[int, str] = {}
    for port in wanted:
        if (other := settings.setdefault(port.number, port.setting)) != port.setting:
            raise BadSetting(f"port {port.number} is set twice, by {other} and {port.setting}: change one of them")
    taken = [f"port {port.number} ({port.setting}) is in use" for port in wanted if not is_free(port.number, port.host)]
    if taken:
        raise OpsError(
            "\n".join([*taken, "Stop the process that listens there, or set another port in the environment or .env."])
        )
