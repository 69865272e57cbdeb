"""Makes a separate checkout in which the real command runs the product, or a stand-in for it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.place import ROOT, Place
from ops.processes import Identity, PidFile
from ops.servers import RabbitMQServer
from ops.system.supervision import Supervisor
from shared.message.channels import CHANNELS
from tests.support.run.servers import run_ports


@dataclass(frozen=True)
class Tree:
    root: Path
    ports: dict[str, int]

    def notify(self, *arguments: str, timeout_s: float = 100, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end. Its two outputs are merged into stdout."""
        return subprocess.run(
            [sys.executable, "-m", "ops", *arguments],
            cwd=self.root,
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ops", *arguments],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def process(self, name: str) -> Identity | None:
        """Returns the living process of a record under ``.local``, such as ``run/up`` or ``run/process-push``."""
        return PidFile(self.root / ".local" / f"{name}.pid").living()

    def living(self) -> set[str]:
        return {path.stem for path in self.root.glob(".local/*/*.pid") if PidFile(path).living()}

    def states(self) -> set[str]:
        """Returns supervisord's words for the processes; ``./notify status`` shows them too, and takes a second."""
        return {state.state for state in Supervisor(Place(self.root / ".local")).states().values()}

    def tracebacks(self) -> list[str]:
        """Returns the names of the logs of the product's processes that hold a traceback."""
        logs = {name: self.root / ".local/log" / f"{name}.log" for name in ("gateway", *CHANNELS)}
        return [name for name, log in logs.items() if log.exists() and "Traceback" in log.read_text()]

    def events(self, name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (self.root / ".local/log" / f"{name}.log").read_text().splitlines()]


def plant(root: Path) -> Tree:
    """Copies the command and the packages that it imports, and puts the stand-in in the place of the product."""
    _copy(root, "ops", "shared")
    shutil.copytree(ROOT / "tests/e2e/stand_in", root / "stand_in", ignore=shutil.ignore_patterns("__pycache__"))
    for module in ("gateway", "sandbox", *(f"services/{name}" for name in CHANNELS)):
        (root / module).mkdir(parents=True)
        name = Path(module).name
        (root / module / "__main__.py").write_text(f"from stand_in.process import main\n\nmain({name!r})\n")
    return Tree(root, _choose_ports(root))


def plant_product(root: Path, **settings: str) -> Tree:
    """Copies the command and the whole product; ``settings`` go into its ``.env``."""
    _copy(root, "ops", "shared", "gateway", "sandbox", "services", "clients")
    return Tree(root, _choose_ports(root, **settings))


@contextmanager
def running_product(root: Path, rabbitmq: RabbitMQServer, vhost: str, **settings: str) -> Iterator[Tree]:
    """Runs the whole product on a virtual host of this name, which it makes and deletes."""
    rabbitmq.management.create_vhost(vhost)
    tree = plant_product(root, RABBITMQ_URL=rabbitmq.vhost_url(vhost), **settings)
    up = tree.notify("up", "-d")
    try:
        assert up.returncode == 0, up.stdout
        yield tree
    finally:
        tree.notify("down")
        rabbitmq.management.delete_vhost(vhost)
    assert tree.living() == set()
    assert tree.tracebacks() == []


def _copy(root: Path, *packages: str) -> None:
    shutil.copy(ROOT / "VERSION", root)
    for package in packages:
        # Compiled files are copied too: compiling again for each tree would take seconds.
        shutil.copytree(ROOT / package, root / package)


def _choose_ports(root: Path, **settings: str) -> dict[str, int]:
    names = ["GATEWAY_PORT", "SANDBOX_PORT", "SANDBOX_SMTP_PORT", "SOCKET_PORT"]
    names += [f"{name.upper()}_PORT" for name in CHANNELS]
    names += ["LOCAL_RABBITMQ_PORT", "LOCAL_RABBITMQ_MANAGEMENT_PORT", "LOCAL_RABBITMQ_DIST_PORT"]
    names += ["LOCAL_EPMD_PORT", "LOCAL_REDIS_PORT"]
    ports = dict(zip(names, run_ports(len(names)), strict=True))
    (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in {**ports, **settings}.items()))
    return ports
