"""The files that a private RabbitMQ node reads."""

import secrets
from pathlib import Path


def write_files(
    directory: Path,
    *,
    amqp_port: int,
    management_port: int,
    dead_letter_confirm_timeout_s: float,
    quorum_tick_s: float,
) -> None:
    """Write configuration and plugins, and the cookie if there is none yet."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "rabbitmq.conf").write_text(
        f"listeners.tcp.local = 127.0.0.1:{amqp_port}\n"
        "management.tcp.ip = 127.0.0.1\n"
        f"management.tcp.port = {management_port}\n"
        "log.file.rotation.size = 10485760\n"
        "log.file.rotation.count = 3\n"
    )
    (directory / "advanced.config").write_text(
        "[{rabbit, [\n"
        f"  {{dead_letter_worker_publisher_confirm_timeout, {round(dead_letter_confirm_timeout_s * 1000)}}},\n"
        f"  {{quorum_tick_interval, {round(quorum_tick_s * 1000)}}}\n"
        "]}].\n"
    )
    (directory / "enabled_plugins").write_text("[rabbitmq_management].\n")
    # Empty, but named in the environment: otherwise the system's own is read, and wins.
    (directory / "rabbitmq-env.conf").write_text("")
    _write_cookie(directory / ".erlang.cookie")


def _write_cookie(cookie: Path) -> None:
    """The secret that lets a node be commanded; Erlang refuses one that others can read."""
    if not cookie.exists():
        cookie.touch(mode=0o600)
        cookie.write_text(secrets.token_hex(20))
    cookie.chmod(0o400)
