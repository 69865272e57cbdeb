"""Runs a small node for tests of clients: sockets, server-sent events, long polls and the routes of the inbox.

The inboxes are the real store, and the frames are those of ``shared.realtime.frames``; what a test wants to go wrong,
the test says: which connections are cut and how, which changes nobody is told of, which tokens are refused.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
from aiohttp import WSMsgType, web

from shared.clock import now_ms
from shared.realtime import frames
from shared.realtime.close_codes import BAD_TOKEN, EVICTED, TOKEN_EXPIRED, CloseCode
from shared.store.store import Store
from shared.store.values import Change, Filter, NewNotification, Owner, Position, Pull, Stored
from tests.support.ending import end_everything
from tests.support.run.servers import run_ports

T = TypeVar("T")

_STATIC = Path(__file__).parents[3] / "gateway" / "static"
#: Rows of one frame of a pull: few, so that a pull usually has several frames.
_PAGE_ROWS = 2
#: What a strict page allows: nothing inline, and nothing from elsewhere. (The icon is an empty one.)
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
_BLANK = "<!doctype html><html lang=en><meta charset=utf-8><title>blank</title><link rel=icon href=data:,><body></body>"
TOKEN = "token-of-"


@dataclass(eq=False)
class Device:
    """Is one connection. ``resume`` is the position that it named; ``received`` holds the frames that it sent."""

    user: str
    transport: str
    resume: Position | None
    token: str
    epoch: str = ""
    queue: asyncio.Queue[bytes | CloseCode | None] = field(default_factory=asyncio.Queue)
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def owner(self) -> Owner:
        return Owner(self.user)


class FakeNode:
    """Controls the server, which runs in a thread of its own. Its methods may be called from any other thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.port = run_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        #: connections that are open, oldest first
        self.devices: list[Device] = []
        #: every connection that there was
        self.past: list[Device] = []
        #: how often a socket was asked for
        self.attempts = 0
        #: the HTTP status that every upgrade gets, and every stream of events, None to accept them
        self.refuse_sockets: int | None = None
        self.refuse_events: int | None = None
        self.refuse_lists: int | None = None
        #: users who are told of no change until they connect again
        self.silenced: set[str] = set()
        self.expired: set[str] = set()
        self.bad: set[str] = set()
        self.tokens_given = 0
        #: whether the page's own server gives no tokens, because nobody is logged in
        self.signed_out = False
        #: the codes of the errors with which the next changes are answered
        self.errors: list[str] = []
        #: whether pings get no answer
        self.deaf = False
        self.most_devices = 5
        #: whether a device without a token is believed to be the user that its address names
        self.open = False
        self._ids = itertools.count(1)
        self._numbers = itertools.count(1)
        self._polls: set[asyncio.Event] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None

    # -- What tests do -----------------------------------------------------------------------------------------------

    def new(self, user: str = "u1", title: str = "Hello", **fields: Any) -> int:
        """Stores a notification and tells the user's devices. Returns its id."""
        return self.new_many(user, [title], **fields)[0]

    def new_many(self, user: str, titles: Sequence[str], **fields: Any) -> list[int]:
        usual: dict[str, Any] = {
            "client": "",
            "type": "info",
            "priority": "medium",
            "category": None,
            "body": "",
            "extra": "{}",
            "created_ms": now_ms(),
        }
        link = fields.pop("link", None)
        if link is not None:
            fields["extra"] = orjson.dumps({"link": link}).decode()
        batch = [
            NewNotification(user_id=user, request_id=f"r{next(self._ids)}", title=title, **{**usual, **fields})
            for title in titles
        ]
        ids: list[int] = []
        for first in range(0, len(batch), 256):
            inserted = self.store.insert(batch[first : first + 256])
            ids += [result.id for result in inserted.results if isinstance(result, Stored)]
            for change in inserted.changes:
                self.tell(change)
        return ids

    def mark(self, user: str, ids: Sequence[int], **marks: bool) -> None:
        self.tell(self.store.mark(Owner(user), ids, **marks))

    def delete(self, user: str, ids: Sequence[int]) -> None:
        self.tell(self.store.delete(Owner(user), ids))

    def read_all(self, user: str, upto: int) -> None:
        self.tell(self.store.read_all(Owner(user), upto))

    def erase(self, user: str) -> None:
        """Erases the user's inbox, and gives the devices their empty list."""
        self.store.erase(Owner(user))
        self._each(user, lambda device: self._pull(device, Position("gone", 1)))

    def tell(self, change: Change | None) -> None:
        """Sends the change to the devices of its user."""
        if change is not None:
            self._in_loop(lambda: self._fan_out(change))

    def say(self, user: str, frame: dict[str, Any]) -> None:
        """Sends a frame to the devices of a user."""
        self._each(user, lambda device: device.queue.put_nowait(orjson.dumps(frame)))

    def devices_of(self, user: str) -> list[Device]:
        return [device for device in self.devices if device.user == user]

    def cut(self, user: str = "u1") -> None:
        """Cuts the connections of a user without a word."""
        self._each(user, lambda device: device.queue.put_nowait(None))

    def close(self, code: CloseCode, user: str = "u1", after_ms: int | None = None) -> None:
        """Closes the connections of a user, with a ``disconnect`` frame before."""
        self._each(user, lambda device: self._end(device, code, after_ms))

    def _each(self, user: str | None, do: Callable[[Device], None]) -> None:
        """Does something with the connections of a user, or with all of them."""

        def work() -> None:
            for device in list(self.devices):
                if user is None or device.user == user:
                    do(device)

        self._in_loop(work)

    # -- The server --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()
        self._run(self._start())

    def stop(self) -> None:
        if self._runner is not None:
            self._each(None, lambda device: device.queue.put_nowait(None))
            self._run(_close(self._runner))
            self._runner = None
        self._run(end_everything())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        # What a browser opened while the loop ended is freed here, and not in a later test.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def listen(self) -> None:
        """Opens the port (again)."""
        self._run(self._start())

    def die(self) -> None:
        """Cuts everything and closes the port, as a killed process would."""
        assert self._runner is not None
        self._each(None, lambda device: device.queue.put_nowait(None))
        self._run(_close(self._runner))
        self._runner = None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(15)

    def _in_loop(self, call: Callable[[], Any]) -> None:
        async def work() -> None:
            call()

        self._run(work())

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/ws", self._socket)
        app.router.add_get("/sse", self._events)
        app.router.add_get("/poll", self._poll)
        app.router.add_get("/notify-inbox.js", self._module)
        app.router.add_get("/blank", self._blank)
        app.router.add_get("/page", self._page)
        app.router.add_get("/token", self._token)
        app.router.add_get("/demo/settings.json", self._demo_settings)
        app.router.add_get("/demo/{name:.*}", self._demo)
        app.router.add_get("/users/{user}/inbox", self._list)
        app.router.add_patch("/users/{user}/inbox", self._mark)
        app.router.add_get("/users/{user}/inbox/{id}", self._get)
        app.router.add_delete("/users/{user}/inbox/{id}", self._delete)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()

    # -- Devices -----------------------------------------------------------------------------------------------------

    def _fan_out(self, change: Change) -> None:
        user = change.owner.user_id
        if user not in self.silenced:
            for device in self.devices_of(user):
                if device.epoch != change.epoch:
                    # Live frames do not name an epoch: the device learns a new one with a pull.
                    self._pull(device, Position(device.epoch, 0))
                    continue
                for frame in frames.of_change(change):
                    device.queue.put_nowait(frame)
        for poll in self._polls:
            poll.set()

    def _pull(self, device: Device, position: Position | None) -> None:
        self._send_pull(device, self._answer(device.owner, position))

    @staticmethod
    def _send_pull(device: Device, pull: Pull) -> None:
        device.epoch = pull.position.epoch
        for frame in _pages(pull):
            device.queue.put_nowait(frame)

    def _answer(self, owner: Owner, position: Position | None) -> Pull:
        return self.store.pull([(owner, position)])[0]

    def _end(self, device: Device, code: CloseCode, after_ms: int | None = None) -> None:
        if device in self.devices:
            self.devices.remove(device)
        goodbye: dict[str, Any] = {
            "type": "disconnect",
            "code": code.code,
            "reason": code.reason,
            "reconnect": code.reconnect,
        }
        if after_ms is not None:
            goodbye["after_ms"] = after_ms
        device.queue.put_nowait(orjson.dumps(goodbye))
        device.queue.put_nowait(code)

    def _refusal(self, token: str) -> CloseCode | None:
        if not token.startswith(TOKEN) or token in self.bad:
            return BAD_TOKEN
        return TOKEN_EXPIRED if token in self.expired else None

    def _believed(self, request: web.Request) -> str:
        """Returns the token of the user that the address names, as a development server believes it."""
        user = request.query.get("user_id")
        return f"{TOKEN}{user}" if self.open and user else ""

    def _attach(self, token: str, transport: str, resume: Position | None) -> Device:
        user = token.removeprefix(TOKEN).partition("#")[0]
        device = Device(user, transport, resume, token)
        self.past.append(device)
        refusal = self._refusal(token)
        if refusal is not None:
            self._end(device, refusal)
            return device
        self.silenced.discard(user)
        self.devices.append(device)
        for oldest in self.devices_of(user)[: -self.most_devices]:
            self._end(oldest, EVICTED)
        pull = self._answer(device.owner, resume)
        welcome = {
            "type": "welcome",
            "connection": str(next(self._numbers)),
            "user_id": user,
            "recovered": pull.recovered,
            "unread": pull.unread,
            "ping_s": 20,
            "expires_at": None,
        }
        device.queue.put_nowait(orjson.dumps(welcome))
        self._send_pull(device, pull)
        return device

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self.attempts += 1
        if self.refuse_sockets is not None:
            return web.Response(status=self.refuse_sockets)
        socket = web.WebSocketResponse(max_msg_size=16384)
        await socket.prepare(request)
        auth = await socket.receive()
        if auth.type is not WSMsgType.TEXT:
            return socket
        hello = orjson.loads(auth.data)
        resume = hello.get("resume")
        at = None if resume is None else Position(resume["epoch"], resume["offset"])
        device = self._attach(hello.get("token") or self._believed(request), "socket", at)
        device.received.append(hello)
        writing = asyncio.create_task(self._write(device, socket, request))
        with suppress(ConnectionError):
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._take(device, orjson.loads(message.data))
        self._gone(device)
        writing.cancel()
        return socket

    async def _write(self, device: Device, socket: web.WebSocketResponse, request: web.Request) -> None:
        while True:
            one = await device.queue.get()
            if one is None:
                self._gone(device)
                if request.transport is not None:
                    request.transport.abort()
                return
            if isinstance(one, CloseCode):
                await socket.close(code=one.code, message=one.reason.encode())
                return
            with suppress(ConnectionError):
                await socket.send_str(one.decode())

    def _take(self, device: Device, frame: dict[str, Any]) -> None:
        device.received.append(frame)
        kind, owner = frame.get("type"), device.owner
        if "id" in frame and self.errors:
            answer = {"type": "error", "code": self.errors.pop(0), "detail": "as the test wants", "id": frame["id"]}
            device.queue.put_nowait(orjson.dumps(answer))
            return
        change = None
        match kind:
            case "ping" if not self.deaf:
                device.queue.put_nowait(b'{"type":"pong"}')
            case "read" | "unread":
                change = self.store.mark(owner, frame["ids"], read=kind == "read")
            case "archive":
                change = self.store.mark(owner, frame["ids"], archived=True)
            case "delete":
                change = self.store.delete(owner, frame["ids"])
            case "read_all":
                change = self.store.read_all(owner, frame["upto"])
        if change is not None:
            self._fan_out(change)
        if "id" in frame:
            device.queue.put_nowait(orjson.dumps({"type": "done", "id": frame["id"]}))

    def _gone(self, device: Device) -> None:
        if device in self.devices:
            self.devices.remove(device)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_events is not None:
            return web.Response(status=self.refuse_events)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or self._believed(request)
        if self._refusal(token) is not None:
            return web.Response(status=401)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        device = self._attach(token, "sse", _position(request))
        try:
            while True:
                one = await device.queue.get()
                if one is None or isinstance(one, CloseCode):
                    return response
                event = orjson.loads(one)["type"].encode()
                await response.write(b"event: " + event + b"\r\ndata: " + one + b"\r\n\r\n")
        except ConnectionError:
            return response
        finally:
            self._gone(device)

    async def _poll(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or self._believed(request)
        if self._refusal(token) is not None:
            return web.Response(status=401)
        owner, position = Owner(token.removeprefix(TOKEN).partition("#")[0]), _position(request)
        self.past.append(Device(owner.user_id, "poll", position, token))
        changed = asyncio.Event()
        self._polls.add(changed)
        try:
            pull = self._answer(owner, position)
            if pull.recovered and not pull.rows:
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), float(request.query.get("wait", "25")))
                pull = self._answer(owner, position)
        finally:
            self._polls.discard(changed)
        answer = orjson.loads(
            frames.missed_notifications(
                [frames.item_bytes(row) for row in pull.rows],
                recovered=pull.recovered,
                more=pull.more,
                position=pull.position,
                unread=pull.unread,
            )
        )
        del answer["type"]
        return web.json_response(answer)

    # -- The routes of the gateway -----------------------------------------------------------------------------------

    async def _module(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/javascript", "Access-Control-Allow-Origin": "*"}
        return web.FileResponse(_STATIC / "inbox" / "notify-inbox.js", headers=headers)

    async def _blank(self, request: web.Request) -> web.Response:
        return _html(_BLANK)

    async def _page(self, request: web.Request) -> web.Response:
        """Serves a page with the element: ``?user=u1``, further attributes as in the query, ``dir`` and ``lang``."""
        query = dict(request.query)
        direction, language = query.pop("dir", "ltr"), query.pop("lang", "en")
        attributes = {"token-url": f"/token?user={query['user']}", "node": f"ws://127.0.0.1:{self.port}/ws", **query}
        element = " ".join(f'{name}="{value}"' for name, value in attributes.items())
        return _html(
            f'<!doctype html><html lang="{language}" dir="{direction}"><meta charset="utf-8"><title>page</title>'
            '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
            '<script type="module" src="/notify-inbox.js"></script>'
            f"<body><notify-inbox {element}></notify-inbox></body>"
        )

    async def _token(self, request: web.Request) -> web.Response:
        self.tokens_given += 1
        if self.signed_out:
            return web.Response(status=401)
        return web.json_response({"token": f"{TOKEN}{request.query['user']}#{self.tokens_given}"})

    async def _demo(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"] or "index.html"
        return web.FileResponse(_STATIC / "demo" / name, headers={"Content-Security-Policy": POLICY})

    async def _demo_settings(self, request: web.Request) -> web.Response:
        return web.json_response({"socket_port": self.port, "token_required": not self.open})

    def _owner(self, request: web.Request) -> Owner:
        user = request.match_info["user"]
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._refusal(token) is not None or token.removeprefix(TOKEN).partition("#")[0] != user:
            raise web.HTTPUnauthorized
        if self.refuse_lists is not None:
            raise web.HTTPServiceUnavailable
        return Owner(user)

    async def _list(self, request: web.Request) -> web.Response:
        owner, query = self._owner(request), request.query
        cursor = int(query["cursor"]) if "cursor" in query else None
        wanted = Filter(status=query.get("status", "all"))  # type: ignore[arg-type]
        page = self.store.page(owner, wanted, cursor=cursor, limit=int(query.get("limit", "20")))
        items = [frames.item(row) for row in page.items]
        return web.json_response({"items": items, "next": page.next, "unread": page.unread})

    async def _get(self, request: web.Request) -> web.Response:
        row = self.store.get(self._owner(request), int(request.match_info["id"]))
        return web.Response(status=404) if row is None else web.json_response(frames.item(row))

    async def _mark(self, request: web.Request) -> web.Response:
        owner, marks = self._owner(request), await request.json()
        if "upto" in marks:
            change = self.store.read_all(owner, marks["upto"])
        else:
            change = self.store.mark(owner, marks["ids"], read=marks.get("read"), archived=marks.get("archived"))
        if change is not None:
            self._fan_out(change)
        return web.json_response({"changed": change is not None})

    async def _delete(self, request: web.Request) -> web.Response:
        change = self.store.delete(self._owner(request), [int(request.match_info["id"])])
        if change is None:
            return web.Response(status=404)
        self._fan_out(change)
        return web.json_response({"changed": True})


def _pages(pull: Pull) -> Iterator[bytes]:
    """Returns a pull as frames: only the first says that everything is replaced, only the last has the position."""
    items = [frames.item_bytes(row) for row in pull.rows]
    recovered = pull.recovered
    while len(items) > _PAGE_ROWS:
        yield frames.missed_notifications(items[:_PAGE_ROWS], recovered=recovered)
        items, recovered = items[_PAGE_ROWS:], True
    yield frames.missed_notifications(
        items, recovered=recovered, more=pull.more, position=pull.position, unread=pull.unread
    )


def _position(request: web.Request) -> Position | None:
    text = request.query.get("position")
    if text is None:
        return None
    epoch, _, offset = text.partition(":")
    return Position(epoch, int(offset))


async def _close(runner: web.AppRunner) -> None:
    """Closes the port and every connection, also one whose peer reads nothing any more."""
    assert runner.server is not None
    for site in list(runner.sites):
        await site.stop()
    # A connection that was accepted just before becomes one of the server's within a few turns of the loop.
    for _ in range(5):
        await asyncio.sleep(0)
    transports = [handler.transport for handler in runner.server.connections]
    await runner.cleanup()
    for transport in transports:
        if transport is not None:
            transport.abort()


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": POLICY})


@contextmanager
def fake_node(database_url: str) -> Iterator[FakeNode]:
    """Yields a node over the database, which has its tables."""
    store = Store(database_url)
    node = FakeNode(store)
    node.start()
    try:
        yield node
    finally:
        node.stop()
        store.close()
