"""Tests that no service can start while apt-get installs, and that the machine's policy is restored afterwards."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ops.errors import ServerMissing
from ops.servers import install, programs
from ops.servers.install import INSTALL_SCRIPT
from tests.support.waiting import eventually

APT = """#!/bin/sh
printf '%s|%s\\n' "$*" "$($POLICY; echo $?)" >>"$CALLS"
case "$*" in *install*) [ -z "$HANG" ] || sleep 600; exit "${FAIL:-0}";; esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Makes a directory with an apt-get that records its arguments and the exit code of policy-rc.d at that time."""
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text(APT)
    apt.chmod(0o755)
    return tmp_path


def begin(machine: Path, **environment: str) -> subprocess.Popen[bytes]:
    environment |= {
        "PATH": f"{machine}/bin:{os.environ['PATH']}",
        "POLICY": str(machine / "policy-rc.d"),
        "CALLS": str(machine / "calls"),
    }
    argv = ["sh", "-c", INSTALL_SCRIPT, "install", str(machine / "policy-rc.d"), "redis-server"]
    return subprocess.Popen(argv, env=environment, start_new_session=True)


def test_services_are_forbidden_during_the_install_and_only_then(machine: Path) -> None:
    assert begin(machine).wait(10) == 0
    update, installation = (machine / "calls").read_text().splitlines()
    assert "update" in update
    assert installation.endswith("install redis-server|101")
    assert not (machine / "policy-rc.d").exists()


def test_a_failed_install_leaves_no_policy(machine: Path) -> None:
    assert begin(machine, FAIL="100").wait(10) == 100
    assert not (machine / "policy-rc.d").exists()


def test_an_interrupted_install_leaves_no_policy(machine: Path) -> None:
    process = begin(machine, HANG="1")
    eventually(lambda: (machine / "calls").exists() and "install" in (machine / "calls").read_text())
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(10) == 143
    assert not (machine / "policy-rc.d").exists()


def test_a_policy_that_was_there_is_put_back(machine: Path) -> None:
    policy = machine / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    policy.chmod(0o755)
    assert begin(machine).wait(10) == 0
    assert (machine / "calls").read_text().endswith("|101\n")
    assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_a_mac_is_told_what_to_brew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert programs.advice(["rabbitmq-server", "redis-server"]) == "Install with: brew install rabbitmq redis"


def test_without_apt_get_the_user_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "find", lambda program: None)
    monkeypatch.setattr("shutil.which", lambda program, path=None: None)
    with pytest.raises(ServerMissing, match="redis-server"):
        install.ensure(["redis-server"], print)
