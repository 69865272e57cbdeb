"""Writes the files that a private RabbitMQ node reads."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from ops.servers.secret import write_private


@dataclass(frozen=True)
class Membership:
    """Names the cluster that a node belongs to: all its nodes and their common cookie. A single node has neither.

    ``net_ticktime_s``: after 0.75 to 1.25 times this, a silent node counts as dead (60 s is Erlang's own default).
    """

    nodes: tuple[str, ...] = ()
    cookie: str = ""
    net_ticktime_s: int = 60

    @property
    def alone(self) -> bool:
        return not self.nodes


def write_files(
    directory: Path,
    *,
    user: str,
    password: str,
    amqp_port: int,
    management_port: int,
    dead_letter_confirm_timeout_s: float,
    quorum_tick_s: float,
    membership: Membership,
) -> None:
    """Writes configuration and plugins, and the cookie if there is none yet."""
    directory.mkdir(parents=True, exist_ok=True)
    write_private(
        directory / "rabbitmq.conf",
        # These two count when the node makes its first virtual host.
        f"default_user = {user}\n"
        f"default_pass = {password}\n"
        f"listeners.tcp.local = 127.0.0.1:{amqp_port}\n"
        "management.tcp.ip = 127.0.0.1\n"
        f"management.tcp.port = {management_port}\n"
        "log.file.rotation.size = 10485760\n"
        "log.file.rotation.count = 3\n" + _cluster_lines(membership),
    )
    (directory / "advanced.config").write_text(
        "[{rabbit, [\n"
        f"  {{dead_letter_worker_publisher_confirm_timeout, {round(dead_letter_confirm_timeout_s * 1000)}}},\n"
        f"  {{quorum_tick_interval, {round(quorum_tick_s * 1000)}}}\n"
        "]}].\n"
    )
    (directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
    # This file is empty but named in the environment: otherwise the node reads the system's file, which would win.
    (directory / "rabbitmq-env.conf").write_text("")
    _write_cookie(directory / ".erlang.cookie", membership.cookie or secrets.token_hex(20))


def _cluster_lines(membership: Membership) -> str:
    if membership.alone:
        return ""
    peers = (f"cluster_formation.classic_config.nodes.{n} = {name}\n" for n, name in enumerate(membership.nodes, 1))
    # A node that was frozen finds itself alone when it resumes. It must step down and rejoin; with the default
    # (ignore) it would continue alone indefinitely.
    return (
        "cluster_formation.peer_discovery_backend = classic_config\n"
        "cluster_partition_handling = pause_minority\n" + "".join(peers)
    )


def _write_cookie(cookie: Path, secret: str) -> None:
    """Writes the secret that allows commands to a node. Erlang refuses a file that other users can read."""
    if not cookie.exists():
        cookie.touch(mode=0o600)
        cookie.write_text(secret)
    cookie.chmod(0o400)
