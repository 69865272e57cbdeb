"""Simulates everything around the hubs of nodes: one inbox, Redis, and devices. Each step happens when a test says so.

A test decides when a snapshot is taken and when its rows arrive, in which order wake-ups are published and heard, when
Redis confirms a subscription, and what of all that is lost. The hubs are the real ones.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from services.websocket.hub import Hub
from services.websocket.session import Phase, Session
from services.websocket.socket_metrics import SocketMetrics
from services.websocket.transport import native
from shared.errors import StoreUnavailable
from shared.realtime import wakeup
from shared.realtime.close_codes import INTERNAL, CloseCode
from shared.realtime.wakeup import Wakeup
from shared.store.values import Change, Owner, Position, Pull
from tests.models.inbox_line import InboxLine, Shown

OWNER = Owner("ann")
#: More turns of the loop than any chain of callbacks in the hub has.
_TURNS = 8


class Json:
    """Is the dialect of these devices: the frames themselves."""

    def live(self, owner: Owner, heard: Wakeup) -> bytes | None:
        return b"\n".join(heard.frames)


JSON = Json()


class Link:
    """Is one connection of a device. ``sent`` holds the frames that are on their way."""

    dialect = JSON

    def __init__(self, node: Node) -> None:
        self.node = node
        self.full = False
        self.sent: deque[dict[str, Any]] = deque()
        self.ended: CloseCode | None = None
        self.session: Session | None = None

    def write(self, data: bytes) -> None:
        if self.full:
            self.node.wrong.append("a device was written to although its buffer was full")
        if self.ended is None:
            self.sent.extend(orjson.loads(frame) for frame in data.split(b"\n"))

    def pulled(self, pull: Pull) -> Iterator[bytes]:
        return native.pages(pull)

    def end(self, code: CloseCode, after_ms: int | None = None) -> None:
        if self.ended is None:
            self.ended = code
            self.cut()

    def cut(self) -> None:
        """Ends the connection; what is on its way is lost."""
        self.sent.clear()
        if self.session is not None:
            self.node.hub.detach(self.session)


@dataclass(eq=False)
class Request:
    """Is a question to the store: first a snapshot is taken, later the answer arrives."""

    take: Callable[[], Any]
    future: asyncio.Future[Any]
    line: InboxLine
    taken: list[Any] = field(default_factory=list)

    def go_on(self) -> None:
        if not self.taken:
            self.taken.append(self.take())
        elif not self.future.done():
            self.future.set_result(self.line.answered(self.taken[0]))

    @property
    def over(self) -> bool:
        return self.future.done()


class Node:
    """Is one node: its hub, its connection to Redis, and its questions to the store."""

    def __init__(self, line: InboxLine, loop: asyncio.AbstractEventLoop, kind: type[Hub]) -> None:
        self.line, self._loop = line, loop
        self.hub = kind(self, self, SocketMetrics(CollectorRegistry()))
        self.links: list[Link] = []
        self.requests: list[Request] = []
        self.up = True
        self.wanted = self.subscribed = False
        self.confirming: list[asyncio.Future[None]] = []
        #: what its hub did that no hub may do
        self.wrong: list[str] = []
        #: wake-ups on their way to this node
        self.queue: deque[bytes] = deque()

    # -- As a store --------------------------------------------------------------------------------------------------

    async def pull(self, wanted: Sequence[tuple[Owner, Position | None]]) -> list[Pull]:
        answer: list[Pull] = await self._ask(lambda: [self.line.pull(since) for _, since in wanted])
        return answer

    async def positions(self, owners: Sequence[Owner]) -> dict[Owner, Position]:
        # Who has no inbox is absent.
        answer: dict[Owner, Position] = await self._ask(lambda: {OWNER: self.line.end} if self.line.epoch else {})
        return answer

    async def went_back(self, owner: Owner, seen: Position) -> None:
        self.line.begin_again()

    async def _ask(self, take: Callable[[], Any]) -> Any:
        self.requests.append(Request(take, self._loop.create_future(), self.line))
        return await self.requests[-1].future

    def go_on(self, number: int) -> None:
        """Goes on with one of the questions."""
        request = self.requests[number % len(self.requests)]
        request.go_on()
        if request.over:
            self.requests.remove(request)

    def fail(self) -> None:
        """Lets the store be unavailable for the questions that wait."""
        for request in self.requests:
            if not request.over:
                request.future.set_exception(StoreUnavailable("away"))
        self.requests.clear()

    # -- As Redis ----------------------------------------------------------------------------------------------------

    async def subscribe(self, owner: Owner) -> None:
        self.wanted = True
        if self.up:
            confirmed = self._loop.create_future()
            self.confirming.append(confirmed)
            await confirmed

    def unsubscribe(self, owner: Owner) -> None:
        self.wanted = self.subscribed = False
        self.queue.clear()

    def confirm(self) -> None:
        if self.confirming:
            self.subscribed = self.wanted
            _settle(self.confirming.pop(0))

    def lose_redis(self) -> None:
        self.up = self.subscribed = False
        self.queue.clear()
        while self.confirming:
            _settle(self.confirming.pop())

    def find_redis(self) -> None:
        if not self.up:
            self.up, self.subscribed = True, self.wanted
            self.hub.restored()

    def hear(self) -> None:
        self.hub.hear(OWNER, wakeup.parse(self.queue.popleft()))

    def hear_last(self) -> None:
        """Hears the newest wake-up first."""
        self.hub.hear(OWNER, wakeup.parse(self.queue.pop()))


@dataclass(eq=False)
class Phone:
    """Is a device that keeps the rules: a row is kept by its id, and the position moves with an applied frame."""

    position: Position | None = None
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    link: Link | None = None
    #: whether a pull has begun and its last frame is not here
    partial: bool = False
    #: whether everything was loaded, and not only the newest unread rows; ``more``: not even those
    whole: bool = True
    more: bool = False

    @property
    def shown(self) -> Shown:
        return {id_: one["read_at"] is not None for id_, one in self.rows.items() if not one.get("deleted")}

    def apply(self, frame: dict[str, Any], line: InboxLine) -> None:
        """Applies the next frame. Raises AssertionError for a hole, or for something that is shown twice."""
        if frame["type"] == "missed_notifications":
            self._apply_pull(frame)
        else:
            assert self.position is not None, "a live frame came before the first load"
            assert frame["prev"] == self.position.offset, "a live frame does not follow on the position"
            self._apply_live(frame)
            self.position = Position(self.position.epoch, frame["offset"])
        if not self.partial:
            self.check(line, frame["unread"])

    def forget_if_nowhere(self) -> None:
        """Begins with an empty list if there is no position."""
        self.partial = False
        if self.position is None:
            self.rows, self.whole, self.more = {}, True, False

    def _apply_pull(self, frame: dict[str, Any]) -> None:
        if not frame["recovered"]:
            self.rows, self.position, self.whole, self.more = {}, None, False, False
        elif self.position is not None and self.position.offset == 0:
            self.whole, self.more = True, False
        for item in frame["items"]:
            known = self.rows.get(item["id"])
            if known is None or known["offset"] < item["offset"]:
                self.rows[item["id"]] = item
        self.partial = "offset" not in frame
        if not self.partial:
            self.position = Position(frame["epoch"], frame["offset"])
            self.more = self.more or frame["more"]

    def _apply_live(self, frame: dict[str, Any]) -> None:
        new = frame.get("notification")
        if new is not None:
            assert new["id"] not in self.rows, "a notification is shown twice"
            self.rows[new["id"]] = new
        for item in frame.get("items", ()):
            if item["id"] in self.rows:
                self.rows[item["id"]] = {**self.rows[item["id"]], **item, "offset": frame["offset"]}
        for one in self.rows.values():
            if "upto" in frame and one["id"] <= frame["upto"] and not one.get("deleted") and one["read_at"] is None:
                one.update(read_at=frame["read_at"], offset=frame["offset"])

    def check(self, line: InboxLine, unread: int) -> None:
        """Raises AssertionError unless it shows the inbox as of its position, for all that it has loaded."""
        assert self.position is not None
        looked, shown = line.looked.get(self.position), self.shown
        assert looked is not None, f"{self.position} is no position of the inbox"
        assert unread == line.counted[self.position], "the counter is not that of its position"
        assert shown.items() <= looked.items(), f"at {self.position}: {shown} is shown, and the inbox was {looked}"
        if self.whole:
            assert shown == looked, f"a hole at {self.position}: {shown} is shown, and the inbox was {looked}"
        elif not self.more:
            missing = {id_ for id_, read in looked.items() if not read} - shown.keys()
            assert not missing, f"a hole at {self.position}: {missing} is unread and not shown"


class Inboxes:
    """Holds one inbox, the nodes and the devices, and the loop in which the hubs run."""

    def __init__(
        self, kind: type[Hub] = Hub, line: type[InboxLine] = InboxLine, nodes: int = 2, phones: int = 2
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self._kind = kind
        self.line = line(OWNER)
        self.nodes = [Node(self.line, self.loop, kind) for _ in range(nodes)]
        self.phones = [Phone() for _ in range(phones)]
        #: committed, and not published yet
        self.unpublished: list[bytes] = []
        #: messages that will be redelivered, because their writer has died
        self.redelivered = 0
        #: whether a wake-up was lost for good, so that only a check of positions can find it
        self.lost = False
        self.died: list[BaseException] = []
        #: whether a device may be ended because of an error in what it is shown
        self.may_break = False
        self.loop.set_exception_handler(self._note)
        #: They are kept, because nothing else holds their tasks.
        self._killed: list[Node] = []

    def close(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.turn()
        self.loop.close()

    def turn(self) -> None:
        """Lets the hubs do everything that they can do now."""

        self.loop.run_until_complete(_turns())
        self._look()

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.died.append(context.get("exception") or RuntimeError(context["message"]))

    def _look(self) -> None:
        assert not self.died, self.died
        assert not any(node.wrong for node in self.nodes), [node.wrong for node in self.nodes]
        for phone in self.phones:
            if phone.link is not None and phone.link.ended is not None:
                assert self.may_break or phone.link.ended is not INTERNAL, "an error ended a connection; see the log"
                phone.link = None

    def call(self, work: Callable[[], object]) -> None:
        """Runs a step inside the loop, as a callback of it."""

        self.loop.run_until_complete(_turns(work))
        self._look()

    # -- Steps -------------------------------------------------------------------------------------------------------

    def commit(self, change: Change | None) -> None:
        if change is not None:
            self.unpublished.append(wakeup.encode(change))

    def publish(self, number: int, *, keep: bool = False) -> None:
        """Publishes one of the wake-ups, in whatever order; ``keep``: it will be published again."""
        number %= len(self.unpublished)
        body = self.unpublished[number] if keep else self.unpublished.pop(number)
        for node in self.nodes:
            if node.subscribed:
                node.queue.append(body)

    def connect(self, phone: Phone, node: Node) -> None:
        phone.forget_if_nowhere()
        link = phone.link = Link(node)
        node.links.append(link)
        link.session = node.hub.attach(OWNER, link, self.resumes_from(phone))

    def resumes_from(self, phone: Phone) -> Position | None:
        """Returns the position that the hub is told: the device's own."""
        return phone.position

    def cut(self, phone: Phone) -> None:
        if phone.link is not None:
            phone.link.cut()
            phone.link = None

    def deliver(self, phone: Phone) -> None:
        if phone.link is not None and phone.link.sent:
            phone.apply(phone.link.sent.popleft(), self.line)

    def deliver_all(self, phone: Phone) -> None:
        while phone.link is not None and phone.link.sent:
            self.deliver(phone)

    def drain(self, phone: Phone) -> None:
        link = phone.link
        if link is not None and link.full:
            link.full = False
            assert link.session is not None
            link.node.hub.drained(link.session)

    def kill(self, number: int) -> None:
        """Ends a node without a word; another one takes its place."""
        for phone in self.phones:
            if phone.link is not None and phone.link.node is self.nodes[number]:
                phone.link = None
        self._killed.append(self.nodes[number])
        self.nodes[number] = Node(self.line, self.loop, self._kind)

    def check(self, node: Node) -> None:
        async def at_once() -> None:
            return

        async def check() -> None:
            try:
                await node.hub.check(at_once)
            except StoreUnavailable:
                return

        self.loop.create_task(check())

    # -- What must be true -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Lets everything happen that can happen without a fault; then every device must show the inbox.

        Unless a wake-up was lost for good, this needs no check of positions.
        """
        self._go_on()
        if self.lost:
            for node in self.nodes:
                self.call(lambda node=node: self.check(node))  # type: ignore[misc]
            self._go_on()
            self.lost = False
        for phone in self.phones:
            if phone.link is not None:
                assert phone.position == self.line.end, f"behind: at {phone.position}, the inbox is at {self.line.end}"
                phone.check(self.line, self.line.unread)
                assert phone.link.session is not None
                assert phone.link.session.phase is Phase.LIVE

    def _go_on(self) -> None:
        for _ in range(1000):
            step = self._next_step()
            if step is None:
                return
            self.call(step)
        raise AssertionError("it never comes to an end")

    def _next_step(self) -> Callable[[], object] | None:
        if self.redelivered:
            self.redelivered -= 1
            return lambda: self.commit(self.line.repeat())
        if self.unpublished:
            return lambda: self.publish(0)
        for node in self.nodes:
            if not node.up:
                return node.find_redis
            if node.confirming:
                return node.confirm
            if node.queue:
                return node.hear
            if node.requests:
                return lambda: node.go_on(0)
        for phone in self.phones:
            if phone.link is not None and phone.link.full:
                return lambda: self.drain(phone)
            if phone.link is not None and phone.link.sent:
                return lambda: self.deliver(phone)
        return None


async def _turns(work: Callable[[], object] = lambda: None) -> None:
    work()
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
