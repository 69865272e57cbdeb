"""Sends over HTTP through the gateways and directly onto the queues, and records each answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence

import aiohttp

from shared.broker.publisher import Publication, Publisher
from shared.broker.topology import EXCHANGE
from shared.clock import now_ms, rfc3339
from shared.message.headers import DeliveryState
from tests.faults.ledger.ledgers import Answer, Ledgers, key_of
from tests.faults.load.envelopes import Parcel, keys

#: a client gives up after this time, seconds: longer than any answer may take
GIVE_UP_S = 20.0
#: requests that one caller has in progress at once, unless the scenario says otherwise
AT_ONCE = 50
#: longest that a direct publisher waits for its confirms, seconds
CONFIRM_S = 20.0


class Load:
    """Sends messages and records the answers. It never sends the same message again by itself."""

    def __init__(
        self, ledgers: Ledgers, gateways: Sequence[str], publisher: Publisher, http: aiohttp.ClientSession
    ) -> None:
        self._ledgers = ledgers
        self._gateways = tuple(gateways)
        self._publisher = publisher
        self._http = http

    async def post(self, parcels: Iterable[Parcel], at_once: int = AT_ONCE) -> list[Answer]:
        """Posts one request per parcel to the gateways in turn, with ``at_once`` of them in progress."""
        room = asyncio.Semaphore(at_once)

        async def one(number: int, parcel: Parcel) -> Answer:
            async with room:
                return await self.post_one(parcel, number)

        return await asyncio.gather(*(one(number, parcel) for number, parcel in enumerate(parcels)))

    async def post_one(self, parcel: Parcel, number: int = 0) -> Answer:
        """Posts the parcel to gateway ``number`` (modulo the number of gateways)."""
        self._ledgers.attempted.add(parcel.key)
        url = f"{self._gateways[number % len(self._gateways)]}/notifications"
        began_at, began = time.time(), time.perf_counter()
        retry_after: str | None = None
        try:
            async with self._http.post(url, data=parcel.body, headers=_JSON, timeout=_TIMEOUT) as response:
                await response.read()
                status, retry_after = response.status, response.headers.get("Retry-After")
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        answer = Answer("POST /notifications", status, time.perf_counter() - began, began_at, retry_after)
        self._ledgers.answers.append(answer)
        if status == 202:
            self._ledgers.accepted.add(parcel.key)
        return answer

    async def publish(
        self, parcels: Sequence[Parcel], state: DeliveryState | None = None, exchange: str = EXCHANGE
    ) -> int:
        """Publishes directly onto the lanes (or to another ``exchange``), pipelined. Returns how many messages were
        confirmed.
        """
        self._ledgers.attempted |= keys(parcels)
        headers = (state or DeliveryState(accepted_at=rfc3339(now_ms()))).to_headers()
        publications = [
            Publication(exchange, parcel.lane.routing_key, parcel.body, headers, parcel.request_id)
            for parcel in parcels
        ]
        fates = await self._publisher.publish_all(publications, CONFIRM_S)
        confirmed = [parcel for parcel, failure in zip(parcels, fates, strict=True) if failure is None]
        self._ledgers.accepted |= keys(confirmed)
        return len(confirmed)

    async def publish_raw(self, routing_key: str, body: bytes) -> None:
        """Publishes bytes that need not be an envelope. If they name a message it counts as accepted. Raises
        PublishFailed.
        """
        await self._publisher.publish(Publication(EXCHANGE, routing_key, body, {}), CONFIRM_S)
        key = key_of(body)
        if key is not None:
            self._ledgers.attempted.add(key)
            self._ledgers.accepted.add(key)

    async def stream(self, parcels: Iterable[Parcel], per_s: float, draw: random.Random, direct: float = 0.5) -> None:
        """Sends the parcels at a steady rate regardless of the answers, a share ``direct`` of them directly onto the
        queues.

        No request waits for another: while answers are slow, the number of requests in progress grows.
        """
        async with asyncio.TaskGroup() as sending:
            async for number, parcel in paced(parcels, per_s):
                straight = draw.random() < direct
                sending.create_task(self.publish([parcel]) if straight else self.post_one(parcel, number))


async def paced(parcels: Iterable[Parcel], per_s: float) -> AsyncIterator[tuple[int, Parcel]]:
    """Yields each parcel with its number when its time has come."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, parcel in enumerate(parcels):
        await asyncio.sleep(began + number / per_s - loop.time())
        yield number, parcel


_JSON = {"Content-Type": "application/json"}
_TIMEOUT = aiohttp.ClientTimeout(total=GIVE_UP_S)
