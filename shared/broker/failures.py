"""What any conversation with the broker may end in, for those who begin it again."""

from __future__ import annotations

from pika.exceptions import AMQPError

from shared.broker.channel import ChannelGone

BROKER_FAILURES: tuple[type[Exception], ...] = (ChannelGone, TimeoutError, AMQPError)
