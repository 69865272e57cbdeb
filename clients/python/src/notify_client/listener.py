"""Listens to the inbox of one user over a WebSocket, and shows what the server has after every lost connection."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from notify_client.errors import ChangeFailed, Closed
from notify_client.events import Arrived, Changed, Connected, Disconnected, Event, Missed
from notify_client.inbox import Applied, GapFound, Inbox, Position
from notify_client.position_file import PositionFile
from notify_client.reconnect import SLOWLY_S, Backoff, after_close

log = logging.getLogger(__name__)

#: A token, or a function that returns one; it is called for each connection, and again before the token ends.
#: None: a development server that asks for none is told the user in the URL (``?user_id=``).
TokenSource = str | Callable[[], str | Awaitable[str]]

#: Most events that wait to be taken; then the connection is read only for the answer to a change.
MOST_WAITING = 1_000
#: Largest frame that is accepted from the server, bytes.
MAX_FRAME_BYTES = 16 * 1024 * 1024
#: How long a connection may take to be opened, and how long a server may take to greet, seconds.
GREET_S = 12.0
#: How long a change may take, a reconnection included, seconds.
CHANGE_S = 20.0
#: The errors after which a change is sent again, and after how long, seconds.
TEMPORARY, AGAIN_S = ("rate_limited", "store_unavailable"), 1.0
#: Most ids in one frame.
MOST_IDS = 100
#: A close of this side, or a cut: no close frame came.
_LOST = 1006


class _Ended(NamedTuple):
    """Says how a connection ended."""

    code: int
    reason: str
    after_ms: int | None = None
    reconnect: bool = True


class _Waiting(NamedTuple):
    """Is an event that waits to be taken, and the position that the device has with it."""

    event: Event
    position: Position | None


class Listener:
    """Is one device of a user::

        async with Listener("ws://127.0.0.1:5055/ws", token=get_token, state="inbox.json") as listener:
            async for event in listener:
                match event:
                    case Arrived(row=row, is_new=True):
                        print(row.title)
                        await listener.read([row.id])

    It connects, resumes and comes back by itself. The loop ends by raising Closed, when the server wants this device to
    stay away. With ``state``, a file, the position survives a restart: an event counts as handled when the next one is
    asked for, so what was not handled comes again, in a ``Missed``.

    ``inbox`` holds the rows that this process has heard of, and the number of unread ones.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource | None,
        state: str | PathLike[str] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.url = url
        self._token = token
        self._file = None if state is None else PositionFile(Path(state))
        self.inbox = Inbox(None if self._file is None else self._file.read())
        self._backoff = backoff or Backoff()
        self._events: asyncio.Queue[_Waiting | BaseException] = asyncio.Queue()
        self._room = asyncio.Event()
        self._refused_tokens = 0
        self._taken: Position | None = None
        self._connection: ClientConnection | None = None
        self._live = asyncio.Event()
        self._changes: dict[str, asyncio.Future[None]] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._start(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        # The event before this one has been handled.
        if self._file is not None and self._taken is not None:
            self._file.write(self._taken)
            self._taken = None
        waiting = await self._events.get()
        self._room.set()
        if isinstance(waiting, BaseException):
            # Whoever asks again gets the same answer.
            self._events.put_nowait(waiting)
            raise waiting
        self._taken = waiting.position
        return waiting.event

    # -- Changes; each returns when the server has made it, and raises ChangeFailed -----------------------------------

    async def read(self, ids: Sequence[int]) -> None:
        """Marks notifications as read."""
        await self._change_ids("read", ids)

    async def mark_unread(self, ids: Sequence[int]) -> None:
        """Marks notifications as unread."""
        await self._change_ids("unread", ids)

    async def archive(self, ids: Sequence[int]) -> None:
        """Archives notifications."""
        await self._change_ids("archive", ids)

    async def delete(self, ids: Sequence[int]) -> None:
        """Deletes notifications for good."""
        await self._change_ids("delete", ids)

    async def read_all(self, upto: int) -> None:
        """Marks as read everything up to an id: that of the newest notification that has been seen."""
        await self._change({"type": "read_all", "upto": upto})

    async def _change_ids(self, kind: str, ids: Sequence[int]) -> None:
        for first in range(0, len(ids), MOST_IDS):
            await self._change({"type": kind, "ids": list(ids[first : first + MOST_IDS])})

    async def _change(self, frame: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(CHANGE_S):
                # Making a change twice is the same as making it once, so it is repeated until there is an answer.
                while not await self._change_once(frame):
                    pass
        except TimeoutError:
            raise ChangeFailed("timeout", f"the server did not answer within {CHANGE_S:.0f} s") from None

    async def _change_once(self, frame: dict[str, Any]) -> bool:
        """Sends the change on the present connection. Returns False if it has to be sent again."""
        await self._live.wait()
        connection = self._connection
        if connection is None:
            return False
        id_ = str(next(self._numbers))
        answer = self._changes[id_] = asyncio.get_running_loop().create_future()
        self._room.set()
        try:
            await connection.send(json.dumps({**frame, "id": id_}))
            await answer
        except ChangeFailed as error:
            if error.code not in TEMPORARY:
                raise
            await asyncio.sleep(AGAIN_S)
            return False
        except (ConnectionClosed, _ConnectionEnded):
            if self._connection is connection:
                # The task that reads it has not noticed yet.
                self._live.clear()
            return False
        finally:
            del self._changes[id_]
        return True

    # -- Connections ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                ended, up_s = await self._connect_once()
                self._backoff.was_up(up_s)
                await self._wait(ended)
        except Closed as closed:
            self._events.put_nowait(closed)
        except Exception as error:
            # Whoever listens must not wait for ever for a task that is gone.
            log.exception("the listener ended")
            self._events.put_nowait(error)

    async def _wait(self, ended: _Ended) -> None:
        """Waits until the next connection may be made. Raises Closed if there must be none."""
        wait_s = self._backoff.next_s()
        match after_close(ended.code):
            case "stay":
                raise Closed(ended.code, ended.reason)
            case "token":
                self._refused_tokens += 1
                if self._token is None or isinstance(self._token, str):
                    raise Closed(ended.code, "the token has expired, and there is no function that makes another")
                if self._refused_tokens > 1:
                    raise Closed(ended.code, "a fresh token has expired, too: compare the clocks")
            case "told" if ended.after_ms is not None:
                wait_s = ended.after_ms / 1000
            case "slowly":
                wait_s += SLOWLY_S
            case _ if not ended.reconnect:
                raise Closed(ended.code, ended.reason)
        self._say(Disconnected(ended.code, ended.reason, wait_s))
        await asyncio.sleep(wait_s)

    async def _connect_once(self) -> tuple[_Ended, float]:
        """Makes one connection, and reads it to its end. Returns how it ended, and for how long it was up, seconds."""
        self.inbox.begin_connection()
        live_since: float | None = None
        ended = _Ended(_LOST, "the connection was lost")
        try:
            token = await self._fresh_token()
        except Exception as error:
            # It is the caller's function: whatever it raises, the next attempt may succeed.
            log.warning("there is no token", exc_info=True)
            return _Ended(_LOST, f"there is no token: {error}"), 0.0
        auth: dict[str, Any] = {"type": "auth"} if token is None else {"type": "auth", "token": token}
        if self.inbox.position is not None:
            auth["resume"] = self.inbox.position._asdict()
        try:
            async with connect(
                self.url, compression=None, max_size=MAX_FRAME_BYTES, open_timeout=GREET_S, ping_interval=20
            ) as connection:
                await connection.send(json.dumps(auth))
                async with asyncio.timeout(GREET_S):
                    ended = _advice(_frame(await connection.recv()), ended)
                while True:
                    await self._wait_for_room()
                    frame = _frame(await connection.recv())
                    ended = _advice(frame, ended)
                    if self._take(connection, frame) and live_since is None:
                        live_since = time.monotonic()
                        self._refused_tokens = 0
                        self._connection = connection
                        self._live.set()
                        self._say(Connected())
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd.code != ended.code:
                ended = _Ended(closed.rcvd.code, closed.rcvd.reason)
        except GapFound:
            ended = _Ended(_LOST, "a change was missed")
        except _NotUnderstood as error:
            # What was in the frame is unknown: the next connection brings it again.
            log.warning("a frame was not understood", exc_info=True)
            ended = _Ended(_LOST, f"a frame was not understood: {error}")
        except (OSError, InvalidHandshake, TimeoutError) as error:
            ended = _Ended(_LOST, str(error) or type(error).__name__)
        finally:
            self._live.clear()
            self._connection = None
            for answer in self._changes.values():
                if not answer.done():
                    answer.set_exception(_ConnectionEnded())
        return ended, 0.0 if live_since is None else time.monotonic() - live_since

    def _take(self, connection: ClientConnection, frame: dict[str, Any]) -> bool:
        """Handles a frame. Tells whether it completed a pull. Raises GapFound and _NotUnderstood."""
        match frame["type"]:
            case "missed_notifications" | "notification" | "updated":
                try:
                    applied = self.inbox.apply(frame)
                except (KeyError, TypeError, ValueError) as error:
                    raise _NotUnderstood(repr(error)) from error
                if applied is not None:
                    self._say(self._event_of(frame, applied))
                    return applied.is_pull
            case "done" | "error" if (answer := self._changes.get(frame.get("id", ""))) is not None:
                if answer.done():
                    pass
                elif frame["type"] == "done":
                    answer.set_result(None)
                else:
                    answer.set_exception(ChangeFailed(str(frame.get("code")), str(frame.get("detail", ""))))
            case "error":
                log.warning("the server reports %s: %s", frame.get("code"), frame.get("detail"))
            case "expiring":
                self._start(self._renew(connection))
        return False

    def _event_of(self, frame: dict[str, Any], applied: Applied) -> Event:
        unread = self.inbox.unread or 0
        if applied.is_pull:
            return Missed(applied.rows, applied.deleted, applied.new, applied.recovered, unread)
        if frame["type"] == "notification" and applied.rows:
            return Arrived(applied.rows[0], unread, bool(applied.new))
        return Changed(applied.rows, applied.deleted, frame.get("upto"), unread)

    def _say(self, event: Event) -> None:
        self._events.put_nowait(_Waiting(event, self.inbox.position))

    async def _wait_for_room(self) -> None:
        """Waits while too many events have not been taken, unless a change waits for its answer."""
        while self._events.qsize() >= MOST_WAITING and not self._changes:
            self._room.clear()
            await self._room.wait()

    async def _renew(self, connection: ClientConnection) -> None:
        """Gives the server a fresh token on the same connection, before the old one ends."""
        if self._token is None or isinstance(self._token, str):
            return
        with suppress(ConnectionClosed):
            await connection.send(json.dumps({"type": "auth", "token": await self._fresh_token()}))

    async def _fresh_token(self) -> str | None:
        if self._token is None or isinstance(self._token, str):
            return self._token
        token = self._token()
        return await token if inspect.isawaitable(token) else token

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _ConnectionEnded(Exception):
    """Says that a connection ended before it answered a change."""


class _NotUnderstood(Exception):
    """Says what is wrong with a frame."""


def _frame(text: str | bytes) -> dict[str, Any]:
    """Returns a frame as an object that has a type. Raises _NotUnderstood."""
    try:
        frame = json.loads(text)
    except ValueError as error:
        raise _NotUnderstood(str(error)) from error
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        raise _NotUnderstood("it is no object with a type")
    return frame


def _advice(frame: dict[str, Any], ended: _Ended) -> _Ended:
    """Returns how the connection will end, if the frame says it."""
    if frame["type"] != "disconnect":
        return ended
    return _Ended(
        frame.get("code", _LOST), frame.get("reason", ""), frame.get("after_ms"), frame.get("reconnect", True)
    )
