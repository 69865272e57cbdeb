"""Lists all private attributes of pika that the product uses, and pins pika's version.

Before you raise the pin, read the code of each of these attributes in the new version.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from pika.adapters.base_connection import BaseConnection
from pika.adapters.utils import io_services_utils
from pika.channel import Channel
from pika.connection import Connection

ROOT = Path(__file__).parents[3]
PIKA = "1.4.4"

#: private attribute -> the class or module of pika that has it; WireChannel and WireConnection override some of them
PRIVATE: dict[str, Any] = {
    "_consumers": Channel,
    "_on_deliver": Channel,
    "_create_channel": Connection,
    "_frame_buffer": Connection,
    "_opened": Connection,
    "_read_frame": Connection,
    "_terminate_stream": Connection,
    "_adapter_emit_data": BaseConnection,
    "_on_connection_workflow_done": BaseConnection,
    "_transport": BaseConnection,
    "_tx_buffered_byte_count": io_services_utils,
    "_tx_buffers": io_services_utils,
    # It has no underscore, but pika's documentation and type stubs do not mention it.
    "bytes_received": Connection,
}


def touched(tree: ast.AST) -> Iterator[str]:
    """Yields the private attributes that ``tree`` uses.

    These are attributes that begin with an underscore, of objects other than self; all attributes of a variable named
    ``private``; and inherited ones of self. If a class has a base, its methods with an underscore count as overrides,
    and the private attributes of its self count as inherited.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner == "private" or (_hidden(node.attr) and owner not in ("self", "cls")):
                yield node.attr
        elif isinstance(node, ast.ClassDef) and node.bases:
            yield from (part.name for part in node.body if isinstance(part, ast.FunctionDef) and _hidden(part.name))
            of_self = (part for part in ast.walk(node) if isinstance(part, ast.Attribute) and _hidden(part.attr))
            yield from (part.attr for part in of_self if isinstance(part.value, ast.Name) and part.value.id == "self")


def _hidden(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def imports_pika(tree: ast.AST) -> bool:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return any(name.partition(".")[0] == "pika" for name in names)


def test_every_private_attribute_of_pika_that_is_touched_is_named_here() -> None:
    trees = [ast.parse(path.read_text()) for top in ("shared", "ops", "bench") for path in (ROOT / top).rglob("*.py")]
    assert {name for tree in trees if imports_pika(tree) for name in touched(tree)} == PRIVATE.keys()


@pytest.mark.parametrize("name", PRIVATE)
def test_the_installed_pika_has_each_of_them(name: str) -> None:
    assert re.search(rf"\b{name}\b", inspect.getsource(PRIVATE[name]))


def test_the_version_that_they_belong_to_is_pinned_and_installed() -> None:
    assert f"pika=={PIKA}" in (ROOT / "requirements.in").read_text().splitlines()
    assert version("pika") == PIKA
