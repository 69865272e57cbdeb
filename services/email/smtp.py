"""Sends by SMTP: ``smtp://user:password@host[:port]?from=notify@example.com&starttls=1``, or ``smtps://`` for TLS.

Options: ``tls``, ``starttls`` (1: required, 0: never, so that a password is sent in the clear; not given: required if
there is a user, else used if offered), ``connections`` (10), ``helo``, ``timeout``. Each transaction has one recipient,
so a refusal always belongs to that recipient.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl

from services.email.addresses import recipient_of, sender_of
from services.email.connection_pool import ConnectionPool
from services.email.mail.mime import compose
from services.email.smtp_refusals import classify
from services.email.smtp_session import Mail, NegativeReply, Server, Session, Stale, connect
from shared.errors import Unavailable
from shared.message.email_address import Mailbox
from shared.providers.provider import Message
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

#: An idle connection is closed after this time, seconds. Servers wait 5 minutes (RFC 5321), some only 10 to 30 s.
IDLE_S = 8.0
# Finds the id that servers give the message in their positive reply.
_QUEUE_ID = re.compile(r"(?:queued as|\bok:?)\s+(?!queued)([\w.+/=-]{6,128})", re.IGNORECASE)


def build(url: ProviderUrl, settings: Settings) -> Smtp:
    """Builds the provider.

    Raises BadSettings if the host or ``from`` is missing, if TLS and STARTTLS are both set, or an option is unknown.
    """
    url.allow("from", "tls", "starttls", "connections", "helo")
    sender = sender_of(url)
    if not url.host:
        raise url.problem("must contain a host")
    if not sender.address.is_ascii:
        raise url.problem("option from must be an e-mail address in ASCII before the @")
    tls, starttls = url.scheme == "smtps" or url.flag("tls") is True, url.flag("starttls")
    if tls and starttls:
        raise url.problem("use only one of tls and starttls")
    # Otherwise a server, or someone between, that does not offer STARTTLS would be told the password.
    if starttls is None and (url.username or url.password):
        starttls = True
    if not tls and not starttls:
        url.warn_if_readable(url.host)
    server = Server(
        host=url.host,
        port=url.port or (465 if tls else 587 if starttls else 25),
        username=url.username,
        password=url.password,
        tls=tls,
        starttls=False if tls else starttls,
        helo=url.options.get("helo") or socket.gethostname(),
        timeout_s=url.timeout_s,
        tls_context=ssl.create_default_context(),
    )
    return Smtp(url.name, server, sender, int(url.positive("connections", 10)) or 1)


class Smtp:
    """Sends with one account on one server."""

    def __init__(self, name: str, server: Server, sender: Mailbox, connections: int) -> None:
        self.name = name
        self.timeout_s = server.timeout_s
        self.connections = connections
        self._sender = sender
        self._pool: ConnectionPool[Session] = ConnectionPool(lambda: connect(server), connections, IDLE_S)

    async def open(self) -> None:
        """Does nothing, because the first send connects."""

    def prepare(self, message: Message) -> Mail:
        """Returns the mail to one recipient. Raises Refused for a target or a header that no mail can have."""
        recipient = recipient_of(message, "smtp")
        return Mail(str(self._sender.address), str(recipient), compose(message, self._sender, recipient))

    async def send(self, request: Mail) -> str:
        try:
            async with asyncio.timeout(self.timeout_s):
                yes = await self._deliver(request)
        except TimeoutError as exc:
            raise Unavailable(f"smtp: no answer within {self.timeout_s:g} s", ambiguous=request.written) from exc
        except NegativeReply as exc:
            raise classify(exc.stage, exc.code, exc.text, written=request.written) from exc
        found = _QUEUE_ID.search(yes)
        return found[1] if found else ""

    async def close(self) -> None:
        self._pool.close()

    async def _deliver(self, mail: Mail) -> str:
        try:
            return await self._transact(mail, fresh=False)
        except Stale:
            return await self._transact(mail, fresh=True)

    async def _transact(self, mail: Mail, *, fresh: bool) -> str:
        async with self._pool.lease(fresh) as lease:
            return await lease.connection.transact(mail, may_be_stale=lease.reused)
