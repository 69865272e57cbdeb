"""Finds variables that are probably misspelt settings, because they would otherwise be ignored silently."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def misspelt(variables: Mapping[str, Any], names: Collection[str]) -> list[tuple[str, str]]:
    """Returns one (variable, what is wrong) per unknown variable that differs from one of ``names`` in one error.

    With two errors a variable of another program could be taken for a setting: RABBITMQ_PORT, which Kubernetes sets for
    a service, for RABBITMQ_HOST. A variable beside which the setting itself is set belongs to another program too.
    """
    found = []
    for variable in sorted(set(variables) - set(names)):
        near = sorted(name for name in names if name not in variables and _differ_in_one_error(variable, name))
        if near:
            found.append((variable, f"there is no such setting; did you mean {' or '.join(near)}?"))
    return found


def _differ_in_one_error(given: str, name: str) -> bool:
    """Tells whether one letter is missing, too many or another one, or two neighbours are swapped."""
    if abs(len(given) - len(name)) > 1 or given == name:
        return False
    first = next((n for n, (one, other) in enumerate(zip(given, name, strict=False)) if one != other), None)
    if first is None:
        return True
    rest, expected = given[first:], name[first:]
    return (
        rest[1:] == expected[1:]
        or rest[1:] == expected
        or rest == expected[1:]
        or (rest[1::-1] == expected[:2] and rest[2:] == expected[2:])
    )
