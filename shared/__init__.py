"""Contains the delivery core, which the gateway, the workers and the operators' commands share.

The modules at this level (``errors``, ``clock``, ``backoff``, ``metrics``, ``logs``) need no other package, and
everything may import them. Each package may import only what lies below it; ``[tool.importlinter]`` in
``pyproject.toml`` lists the layers and ``./notify check`` enforces them. Nothing here imports ``gateway``,
``services``, ``ops`` or ``sandbox``.

docs/architecture.md explains how the packages work together and in which order to read them.
"""

from functools import cache
from pathlib import Path


@cache
def version() -> str:
    """Returns the version of the whole product, which is the content of the file ``VERSION`` beside this package."""
    return (Path(__file__).parents[1] / "VERSION").read_text().strip()
