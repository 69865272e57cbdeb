"""Fakes the parts that the gateway works with; the fakes remember their calls."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gateway.accept.acceptor import Acceptor
from gateway.accept.duplicates import AcceptedRecords, Key
from gateway.health.counts import AcceptedCounts
from shared.broker.publisher import Publication, Publisher
from shared.broker.queue_depth import Sampler
from shared.errors import PublishFailed, PublishUnknown
from shared.message.channels import Lane

#: It decides the result of one publication.
Fate = Callable[[Publication], PublishFailed | None]


def confirmed(_publication: Publication) -> PublishFailed | None:
    return None


class FakeBroker(Publisher):
    """Answers at once by ``fate``, but never answers for the routing keys in ``held``: those run into the deadline."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.fate: Fate = confirmed
        self.calls: list[list[Publication]] = []
        self.deadlines_s: list[float | None] = []
        self.held: set[str] = set()
        self.explodes = False
        self.hangs = False
        self._journal = journal if journal is not None else []

    @property
    def published(self) -> list[Publication]:
        return [publication for call in self.calls for publication in call]

    async def publish_all(
        self, publications: Sequence[Publication], deadline_s: float | None = None
    ) -> list[PublishFailed | None]:
        self.calls.append(list(publications))
        self.deadlines_s.append(deadline_s)
        if self.explodes:
            raise RuntimeError("unforeseen")
        if self.hangs:
            await asyncio.Event().wait()
        if self.held & {publication.routing_key for publication in publications}:
            await asyncio.sleep(deadline_s or 0)
        self._journal.append("confirmed")
        return [self._outcome(publication) for publication in publications]

    def _outcome(self, publication: Publication) -> PublishFailed | None:
        return PublishUnknown("silence") if publication.routing_key in self.held else self.fate(publication)


class FakeRecords(AcceptedRecords):
    """A dictionary instead of Redis; ``rounds`` counts the look-ups."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.digests: dict[Key, str] = {}
        self.rounds = 0
        self.explodes = False
        self._journal = journal if journal is not None else []

    async def find(self, keys: Sequence[Key]) -> list[str | None]:
        self.rounds += 1
        if self.explodes:
            raise RuntimeError("unforeseen")
        return [self.digests.get(key) for key in keys]

    async def remember(self, digests: Sequence[tuple[Key, str]]) -> None:
        self._journal.append("recorded")
        self.digests.update(digests)


class FakeDepths(Sampler):
    def __init__(self) -> None:
        super().__init__()
        self.depths: dict[Lane, int | None] = {}

    def ready(self, lane: Lane) -> int | None:
        return self.depths.get(lane, 0)


class FakeCounts(AcceptedCounts):
    def __init__(self) -> None:
        self.lanes: list[Lane] = []

    def add(self, lanes: Iterable[Lane]) -> None:
        self.lanes += lanes


@contextmanager
def running(acceptor: Acceptor, broker: FakeBroker) -> Iterator[None]:
    """Runs the acceptor in a loop of its own thread, as in the product."""
    loop = asyncio.new_event_loop()
    task: asyncio.Task[Any] = loop.create_task(acceptor.run(broker))

    def work() -> None:
        try:
            loop.run_until_complete(asyncio.wait([task]))
        finally:
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
