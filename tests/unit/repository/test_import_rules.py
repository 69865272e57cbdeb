"""Tests that each side effect has one place in the product, and that importing a module does nothing.

import-linter checks which package may import which: see ``[tool.importlinter]`` in ``pyproject.toml``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
PRODUCT = ("gateway", "services", "shared")

#: AMQP methods -> the only places that may call them
AMQP_HOMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("basic_ack", "basic_nack", "basic_reject"), ("shared/broker/",)),
    **dict.fromkeys(("exchange_declare", "queue_declare", "queue_bind"), ("shared/broker/",)),
    **dict.fromkeys(("queue_delete", "queue_purge", "exchange_delete"), ()),
}
#: The only code that may ack messages: the worker's last step, and the operators' operations.
ACKING = ("shared/broker/", "shared/message/incoming.py", "shared/worker/settler.py", "shared/failed/")
#: The only code that may use the process's environment: the settings, and the module that sets the variable for
#: prometheus_client.
ENVIRONMENT = ("shared/settings/", "gateway/health/metrics_directory.py")


@cache
def sources(*packages: str) -> list[tuple[str, ast.Module]]:
    files = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return [(path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())) for path in files]


def attributes(tree: ast.Module) -> set[str]:
    """Returns the names of attributes that are read, called or passed on."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def acks(tree: ast.Module) -> bool:
    """Tells whether the module acks a message: ``x.ack()``."""
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "ack" for n in ast.walk(tree)
    )


def test_only_the_settings_read_the_environment() -> None:
    reads = {"environ", "environb", "getenv", "getenvb"}
    readers = {
        path
        for path, tree in sources(*PRODUCT)
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and node.module == "os" and reads & {alias.name for alias in node.names})
        or (isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os" and node.attr in reads)
    }
    assert {path for path in readers if not path.startswith(ENVIRONMENT)} == set()


def test_acks_and_declarations_have_one_home() -> None:
    for path, tree in sources(*PRODUCT, "ops"):
        for method in attributes(tree) & AMQP_HOMES.keys():
            assert path.startswith(AMQP_HOMES[method]), f"{path} calls {method}"


def test_only_code_that_settles_a_message_acks_it() -> None:
    assert {path for path, tree in sources(*PRODUCT, "ops") if acks(tree) and not path.startswith(ACKING)} == set()


_IMPORT_ALL = """
import importlib, socket, sys, threading

def refuse(*_, **__):
    raise AssertionError("at import")

# Do not replace the class itself: other classes derive from it.
socket.socket.__init__ = socket.create_connection = socket.getaddrinfo = refuse
threading.Thread.start = refuse
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as exc:
        sys.exit(f"{name}: {exc!r}")
"""


#: Alembic runs this file; it cannot be imported.
_RUN_BY_ALEMBIC = ROOT / "shared/store/migrations/env.py"


def _modules(*packages: str) -> list[str]:
    paths = (path for package in packages for path in (ROOT / package).rglob("*.py") if path != _RUN_BY_ALEMBIC)
    dotted = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return sorted(name.removesuffix(".__init__") for name in dotted)


def test_nothing_connects_reads_settings_or_starts_a_thread_at_import(tmp_path: Path) -> None:
    # The environment has no home, no .env and one invalid setting: a module that reads settings at import fails.
    process = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", _IMPORT_ALL, *_modules(*PRODUCT, "sandbox", "ops")],
        env={"PYTHONPATH": str(ROOT), "PREFETCH": "unreadable"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.stdout + process.stderr == ""
