"""Tests that passwords and data of the private servers are for their owner alone."""

import contextlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.place import Place
from ops.servers import RabbitMQPorts, RabbitMQServer, RedisServer
from ops.servers.secret import kept_password, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_password_is_random_kept_and_unreadable_for_others(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        one, other = kept_password(tmp_path / "new" / "password"), kept_password(tmp_path / "other")
    finally:
        os.umask(before)
    assert len({one, other}) == 2
    assert len(one) == 48
    assert kept_password(tmp_path / "new" / "password") == one
    assert (mode(tmp_path / "new"), mode(tmp_path / "new" / "password")) == (0o700, 0o600)
    (tmp_path / "other").chmod(0o644)
    assert kept_password(tmp_path / "other") == other
    assert mode(tmp_path / "other") == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other"]


def test_processes_that_start_together_agree_on_the_password(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(lambda _: kept_password(tmp_path / "password"), range(2)))) == 1


def test_a_private_file_was_never_readable_and_is_not_written_through_a_link(tmp_path: Path) -> None:
    readable = tmp_path / "readable"
    readable.write_text("before")
    readable.chmod(0o644)
    write_private(readable, "after")
    assert (readable.read_text(), mode(readable)) == ("after", 0o600)
    (tmp_path / "link").symlink_to(readable)
    with contextlib.suppress(OSError):
        write_private(tmp_path / "link", "through")
    assert readable.read_text() == "after"


def test_the_place_is_for_its_owner_alone_but_a_foreign_directory_keeps_its_mode(tmp_path: Path) -> None:
    Place(tmp_path / "local").make()
    assert mode(tmp_path / "local") == 0o700
    # An earlier version made it readable for everyone.
    (tmp_path / "local").chmod(0o755)
    Place(tmp_path / "local").make()
    assert mode(tmp_path / "local") == 0o700
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign").chmod(0o755)
    Place(tmp_path / "foreign").make()
    assert mode(tmp_path / "foreign") == 0o755


def test_the_servers_urls_hold_the_passwords(tmp_path: Path) -> None:
    file = tmp_path / "password"
    password = kept_password(file)
    rabbitmq = RabbitMQServer(tmp_path, RabbitMQPorts(1, 2, 3, 4), password_file=file)
    assert rabbitmq.vhost_url("a/b") == f"amqp://guest:{password}@127.0.0.1:1/a%2Fb"
    assert RedisServer(tmp_path, port=5, password_file=file).url == f"redis://:{password}@127.0.0.1:5/0"
