"""Handles one HTTP call to a stand-in vendor: count, judge, fault, record, answer. The order is the same for every
vendor.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from sandbox.attempts import Attempts
from sandbox.connection import cut
from sandbox.faults import Fault, Faults, Mode
from sandbox.ledger import Delivery, Ledger


@dataclass(slots=True)
class Bench:
    """Holds what all the stand-ins share. ``stopping`` releases the calls that were never to be answered."""

    ledger: Ledger
    faults: Faults
    attempts: Attempts
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Verdict:
    """Says how a vendor judged a call. Either ``refusal`` is its refusal, or ``answer`` gives its acceptance.

    ``request_id`` is None only if the call names none: refused calls have it too.
    """

    targets: tuple[str, ...] = ()
    refusal: web.Response | None = None
    answer: Callable[[], web.Response] | None = None
    request_id: str | None = None
    payload: Callable[[], object] | None = None


class Vendor(Protocol):
    """Describes one vendor's behaviour. ``payload`` in its verdicts is None if there is nothing to record (lookups)."""

    name: str

    def judge(self, request: web.Request, body: bytes) -> Verdict: ...

    def faulted(self, fault: Fault) -> web.Response:
        """Returns the answer for a fault of mode status, in the vendor's own shape."""
        ...


class Exchange:
    """Carries out the calls to one vendor: ``handle`` is the aiohttp handler for ``vendor``."""

    def __init__(self, vendor: Vendor, bench: Bench) -> None:
        self._vendor = vendor
        self._bench = bench

    async def handle(self, request: web.Request) -> web.Response:
        ledger, name = self._bench.ledger, self._vendor.name
        attempts = self._bench.attempts
        at = ledger.clock()
        ledger.count_call(name)
        attempts.began(name)
        verdict = self._vendor.judge(request, await request.read())
        attempts.identified(name, verdict.request_id, verdict.targets[0] if verdict.targets else None)
        fault = self._bench.faults.draw(name, verdict.targets)
        if fault is not None and fault.mode is Mode.TIMEOUT:
            return await self._hang(request)
        if fault is not None and fault.mode is Mode.STATUS:
            await asyncio.sleep(fault.delay_s)
            return self._refuse(request, fault)
        return await self._carry_out(request, verdict, fault, at)

    async def _carry_out(self, request: web.Request, verdict: Verdict, fault: Fault | None, at: float) -> web.Response:
        """Records the call before any delay, then answers: the caller may have gone before the answer, and the call was
        accepted all the same.
        """
        deliveries = self._record(verdict, at) if verdict.refusal is None else []
        try:
            if fault is not None and fault.delay_ms:
                await asyncio.sleep(fault.delay_s)
            if verdict.refusal is not None:
                return verdict.refusal
            assert verdict.answer is not None
            answer = verdict.answer()
            if fault is not None and fault.mode is Mode.RESET_AFTER_ACCEPT:
                cut(request.transport)
            return answer
        finally:
            ended_at = self._bench.ledger.clock()
            for delivery in deliveries:
                delivery.ended_at = ended_at

    def _record(self, verdict: Verdict, at: float) -> list[Delivery]:
        ledger, name = self._bench.ledger, self._vendor.name
        ledger.count_accepted(name)
        if verdict.payload is None:
            return []
        deliveries = [Delivery(name, verdict.request_id, target, verdict.payload, at) for target in verdict.targets]
        for delivery in deliveries:
            ledger.record(delivery)
        return deliveries

    async def _hang(self, request: web.Request) -> web.Response:
        # A client that gives up cancels this handler.
        await self._bench.stopping.wait()
        cut(request.transport)
        return web.Response(status=503)

    def _refuse(self, request: web.Request, fault: Fault) -> web.Response:
        response = self._vendor.faulted(fault)
        if fault.retry_after is not None:
            response.headers["Retry-After"] = str(fault.retry_after)
        if 300 <= response.status < 400:
            # Redirects to the same address: a client that follows redirects sends its message twice, and is counted
            # twice.
            response.headers["Location"] = request.path_qs
        return response
