"""How long something was missing, read off the times at which it was there. All times are seconds."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise


def longest_gap(times: Iterable[float], since: float, until: float) -> float:
    """The longest stretch of ``since`` to ``until`` with none of ``times`` in it."""
    within = sorted(at for at in times if since < at < until)
    return max(later - earlier for earlier, later in pairwise((since, *within, until)))


def first_after(times: Iterable[float], since: float) -> float | None:
    """How long after ``since`` the first of ``times`` is; None if none is."""
    return min((at - since for at in times if at > since), default=None)


def last_after(times: Iterable[float], since: float) -> float | None:
    """How long after ``since`` the last of ``times`` is; None if none is."""
    return max((at - since for at in times if at > since), default=None)
