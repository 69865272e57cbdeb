"""Implements the proxy itself: it listens, finds a server for each client, and has one method for each fault."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.faults.proxy.faults import BOTH, Cut, Direction, Faults
from tests.faults.proxy.link import Link
from tests.support.run.servers import run_ports

_HOST = "127.0.0.1"
_BACKLOG = 512
#: time that one server may take to accept before the next is tried, seconds
DIAL_S = 1.0


class Proxy:
    """Listens in front of ``upstream_ports`` on loopback; several ports make it a balancer: round robin over those that
    accept.

    A frozen server still accepts (its kernel does): as behind a real balancer without health checks, its clients must
    notice by themselves.
    """

    def __init__(self, upstream_ports: Sequence[int], port: int) -> None:
        self.port = port
        self._upstream_ports = tuple(upstream_ports)
        self._turn = 0
        self._faults = Faults()
        self._through = asyncio.Event()
        self._through.set()
        self._listener: socket.socket | None = None
        self._links: set[Link] = set()
        self._serving: set[asyncio.Task[None]] = set()
        #: number of connections that clients have made so far
        self.connections = 0

    @property
    def cuts(self) -> int:
        """Returns how many connections were cut in a frame so far."""
        return self._faults.cuts_made

    def kept_bytes(self, direction: Direction) -> int:
        """Returns the number of bytes held back now. If it is above 0 while answers are held, the
        server has answered.
        """
        return sum(pipe.kept_bytes for link in self._links for pipe in link.pipes if pipe.direction == direction)

    def latency(self, seconds: float) -> None:
        """Delays every byte by ``seconds``, in each direction."""
        self._faults.latency_s = seconds
        self._settle()

    def black_hole(self) -> None:
        """Passes nothing on, in either direction. Connections stay open, new ones are accepted, and no server sees
        them.
        """
        self._faults.held = BOTH
        self._through.clear()

    def hold_answers(self) -> None:
        """Passes on what clients send and holds back what servers answer, up to 4 MiB per connection."""
        self._faults.held = frozenset({"down"})
        self._through.set()
        self._settle()

    def reset(self) -> None:
        """Ends all present connections with RST, on both sides; bytes held back are lost."""
        for link in list(self._links):
            link.reset()

    def cut_in_frame(self, direction: Direction, least_bytes: int) -> None:
        """Resets a connection in the middle of the next AMQP frame whose payload has ``least_bytes``. Happens once.

        ``cuts`` increases when it has happened.
        """
        self._faults.cut = Cut(direction, least_bytes)

    def pass_on(self) -> None:
        """Removes all faults and passes on the bytes held back, in order."""
        self._faults.latency_s, self._faults.held, self._faults.cut = 0.0, frozenset(), None
        self._through.set()
        self._settle()

    def listen(self) -> None:
        """Accepts connections. Raises OSError if the port is taken."""
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, self.port))
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def close(self) -> None:
        """Ends everything; no socket is left when this returns."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)
        while self._links:
            self.reset()
            await asyncio.sleep(0)

    def _settle(self) -> None:
        for link in list(self._links):
            link.settle()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client has closed again
        client.setblocking(False)
        task = asyncio.create_task(self._serve(client))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, client: socket.socket) -> None:
        self.connections += 1
        link = Link(self._faults, self._links.discard)
        self._links.add(link)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: link.client, client)
        await self._through.wait()
        if link.up.source_ended:
            link.reset()  # the client gave up in the black hole: no server would have heard of it
        elif not await self._dial(link):
            link.reset()

    async def _dial(self, link: Link) -> bool:
        """Connects to the first server that accepts, beginning with the one whose turn it is."""
        turn = self._turn
        self._turn += 1
        for n in range(len(self._upstream_ports)):
            port = self._upstream_ports[(turn + n) % len(self._upstream_ports)]
            try:
                async with asyncio.timeout(DIAL_S):
                    await asyncio.get_running_loop().create_connection(lambda: link.server, _HOST, port)
            except (OSError, TimeoutError):
                continue
            return True
        return False


@asynccontextmanager
async def proxy(upstream_ports: Sequence[int], port: int | None = None) -> AsyncIterator[Proxy]:
    """Runs a proxy in the running event loop until the block ends. ``port``: a free one if None."""
    running = Proxy(upstream_ports, port or run_ports(1)[0])
    running.listen()
    try:
        yield running
    finally:
        await running.close()
