"""Does what an operator may do to a broker that works: limits, deletions, permissions. Some take up to a second."""

from __future__ import annotations

import asyncio
import re

import orjson
import pika

from ops.servers import RabbitMQServer
from shared.broker.topology import EXCHANGE
from shared.message.channels import Lane
from tests.support.waiting import eventually_async

#: limit for RabbitMQ to write its directory of quorum queues (3.10 does so twice a second), seconds
ON_DISK_S = 10.0
#: applications declare missing queues and bindings again within this time, seconds
BOUND_S = 15.0
_POLICY = "limit"
_USUAL_WATERMARK = "0.4"


async def on_disk(rabbitmq: RabbitMQServer, vhost: str) -> None:
    """Waits until every queue of the virtual host would survive a SIGKILL of the broker."""

    def all_written() -> bool:
        return all(rabbitmq.queue_is_on_disk(name, vhost) for name in rabbitmq.list_queues(vhost))

    await eventually_async(lambda: asyncio.to_thread(all_written), ON_DISK_S)


class BrokerOperator:
    """Acts on one virtual host. Raises CalledProcessError, RequestException or AMQPError if the broker refuses."""

    def __init__(self, rabbitmq: RabbitMQServer, vhost: str) -> None:
        self._rabbitmq = rabbitmq
        self._vhost = vhost

    async def limit(self, queues: str, most: int) -> None:
        """Limits queues whose name matches the expression to about ``most`` messages."""
        definition = orjson.dumps({"max-length": most}).decode()
        await self._ctl("set_policy", "-p", self._vhost, "--apply-to", "queues", _POLICY, queues, definition)

    async def lift_limit(self) -> None:
        await self._ctl("clear_policy", "-p", self._vhost, _POLICY)

    async def close_connections(self) -> None:
        """Closes every connection to this virtual host, of applications and of senders."""
        # The management API would not know the newest connections for a while.
        await self._ctl("close_all_connections", "--vhost", self._vhost, "closed by the operator")

    async def raise_memory_alarm(self) -> None:
        """Raises the memory alarm: from now on the broker reads nothing from publishers."""
        await self._ctl("set_vm_memory_high_watermark", "0")

    async def lift_memory_alarm(self) -> None:
        await self._ctl("set_vm_memory_high_watermark", _USUAL_WATERMARK)

    async def forbid_declaring(self, *names: str) -> None:
        """Forbids applications to declare anything of these names, until ``allow_all``."""
        await self._permit(f"^(?!({'|'.join(map(re.escape, names))})$).*")

    async def allow_all(self) -> None:
        await self._permit(".*")

    async def delete_queue(self, name: str) -> None:
        await self._ctl("delete_queue", "-p", self._vhost, name)

    async def delete_exchange(self, name: str) -> None:
        await asyncio.to_thread(self._over_amqp, "exchange_delete", name)

    async def unbind(self, lane: Lane) -> None:
        """Removes the binding between the exchange and a lane's queue."""
        await asyncio.to_thread(self._over_amqp, "queue_unbind", lane.queue, EXCHANGE, lane.routing_key)

    async def bound(self, lane: Lane, within_s: float = BOUND_S) -> None:
        """Waits until messages published to the lane reach its queue (again). Raises AssertionError."""

        async def reaches() -> bool:
            assert (lane.queue, lane.routing_key) in await asyncio.to_thread(self._bindings)
            return True

        try:
            await eventually_async(reaches, within_s)
        except AssertionError as exc:
            raise AssertionError(f"nobody has declared the binding of {lane.queue} within {within_s} s") from exc

    def _bindings(self) -> set[tuple[str, str]]:
        """Returns the (queue, routing key) pairs of the exchange; none while it is missing."""
        bindings = self._rabbitmq.management.bindings(self._vhost)
        return {(queue, key) for source, queue, key in bindings if source == EXCHANGE}

    async def _permit(self, configure: str) -> None:
        await asyncio.to_thread(self._rabbitmq.management.permit, self._vhost, configure)

    async def _ctl(self, *words: str) -> None:
        await asyncio.to_thread(self._rabbitmq.ctl, *words)

    def _over_amqp(self, method: str, *arguments: str) -> None:
        url = self._rabbitmq.vhost_url(self._vhost)
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            getattr(connection.channel(), method)(*arguments)
