"""Opens what has ``open`` and ``close``: clients and providers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar


class Openable(Protocol):
    async def open(self) -> None: ...

    async def close(self) -> None: ...


T = TypeVar("T", bound=Openable)


@asynccontextmanager
async def opened(thing: T) -> AsyncIterator[T]:
    """Yields ``thing`` while it is open."""
    await thing.open()
    try:
        yield thing
    finally:
        await thing.close()
