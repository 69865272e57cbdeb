"""Stand-ins for what the gateway works with; they remember."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gateway.accept.accepted import Key
from gateway.accept.intake import Intake
from gateway.accept.verdict import Accepted
from shared.broker.publisher import Publication
from shared.errors import PublishFailed
from shared.message.channels import Lane

#: what becomes of one publication
Fate = Callable[[Publication], PublishFailed | None]


def confirmed(_publication: Publication) -> PublishFailed | None:
    return None


class FakeBroker:
    """Answers at once by ``fate``, unless ``held`` is a lane's routing key: then never."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.fate: Fate = confirmed
        self.calls: list[list[Publication]] = []
        self.deadlines_s: list[float | None] = []
        self.held: set[str] = set()
        self._holds: dict[str, asyncio.Event] = {}
        self.explodes = False
        self._journal = journal if journal is not None else []

    def hold(self, routing_key: str) -> asyncio.Event:
        """Until the event is set nothing is answered for this lane."""
        return self._holds.setdefault(routing_key, asyncio.Event())

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
        for publication in publications:
            if publication.routing_key in self._holds:
                await self._holds[publication.routing_key].wait()
        if self.held & {publication.routing_key for publication in publications}:
            await asyncio.Event().wait()
        self._journal.append("confirmed")
        return [self.fate(publication) for publication in publications]


class FakeRecords:
    """A dictionary; ``rounds`` counts the look-ups."""

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


class FakeDepths:
    def __init__(self) -> None:
        self.depths: dict[Lane, int | None] = {}

    def ready(self, lane: Lane) -> int | None:
        return self.depths.get(lane, 0)


class FakeCounts:
    def __init__(self) -> None:
        self.lanes: list[Lane] = []

    def add(self, lanes: Iterable[Lane]) -> None:
        self.lanes += lanes


@contextmanager
def running(intake: Intake, broker: FakeBroker) -> Iterator[None]:
    """The intake at work in a loop of its own thread, as in the product."""
    loop = asyncio.new_event_loop()
    task: asyncio.Task[Any] = loop.create_task(intake.run(broker))

    def work() -> None:
        try:
            loop.run_until_complete(asyncio.wait([task]))
        finally:
            for left in asyncio.all_tasks(loop):
                left.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def accepted(verdict: object) -> bool:
    return isinstance(verdict, Accepted)
