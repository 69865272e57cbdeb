"""Sends two messages along every way into failed.queue, and removes the cause of each death again."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import redis

from shared.broker.topology import DELIVERY_LIMIT
from shared.clock import now_ms, rfc3339
from shared.message.headers import DeliveryState
from shared.worker.poison import GIVE_UP_AT
from tests.faults.faults import foreign
from tests.faults.harness.system import System
from tests.faults.ledger.failed_faces import all_buried
from tests.faults.load.envelopes import Parcel, given
from tests.support.peers.source_service import SourceService, json_answer

#: messages for each way: one is replayed over HTTP, one by command
EACH = 2
#: longer than a message may live in any channel, milliseconds
LONG_AGO_MS = 30 * 86_400_000
#: settings that this needs: missing entries are remembered for a short time only, and few attempts are made
VARIABLES = {"SOURCE_TTL_S": "0.2", "MAX_ATTEMPTS_EMAIL": "2"}
_GIVEN = {"user_id": None, "template_code": None, "variables": None}


class Deaths:
    """Makes the deaths. ``reasons`` counts what failed.queue must hold by now. The caller starts the workers after
    ``by_the_broker``.
    """

    def __init__(self, system: System, templates: SourceService) -> None:
        self._system, self._templates = system, templates
        self.reasons: Counter[str] = Counter()
        #: parcels whose request_id had been used before
        self.reused: list[Parcel] = []

    async def by_the_broker(self) -> None:
        """Makes RabbitMQ dead-letter messages itself: refused, expired, or returned too often by another service."""
        url = self._system.amqp_url
        for number in range(EACH):
            parcel = await self._published("rejected", number)
            await asyncio.to_thread(foreign.reject, url, parcel.lane.queue)
            parcel = await self._published("delivery_limit", number)
            await asyncio.to_thread(foreign.give_back, url, parcel.lane.queue, DELIVERY_LIMIT + 1)
            parcel = self._parcel("expired", number)
            await asyncio.to_thread(foreign.publish_expiring, url, parcel, 50)
            self._note_accepted(parcel)
            await all_buried(self._system, self.reasons.total())
        for number, priority in zip(range(EACH), ("high", "low"), strict=True):
            # Its worker will take it for a message that kills.
            parcel = await self._published("delivery_limit", EACH + number, priority=priority)
            await asyncio.to_thread(foreign.give_back, url, parcel.lane.queue, GIVE_UP_AT)

    async def by_the_provider(self) -> None:
        """Makes messages die because a provider refused them permanently, or because they were tried too often."""
        providers = self._system.providers
        await providers.fault("fcm", mode="status", error_code="UNREGISTERED")
        await providers.fault("twilio", mode="status", error_code="21602", status=400)
        await providers.fault("smtp", mode="status", status=451)
        for number in range(EACH):
            await self._published("recipient_invalid", number)
            await self._published("payload_rejected", number, channel="sms")
            await self._published("attempts_exhausted", number, channel="email")
        await all_buried(self._system, self.reasons.total())
        await providers.heal()

    async def by_its_content(self) -> None:
        """Makes messages die of their content: no recipient, no content, too late, a request_id used before, no
        envelope at all.
        """
        system = self._system
        self._templates.answer = _half_written
        await system.providers.fault("users", mode="status", status=404)
        for number in range(EACH):
            await self._published("user_not_found", number, recipient=None, user_id=f"user-{number}")
            await self._published("template_not_found", number, content=None, template_code="GONE")
            await self._published("template_error", number, content=None, template_code="BROKEN")
            await self._published("expired", EACH + number, expires_at="2020-01-01T00:00:00Z")
            old = self._parcel("expired", 2 * EACH + number)
            await system.load.publish([old], DeliveryState(accepted_at=rfc3339(now_ms() - LONG_AGO_MS)))
            await self._one_reused(number)
            await self._system.load.publish_raw("push", b"{")
            await self._astray("invalid_envelope", number, "push", content=None)
            await self._astray("wrong_channel", number, "email")
            self.reasons["invalid_json"] += 1
        await all_buried(system, self.reasons.total())

    async def end_their_causes(self) -> None:
        """Makes every user known again and the templates complete, and lets Redis forget the request_ids."""
        await self._system.providers.heal()
        self._templates.answer = _mended
        names = [f"notify:{parcel.channel}:{parcel.request_id}" for parcel in self.reused]
        with redis.Redis.from_url(self._system.redis_url) as client:
            assert client.delete(*names) == len(names), "the first use of a request_id is not on record"

    async def _one_reused(self, number: int) -> None:
        first = self._system.writer.one(f"reused-{number}", "push", **_GIVEN, **given("push", f"first-{number}"))
        calls = await self._system.providers.accepted_calls()
        await self._system.load.publish([first])
        await self._system.delivered(calls + 1)
        self.reused.append(await self._published("request_id_reused", number, request_id=first.request_id))

    async def _published(self, reason: str, number: int, **fields: Any) -> Parcel:
        parcel = self._parcel(reason, number, **fields)
        assert await self._system.load.publish([parcel]) == 1, f"{parcel.request_id} was not confirmed"
        return parcel

    def _parcel(
        self, reason: str, number: int, *, channel: str = "push", request_id: str = "", **fields: Any
    ) -> Parcel:
        self.reasons[reason] += 1
        target = f"{reason}-{number}"
        whole = {"priority": "medium", **_GIVEN, **given(channel, target), **fields}
        return self._system.writer.one(request_id or target, channel, **whole)

    async def _astray(self, reason: str, number: int, channel: str, **fields: Any) -> None:
        """Publishes a message for any channel onto a lane of push."""
        parcel = self._parcel(reason, number, channel=channel, **fields)
        await self._system.load.publish_raw("push", parcel.body)
        self._note_accepted(parcel)

    def _note_accepted(self, parcel: Parcel) -> None:
        self._system.ledgers.attempted.add(parcel.key)
        self._system.ledgers.accepted.add(parcel.key)


async def _mended(request: Any) -> Any:
    code = str(request.path).rpartition("/")[2]
    return await json_answer({"code": code, "title": "Hello", "body": "Mended"})(request)


async def _half_written(request: Any) -> Any:
    code = str(request.path).rpartition("/")[2]
    if code == "GONE":
        return await json_answer({"detail": "no such template"}, 404)(request)
    return await json_answer({"code": code, "title": "Hello", "body": "{{ what_nobody_gives }}"})(request)
