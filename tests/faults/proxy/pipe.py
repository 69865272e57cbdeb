"""Passes on the bytes of one direction of one connection: at once, later, not at all, or up to the point of a cut."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum

from tests.faults.proxy.faults import Direction, Faults
from tests.faults.proxy.frames import FrameWalk

#: most bytes that are kept before the sender is told to wait, as a network would hold them
WINDOW_BYTES = 4 * 1024 * 1024
#: an AMQP frame cut before its eighth byte might have been a whole heartbeat
_LEAST_CUT_BYTES = 7


class Ending(Enum):
    """Says how the sender ended; it is passed on in order, after the bytes before it."""

    FINISHED = "it sends no more, and may still read"
    CLOSED = "it has gone"
    BROKEN = "it has gone with an error"


class Pipe:
    """Passes on bytes. ``on_cut`` resets the connection; ``on_end`` is told of the sender's end once all bytes before
    it are written.
    """

    def __init__(
        self,
        direction: Direction,
        faults: Faults,
        on_cut: Callable[[], None],
        on_end: Callable[[Ending], None],
    ) -> None:
        self.direction = direction
        self._faults = faults
        self._on_cut = on_cut
        self._on_end = on_end
        self._source: asyncio.Transport | None = None
        self._sink: asyncio.Transport | None = None
        self._kept: deque[tuple[float, bytes | Ending]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._frames = FrameWalk()
        self._until_cut: int | None = None
        self._is_cut = False
        self._sink_full = False
        self.source_ended = False
        self.kept_bytes = 0

    def set_source(self, source: asyncio.Transport) -> None:
        self._source = source

    def set_sink(self, sink: asyncio.Transport) -> None:
        self._sink = sink
        self.settle()

    def put(self, piece: bytes) -> None:
        """Takes bytes from the sender."""
        if self._flows() and not self._kept:
            self._pass_on(piece)
            return
        self.kept_bytes += len(piece)
        self._keep(piece)

    def end(self, ending: Ending) -> None:
        """Takes the sender's end; only a stronger end may follow."""
        self.source_ended = True
        self._keep(ending)

    def sink_full(self, full: bool) -> None:
        """Notes whether the receiver reads too slowly (``full``) or fast enough again."""
        self._sink_full = full
        if self._is_cut and not full:
            self._on_cut()
        else:
            self._press()

    def settle(self) -> None:
        """Passes on all bytes that are due under the present faults."""
        loop = asyncio.get_running_loop()
        self.stop()
        while self._kept and not self._is_held():
            arrived_at, item = self._kept[0]
            due_at = arrived_at + self._faults.latency_s
            if self._faults.latency_s and due_at > loop.time():
                self._timer = loop.call_at(due_at, self.settle)
                break
            self._kept.popleft()
            if isinstance(item, Ending):
                self._on_end(item)
            else:
                self.kept_bytes -= len(item)
                self._pass_on(item)
        self._press()

    def stop(self) -> None:
        """Cancels the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_held(self) -> bool:
        return self._sink is None or self.direction in self._faults.held

    def _flows(self) -> bool:
        return not self._is_held() and not self._faults.latency_s

    def _keep(self, item: bytes | Ending) -> None:
        self._kept.append((asyncio.get_running_loop().time(), item))
        if len(self._kept) == 1:
            self.settle()
        else:
            self._press()

    def _press(self) -> None:
        """Slows the sender down, as a slow receiver or a full network would."""
        if self._source is None or self.source_ended:
            return
        if self._sink_full or self.kept_bytes > WINDOW_BYTES:
            self._source.pause_reading()
        else:
            self._source.resume_reading()

    def _pass_on(self, piece: bytes) -> None:
        sink = self._sink
        if sink is None or sink.is_closing() or self._is_cut:
            return
        cut_at = self._cut_point(piece)
        sink.write(piece if cut_at is None else piece[:cut_at])
        if cut_at is not None:
            self._cut(sink)

    def _cut(self, sink: asyncio.Transport) -> None:
        self._is_cut = True
        # A reset discards all bytes that the receiver has not read yet: wait until it has the part before the cut.
        sink.set_write_buffer_limits(high=0)
        if sink.get_write_buffer_size() == 0:
            self._on_cut()

    def _cut_point(self, piece: bytes) -> int | None:
        """Returns how many bytes of ``piece`` pass before the cut, or None if all do."""
        cut = self._faults.take_cut(self.direction)
        frame = self._frames.walk(piece, cut.least_bytes if cut else None)
        if frame is not None and self._until_cut is None:
            self._until_cut = frame.start + _middle(frame.total_bytes)
            self._faults.cut = None  # removed, so that no other connection is cut
        if self._until_cut is None:
            return None
        if self._until_cut <= len(piece):
            return self._until_cut
        self._until_cut -= len(piece)
        return None


def _middle(frame_bytes: int) -> int:
    """Returns where in a frame to cut: never before its header has been sent, never after its last byte."""
    return min(max(frame_bytes // 2, _LEAST_CUT_BYTES), frame_bytes - 1)
