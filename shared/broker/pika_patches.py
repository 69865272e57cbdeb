"""Adapts pika's asyncio connection in five places, and changes nothing else.

Each patch has a reason that was measured or seen with pika 1.4.4. ``tests/unit/broker/test_pika_private.py`` names the
private attributes that the patches touch, and pins this version.

* pika sends each frame by a separate system call, and a publish is three frames. Here the frames of one turn of the
  event loop are joined: 0.6 us of CPU per publish instead of 6.6 us (loopback, 560 bytes per publish); a whole
  delivery takes about 100 us.
* If a delivery arrives between ``basic.cancel`` and its answer, pika sends ``basic.reject``. Each such message comes
  one step nearer to its delivery limit although no worker has tried it. Here it is delivered.
* pika closes the connection if it cannot decode a header of a message, for example a time in milliseconds where AMQP
  expects seconds. The broker would redeliver that message on every new connection. Here it is delivered as if it had
  no headers, and the delivery rules decide by its body whether to dead-letter it.
* If a delivery callback raises, pika closes the whole connection: of 100 messages 10 were delivered. Here the error is
  logged, and the message stays unacked.
* pika raises in its own callback when a connection is aborted while it is being opened. Here it ends like any other.
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

#: most bytes in one send
_SEND_BYTES = 64 * 1024


class WireChannel(PikaChannel):
    """Passes each delivery to its consumer, even while that consumer is being cancelled."""

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
    """Joins the frames that it sends, reads headers that pika cannot, and opens WireChannels."""

    @property
    def heard_bytes(self) -> int:
        """Returns how many bytes the broker has sent so far, incomplete frames included."""
        private: Any = self  # pika's inner parts, unknown to its type stubs
        heard: int = private.bytes_received + len(private._frame_buffer)
        return heard

    def abort(self, why: str) -> None:
        """Ends the connection at once, without telling the broker; the callbacks run as for any other loss.

        Does nothing if the connection is closed already.
        """
        private: Any = self  # pika's inner parts, unknown to its type stubs
        if self.is_closed:
            return
        if private._opened:
            private._terminate_stream(AMQPConnectionError(why))
        elif not self.is_closing:
            self.close()  # nothing is open yet, so no closing handshake is needed

    def _on_connection_workflow_done(self, conn_or_exc: Any) -> None:
        # When the opening was aborted, pika passes the exception's class instead of an exception.
        super()._on_connection_workflow_done(  # type: ignore[misc]
            conn_or_exc() if isinstance(conn_or_exc, type) else conn_or_exc
        )

    def _create_channel(self, channel_number: int, on_open_callback: Any) -> PikaChannel:
        return WireChannel(self, channel_number, on_open_callback)

    def _read_frame(self) -> tuple[int, Any]:
        private: Any = self  # pika's inner parts, unknown to its type stubs
        data = private._frame_buffer
        try:
            return decode_frame(data)
        # A time beyond the system's range raises OSError; it cannot be an I/O error, because only these bytes are read.
        except (ValueError, OverflowError, RecursionError, OSError) as exc:
            if data[0] != spec.FRAME_HEADER:
                raise
            log.warning("message_headers_unreadable", error=str(exc))
            # A frame holds its kind (1 byte), channel (2), size (4), content, and an end mark (1). The content of a
            # header frame begins with its class (2), its weight (2) and the size of the body (8).
            used = int.from_bytes(data[3:7], "big") + spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE
            channel_number, body_bytes = int.from_bytes(data[1:3], "big"), int.from_bytes(data[11:19], "big")
            return used, Header(channel_number, body_bytes, spec.BasicProperties())

    def _adapter_emit_data(self, data: bytes) -> None:
        private: Any = self  # pika's inner parts, unknown to its type stubs
        transport = private._transport
        waiting = transport._tx_buffers
        # The joined data has a limit, because the rest that a partial send leaves is copied.
        if waiting and isinstance(waiting[-1], bytearray) and len(waiting[-1]) + len(data) <= _SEND_BYTES:
            waiting[-1] += data
            transport._tx_buffered_byte_count += len(data)
        else:
            transport.write(bytearray(data))
