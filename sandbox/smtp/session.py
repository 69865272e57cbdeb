"""Serves one SMTP connection: EHLO, AUTH, MAIL, RCPT, DATA, RSET, NOOP, VRFY, QUIT (RFC 5321), with faults.

The user name chooses the account: ``smtp2`` if it is that, else ``smtp``, which is also the account of a client that
does not authenticate. One call is one transaction, begun by MAIL, or one refused login.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial

from sandbox.exchange import Bench
from sandbox.faults import Fault, Mode
from sandbox.smtp.auth import AuthRefused, read_user
from sandbox.smtp.faults import at_mail, at_rcpt, at_the_door, at_the_door_or_mail, fault_reply
from sandbox.smtp.transaction import Transaction
from sandbox.smtp.wire import LARGEST_MESSAGE_BYTES, Goodbye, Wire

HOST_NAME = "sandbox.localhost"
OFFERS = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "AUTH PLAIN LOGIN")
OUT_OF_ORDER = "503 5.5.1 Bad sequence of commands"

_MAIL = re.compile(r"FROM:\s*<([^<>]*)>\s*(.*)", re.IGNORECASE)
_RCPT = re.compile(r"TO:\s*<([^<>]+)>.*", re.IGNORECASE)
_SIZE = re.compile(r"\bSIZE=(\d{1,20})", re.IGNORECASE)


class Session:
    """Serves one connection: call ``run`` once; it returns when either side has closed."""

    def __init__(self, wire: Wire, bench: Bench) -> None:
        self._wire = wire
        self._bench = bench
        self._account = "smtp"
        self._greeted = False
        self._authenticated = False
        self._passed_door = False
        self._transaction: Transaction | None = None
        self._verbs: dict[str, Callable[[str], Awaitable[None]]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "AUTH": self._auth,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": partial(self._say, "250 2.0.0 OK"),
            "VRFY": partial(self._say, "252 2.5.0 Cannot verify"),
            "QUIT": self._quit,
        }

    async def run(self) -> None:
        try:
            await self._wire.reply(f"220 {HOST_NAME} ESMTP")
            while True:
                verb, _, argument = (await self._wire.line()).partition(" ")
                act = self._verbs.get(verb.upper())
                await (act(argument.strip()) if act else self._wire.reply("500 5.5.1 Command not recognized"))
        except Goodbye:
            return

    async def _ehlo(self, argument: str) -> None:
        self._greeted, self._transaction = True, None
        lines = [f"250-{line}" for line in (HOST_NAME, *OFFERS)]
        await self._wire.reply("\r\n".join([*lines, f"250 SIZE {LARGEST_MESSAGE_BYTES}"]))

    async def _helo(self, argument: str) -> None:
        self._greeted, self._transaction = True, None
        await self._wire.reply(f"250 {HOST_NAME}")

    async def _auth(self, argument: str) -> None:
        if self._authenticated or self._transaction is not None or not self._greeted:
            return await self._wire.reply(OUT_OF_ORDER)
        mechanism, _, initial = argument.partition(" ")
        try:
            user = await read_user(mechanism.upper(), initial, self._wire.challenge)
        except AuthRefused as refusal:
            return await self._wire.reply(str(refusal))
        account = "smtp2" if user == "smtp2" else "smtp"
        fault = self._bench.faults.draw(account, strikes=at_the_door)
        if fault is not None:
            self._count_call(account)
            return await self._turn_away(fault)
        self._account, self._authenticated, self._passed_door = account, True, True
        return await self._wire.reply("235 2.7.0 Authentication successful")

    async def _mail(self, argument: str) -> None:
        if self._transaction is not None or not self._greeted:
            return await self._wire.reply(OUT_OF_ORDER)
        parsed = _MAIL.fullmatch(argument)
        if parsed is None:
            return await self._wire.reply("501 5.5.4 Syntax: MAIL FROM:<address>")
        self._count_call(self._account)
        # A client whose login has just passed the check for faults is not checked again; a connection that was pooled
        # before the fault is checked.
        strikes = at_mail if self._passed_door else at_the_door_or_mail
        fault = self._bench.faults.draw(self._account, strikes=strikes)
        self._passed_door = False
        if fault is not None:
            return await self._turn_away(fault)
        size = _SIZE.search(parsed[2])
        if size is not None and int(size[1]) > LARGEST_MESSAGE_BYTES:
            return await self._wire.reply("552 5.3.4 Message too big")
        self._transaction = Transaction(self._account, parsed[1], self._bench.ledger.clock())
        return await self._wire.reply("250 2.1.0 OK")

    def _count_call(self, account: str) -> None:
        self._bench.ledger.count_call(account)
        self._bench.attempts.began(account)

    async def _turn_away(self, fault: Fault) -> None:
        await asyncio.sleep(fault.delay_s)
        await self._wire.reply(fault_reply(fault))
        if fault.mode is Mode.DOWN or fault.status == 421:
            raise Goodbye

    async def _rcpt(self, argument: str) -> None:
        if self._transaction is None:
            return await self._wire.reply("503 5.5.1 Need MAIL first")
        parsed = _RCPT.fullmatch(argument)
        if parsed is None:
            return await self._wire.reply("501 5.5.4 Syntax: RCPT TO:<address>")
        address, transaction = parsed[1], self._transaction
        fault = self._bench.faults.draw(self._account, (address,), at_rcpt)
        refusal = transaction.refusal(address)
        if fault is None and refusal is None:
            transaction.recipients.append(address)
            return await self._wire.reply("250 2.1.5 OK")
        if not transaction.recipients:
            # A client with one recipient ends here, and the server will learn no more about whose mail it was.
            transaction.identify(self._bench, None, address)
        return await (self._turn_away(fault) if fault is not None else self._wire.reply(str(refusal)))

    async def _data(self, argument: str) -> None:
        transaction = self._transaction
        if transaction is None or not transaction.recipients:
            return await self._wire.reply("503 5.5.1 Need RCPT first")
        await self._wire.reply("354 End data with <CR><LF>.<CR><LF>")
        content = await self._wire.content()
        self._transaction = None
        if content is None:
            transaction.identify(self._bench, None, transaction.recipients[0])
            return await self._wire.reply("552 5.3.4 Message too big")
        return await transaction.finish(content, self._wire, self._bench)

    async def _rset(self, argument: str) -> None:
        self._transaction = None
        await self._wire.reply("250 2.0.0 OK")

    async def _quit(self, argument: str) -> None:
        await self._wire.reply("221 2.0.0 Bye")
        raise Goodbye

    async def _say(self, text: str, argument: str) -> None:
        await self._wire.reply(text)
