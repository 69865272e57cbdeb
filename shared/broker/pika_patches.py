"""pika's asyncio connection with six faults of ours mended at the root, and nothing else changed.

* pika cuts its receive buffer anew after every frame: quadratic in what one read brings. Here a read is cut once.
* pika sends every frame by a system call of its own: three a message. Here what a loop turn brings is sent at once.
* pika answers a delivery that arrives between ``basic.cancel`` and its ok with ``basic.reject``: each such message is
  one step nearer to its delivery limit for nothing. Here it is delivered.
* pika gives up the connection over a message with a header that it cannot read (a time in milliseconds where AMQP has
  seconds): it would come again and again. Here it is delivered as if it had no headers.
* A delivery callback that raises closes the whole connection. Here it is logged; the message stays unacked.
* pika stumbles over the end of a connection that is given up while it is being opened. Here it ends like any other.
"""

from __future__ import annotations

from typing import Any

import structlog
from pika import spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel as PikaChannel
from pika.exceptions import AMQPConnectionError
from pika.frame import Header, decode_frame

log = structlog.get_logger(__name__)

#: most bytes of one send
_SEND_BYTES = 64 * 1024
_FRAME_OVERHEAD = spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE


class WireChannel(PikaChannel):
    """A channel that hands over whatever the broker delivers, also while a cancel is under way."""

    def _on_deliver(self, method_frame: Any, header_frame: Any, body: bytes) -> None:
        private: Any = self  # pika's inner parts, unknown to its type stubs
        consumer = private._consumers.get(method_frame.method.consumer_tag)
        if consumer is None:
            log.error("delivery_without_consumer", consumer_tag=method_frame.method.consumer_tag)
            return
        try:
            consumer(self, method_frame.method, header_frame.properties, body)
        except Exception:
            log.exception("delivery_callback_failed")


class WireConnection(AsyncioConnection):
    """Reads and writes many frames at once, in linear time; opens WireChannels."""

    @property
    def heard_bytes(self) -> int:
        """What the broker has sent so far, whole frames or not."""
        private: Any = self  # pika's inner parts, unknown to its type stubs
        heard: int = private.bytes_received + len(private._frame_buffer)
        return heard

    def abort(self, why: str) -> None:
        """End it without a word to the broker; it is told of like any other loss. Without effect once it is closed."""
        private: Any = self  # pika's inner parts, unknown to its type stubs
        if self.is_closed:
            return
        if private._opened:
            private._terminate_stream(AMQPConnectionError(why))
        elif not self.is_closing:
            self.close()  # nothing has been opened that would need a goodbye

    def _on_connection_workflow_done(self, conn_or_exc: Any) -> None:
        # pika says "aborted" with the exception's class where it means an exception.
        super()._on_connection_workflow_done(  # type: ignore[misc]
            conn_or_exc() if isinstance(conn_or_exc, type) else conn_or_exc
        )

    def _create_channel(self, channel_number: int, on_open_callback: Any) -> PikaChannel:
        return WireChannel(self, channel_number, on_open_callback)

    def _on_data_available(self, data_in: bytes) -> None:
        private: Any = self  # pika's inner parts, unknown to its type stubs
        data = private._frame_buffer + data_in if private._frame_buffer else data_in
        private._frame_buffer = b""
        at, end = 0, len(data)
        while end - at >= _FRAME_OVERHEAD:
            size = int.from_bytes(data[at + 3 : at + 7], "big") + _FRAME_OVERHEAD
            if end - at < size and data[at : at + 4] != b"AMQP":
                break
            used, frame = _decode(data[at : at + size])
            if frame is None:
                break
            at += used
            private.bytes_received += used
            private._process_frame(frame)
        private._frame_buffer = data[at:]

    def _adapter_emit_data(self, data: bytes) -> None:
        private: Any = self  # pika's inner parts, unknown to its type stubs
        transport = private._transport
        waiting = transport._tx_buffers
        # Bounded, because what a partial send leaves over is copied.
        if waiting and isinstance(waiting[-1], bytearray) and len(waiting[-1]) + len(data) <= _SEND_BYTES:
            waiting[-1] += data
            transport._tx_buffered_byte_count += len(data)
        else:
            transport.write(bytearray(data))


def _decode(data: bytes) -> tuple[int, Any]:
    """(bytes used, frame) of one whole frame; (0, None) if it is not whole."""
    try:
        return decode_frame(data)
    # OSError is what a time beyond the system's range becomes; nothing is read here but these bytes.
    except (ValueError, OverflowError, RecursionError, OSError) as exc:
        if data[0] != spec.FRAME_HEADER:
            raise
        log.warning("message_headers_unreadable", error=str(exc))
        channel_number, body_bytes = int.from_bytes(data[1:3], "big"), int.from_bytes(data[11:19], "big")
        return len(data), Header(channel_number, body_bytes, spec.BasicProperties())
