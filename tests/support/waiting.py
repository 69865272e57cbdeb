"""Waits for a condition, never for a fixed time: polls until it holds, and reports what was seen if it never did."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_S = 0.02


def eventually(predicate: Callable[[], T], deadline_s: float = 10.0, poll_s: float = POLL_S) -> T:
    """Returns the first true value of ``predicate``. Raises AssertionError with the last value after ``deadline_s``.

    A failed assertion inside the predicate counts as "not yet"; the last one is raised at the deadline.
    """
    give_up_at = time.monotonic() + deadline_s
    while True:
        value, failure = _attempt(predicate)
        if value:
            return value
        if time.monotonic() > give_up_at:
            raise _never(deadline_s, value) from failure
        time.sleep(poll_s)


@overload
async def eventually_async(
    predicate: Callable[[], Awaitable[T]], deadline_s: float = 10.0, poll_s: float = POLL_S
) -> T: ...


@overload
async def eventually_async(predicate: Callable[[], T], deadline_s: float = 10.0, poll_s: float = POLL_S) -> T: ...


async def eventually_async(predicate: Callable[[], Any], deadline_s: float = 10.0, poll_s: float = POLL_S) -> Any:
    """Does the same as ``eventually`` without blocking the loop; the predicate may be a coroutine function."""
    give_up_at = time.monotonic() + deadline_s
    while True:
        value, failure = await _attempt_async(predicate)
        if value:
            return value
        if time.monotonic() > give_up_at:
            raise _never(deadline_s, value) from failure
        await asyncio.sleep(poll_s)


def _attempt(predicate: Callable[[], T]) -> tuple[T | None, AssertionError | None]:
    try:
        return predicate(), None
    except AssertionError as failure:
        return None, failure


async def _attempt_async(predicate: Callable[[], Any]) -> tuple[Any, AssertionError | None]:
    try:
        value = predicate()
        return (await value if isawaitable(value) else value), None
    except AssertionError as failure:
        return None, failure


def _never(deadline_s: float, value: object) -> AssertionError:
    return AssertionError(f"not within {deadline_s} s; the last value was {value!r}")
