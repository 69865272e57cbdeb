"""Who may import whom, where each side effect lives, and that importing does nothing.

Each rule is a function of the source text, so that a test can also show that it would notice a breach.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRODUCT = ("gateway", "services", "shared")

#: package -> the only places that may import it
HOMES = {
    "pika": ("shared/broker/",),
    "flask": ("gateway/",),
    "flasgger": ("gateway/",),
    "werkzeug": ("gateway/",),
    "granian": ("gateway/",),
    "pybreaker": ("shared/breaker/breaker.py",),
    "firebase_admin": ("services/push/fcm.py",),
    "google": ("services/push/fcm.py",),
    "twilio": ("services/sms/twilio.py",),
    "vonage": ("services/sms/vonage.py",),
    "sendgrid": ("services/email/sendgrid.py",),
    "pydantic_settings": ("shared/settings/settings.py",),
}
#: AMQP methods -> the only places that may call them
AMQP_HOMES = {
    **dict.fromkeys(("basic_ack", "basic_nack", "basic_reject"), ("shared/broker/",)),
    **dict.fromkeys(("exchange_declare", "queue_declare", "queue_bind"), ("shared/broker/",)),
    **dict.fromkeys(("queue_delete", "queue_purge", "exchange_delete"), ()),
}
#: who tells the broker that a message is settled: the worker's last step, and the operators' operations
ACKING = ("shared/broker/", "shared/worker/settler.py", "shared/failed/queue.py", "shared/failed/resend.py")
ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})
#: all that the rule book and the arithmetic may know of the outside world
PURE = {
    "shared/delivery/delivery.py": frozenset(
        {"__future__", "asyncio", "collections", "random", "typing", "structlog", "shared"}
    ),
    "shared/backoff.py": frozenset({"__future__", "collections"}),
    "shared/delivery/retry_policy.py": frozenset({"__future__", "dataclasses", "typing", "shared"}),
}
#: collaborators that the rule book must be given
PASSED_IN = frozenset({"Claims", "Directory", "HttpClient", "Publisher", "Sender", "Templates", "open"})


def sources(*packages: str) -> Iterator[tuple[str, ast.Module]]:
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imports(tree: ast.AST, path: str = "") -> Iterator[str]:
    """Full dotted names, also of what is imported inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = path.split("/")[: -node.level]
                module = ".".join([*package, module] if module else package)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def wrong_directions(path: str, tree: ast.Module) -> set[str]:
    """Imports that go against gateway -> shared <- services, or from one service to another."""
    package, service = path.split("/")[0], "/".join(path.split("/")[:2])
    forbidden = {"gateway": ("services",), "shared": ("gateway", "services"), "services": ("gateway",)}[package]
    forbidden = (*forbidden, "sandbox", "ops", "bench", "tests")
    found = {module for module in imports(tree, path) if any(within(module, other) for other in forbidden)}
    if package == "services":
        own = service.replace("/", ".").removesuffix(".py")
        found |= {m for m in imports(tree, path) if within(m, "services") and m != "services" and not within(m, own)}
    return found


def strangers(path: str, tree: ast.Module) -> set[str]:
    """Packages imported outside their only home."""
    tops = {module.split(".")[0] for module in imports(tree, path)}
    return {top for top in tops if not path.startswith(HOMES.get(top, ("",)))}


def environment_reads(tree: ast.Module) -> set[str]:
    attributes = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    return (attributes | {module.removeprefix("os.") for module in imports(tree)}) & ENVIRONMENT


def called_methods(tree: ast.Module) -> set[str]:
    """Names of methods that are called or handed over to be called."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def called_names(tree: ast.Module) -> set[str]:
    return {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}


def acks(tree: ast.Module) -> bool:
    """Whether something is acked: ``x.ack()``."""
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "ack" for n in ast.walk(tree)
    )


# -- 1. directions ------------------------------------------------------------------------------------------------


def test_shared_knows_nobody_and_services_know_only_shared() -> None:
    assert {path: found for path, tree in sources(*PRODUCT) if (found := wrong_directions(path, tree))} == {}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("shared/worker/worker.py", "from services.push import fcm"),
        ("shared/worker/worker.py", "def f():\n    import gateway.app"),
        ("services/push/fcm.py", "from services.sms import twilio"),
        ("services/push/fcm.py", "from services import sms"),
        ("services/push/fcm.py", "from ..sms import twilio"),
        ("services/push/fcm.py", "import gateway"),
        ("gateway/app.py", "from services.push import fcm"),
        ("gateway/app.py", "import sandbox.vendors.fcm"),
    ],
)
def test_a_wrong_direction_would_be_noticed(path: str, text: str) -> None:
    assert wrong_directions(path, ast.parse(text))


def test_a_service_may_import_its_own_files() -> None:
    assert wrong_directions("services/push/__main__.py", ast.parse("from services.push import fcm")) == set()


def test_a_service_is_its_main_and_one_file_a_provider() -> None:
    for folder in (path for path in (ROOT / "services").iterdir() if (path / "__main__.py").exists()):
        files = {path.name for path in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
        for name in files:
            assert "async def send(" in (folder / name).read_text(), f"{folder.name}/{name} is no provider"


# -- 2. homes of packages and of the environment ------------------------------------------------------------------


def test_each_package_is_known_in_its_home_only() -> None:
    assert {path: found for path, tree in sources(*PRODUCT) if (found := strangers(path, tree))} == {}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("shared/worker/worker.py", "from pika import spec"),
        ("gateway/app.py", "import pika.exceptions"),
        ("shared/health/server.py", "from flask import Flask"),
        ("shared/providers/failover.py", "import pybreaker"),
        ("services/sms/twilio.py", "def f():\n    import firebase_admin"),
    ],
)
def test_a_package_away_from_home_would_be_noticed(path: str, text: str) -> None:
    assert strangers(path, ast.parse(text))


def test_only_the_settings_read_the_environment() -> None:
    readers = {path for path, tree in sources(*PRODUCT) if environment_reads(tree)}
    assert readers <= {"shared/settings/settings.py"}


@pytest.mark.parametrize("text", ["import os\nos.environ['A']", "from os import getenv", "import os\nos.getenv('A')"])
def test_another_reader_would_be_noticed(text: str) -> None:
    assert environment_reads(ast.parse(text))


# -- 3. purity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PURE)
def test_the_rule_book_and_the_arithmetic_do_no_io_of_their_own(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert {module.split(".")[0] for module in imports(tree, path)} <= PURE[path]
    assert called_names(tree) & PASSED_IN == set()
    of_asyncio = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "asyncio"
    }
    assert of_asyncio <= {"gather"}


# -- 4. one home for each side effect -----------------------------------------------------------------------------


def test_acks_and_declarations_have_one_home() -> None:
    for path, tree in sources(*PRODUCT, "ops"):
        for method in called_methods(tree) & AMQP_HOMES.keys():
            assert path.startswith(AMQP_HOMES[method]), f"{path} calls {method}"


def test_only_who_settles_a_message_acks_it() -> None:
    assert {path for path, tree in sources(*PRODUCT, "ops") if acks(tree) and not path.startswith(ACKING)} == set()


# -- 5. importing does nothing ------------------------------------------------------------------------------------

_IMPORT_ALL = """
import importlib, socket, sys, threading

def refuse(*_, **__):
    raise AssertionError("at import")

# Not the class itself: others derive from it.
socket.socket.__init__ = socket.create_connection = socket.getaddrinfo = refuse
threading.Thread.start = refuse
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as exc:
        sys.exit(f"{name}: {exc!r}")
"""


def _modules(*packages: str) -> list[str]:
    paths = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    dotted = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return sorted(name.removesuffix(".__init__") for name in dotted)


def _import_all(tmp_path: Path, root: Path, *modules: str) -> str:
    # An environment without a home, a .env or any setting, and with an unreadable one: who reads it at import fails.
    process = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", _IMPORT_ALL, *modules],
        env={"PYTHONPATH": str(root), "PREFETCH": "unreadable"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return process.stdout + process.stderr


@pytest.mark.parametrize("package", [*PRODUCT, "sandbox", "ops"])
def test_nothing_connects_reads_settings_or_starts_a_thread_at_import(package: str, tmp_path: Path) -> None:
    assert _import_all(tmp_path, ROOT, *_modules(package)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "import socket\nsocket.socket()",
        "import threading\nthreading.Thread(target=print).start()",
        "import socket\nsocket.create_connection(('127.0.0.1', 9))",
        "from shared.settings.settings import load_settings\nload_settings()",
    ],
)
def test_what_acts_at_import_would_be_noticed(text: str, tmp_path: Path) -> None:
    (tmp_path / "acts.py").write_text(f"import sys\nsys.path.append({str(ROOT)!r})\n{text}\n")
    assert "acts: " in _import_all(tmp_path, tmp_path, "acts")


# -- the sandbox stands apart -------------------------------------------------------------------------------------


def test_the_sandbox_and_the_product_do_not_know_each_other() -> None:
    def known(package: str, *others: str) -> set[str]:
        return {
            f"{path}: {module}"
            for path, tree in sources(package)
            for module in imports(tree, path)
            if any(within(module, other) for other in others)
        }

    assert known("sandbox", *PRODUCT, "ops", "bench", "tests") == set()
    assert set().union(*(known(package, "sandbox") for package in (*PRODUCT, "ops"))) == set()
