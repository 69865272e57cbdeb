"""Handles one mail, from MAIL to the reply after its last line."""

import asyncio
from dataclasses import dataclass, field
from functools import partial

from sandbox.exchange import Bench
from sandbox.faults import Fault, Mode
from sandbox.ledger import Delivery
from sandbox.smtp import mail
from sandbox.smtp.faults import after_the_mail, fault_reply
from sandbox.smtp.wire import Goodbye, Wire

MOST_RECIPIENTS = 100


@dataclass(slots=True)
class Transaction:
    account: str
    sender: str
    began_at: float
    recipients: list[str] = field(default_factory=list)
    _identified: bool = False

    def identify(self, bench: Bench, request_id: str | None, target: str) -> None:
        """Tells the counts whose call this is; only the first time has an effect."""
        if not self._identified:
            self._identified = True
            bench.attempts.identified(self.account, request_id, target)

    def refusal(self, address: str) -> str | None:
        """Returns the reply that refuses ``address``, or None."""
        if address.startswith("dead"):
            return f"550 5.1.1 <{address}>: Recipient address rejected: User unknown"
        if "@" not in address:
            return f"501 5.1.3 <{address}>: Bad recipient address syntax"
        return "452 4.5.3 Too many recipients" if len(self.recipients) >= MOST_RECIPIENTS else None

    async def finish(self, content: bytes, wire: Wire, bench: Bench) -> None:
        """Records ``content`` and accepts it, unless a fault strikes. Raises Goodbye if the connection ends with it."""
        self.identify(bench, mail.request_id(content), self.recipients[0])
        fault = bench.faults.draw(self.account, self.recipients, after_the_mail)
        if fault is not None and fault.mode is Mode.TIMEOUT:
            await wire.hang()
        if fault is not None and fault.mode is Mode.STATUS:
            await self._refuse(wire, fault)
        else:
            await self._accept(content, wire, bench, fault)

    async def _refuse(self, wire: Wire, fault: Fault) -> None:
        await asyncio.sleep(fault.delay_s)
        await wire.reply(fault_reply(fault))
        if fault.status == 421:
            raise Goodbye

    async def _accept(self, content: bytes, wire: Wire, bench: Bench, fault: Fault | None) -> None:
        """Records the mail before any delay: the client may have gone before the reply, and the mail was accepted all
        the same.
        """
        deliveries = self._record(content, bench)
        try:
            if fault is not None:
                await asyncio.sleep(fault.delay_s)
            if fault is not None and fault.mode is Mode.RESET_AFTER_ACCEPT:
                wire.reset()
            await wire.reply("250 2.0.0 OK queued")
        finally:
            ended_at = bench.ledger.clock()
            for delivery in deliveries:
                delivery.ended_at = ended_at

    def _record(self, content: bytes, bench: Bench) -> list[Delivery]:
        request_id, payload = mail.request_id(content), partial(mail.shown, self.sender, content)
        bench.ledger.count_accepted(self.account)
        deliveries = [
            Delivery(self.account, request_id, address, payload, self.began_at) for address in self.recipients
        ]
        for delivery in deliveries:
            bench.ledger.record(delivery)
        return deliveries
