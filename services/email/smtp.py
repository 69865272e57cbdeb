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
from services.email.mime import compose
from services.email.smtp_session import Mail, NegativeReply, Server, Session, Stage, Stale, connect
from shared.errors import Refusal, Refused, Unavailable
from shared.message.email_address import Mailbox
from shared.providers.provider import Message
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

#: An idle connection is closed after this time, seconds. Servers wait 5 minutes (RFC 5321), some only 10 to 30 s.
IDLE_S = 8.0
#: Permanent (5.x.y) enhanced codes, without the 5: https://www.iana.org/assignments/smtp-enhanced-status-codes
#: For 7.1 and every unlisted code, the stage and the basic code decide.
BY_ENHANCED = {
    **dict.fromkeys(("1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.0", "2.1", "4.1", "4.4"), Refusal.RECIPIENT_INVALID),
    **dict.fromkeys(("6.7", "6.9", "7.2", "7.17", "7.18"), Refusal.RECIPIENT_INVALID),
    **dict.fromkeys(
        ("2.3", "3.3", "3.4", "6.0", "6.1", "6.2", "6.3", "6.4", "6.5", "6.6", "7.3"), Refusal.PAYLOAD_REJECTED
    ),
    **dict.fromkeys(("1.7", "1.8", "7.8", "7.9", "7.11", "7.12", "7.13", "7.14"), Refusal.CREDENTIALS),
    # The mailbox or a mail system on the way is full, which is temporary.
    **dict.fromkeys(("2.2", "2.4", "3.1", "4.6", "4.7"), Refusal.RECIPIENT_TEMPORARY),
    # This recipient's domain does not trust the sender's (DKIM, SPF, reverse DNS); other domains may.
    **dict.fromkeys(("7.20", "7.21", "7.22", "7.23", "7.24", "7.25", "7.26", "7.27"), Refusal.RECIPIENT_TEMPORARY),
    **dict.fromkeys(("3.2", "3.5", "4.3", "5.0", "5.1", "5.2", "5.3", "5.4", "5.5"), Refusal.UNAVAILABLE),
    "7.28": Refusal.QUOTA_EXCEEDED,
}
#: Basic codes, by the stage that they answer: https://www.rfc-editor.org/rfc/rfc5321#section-4.2, RFC 4954, RFC 7504.
BY_CODE: dict[Stage, dict[int, Refusal]] = {
    "connect": {},
    "auth": dict.fromkeys((500, 501, 502, 503, 504, 525, 530, 534, 535, 538, 550, 554), Refusal.CREDENTIALS),
    "mail": {
        530: Refusal.CREDENTIALS,
        550: Refusal.CREDENTIALS,
        552: Refusal.PAYLOAD_REJECTED,
        553: Refusal.CREDENTIALS,
    },
    "rcpt": {
        **dict.fromkeys((501, 513, 521, 550, 551, 553, 556), Refusal.RECIPIENT_INVALID),
        530: Refusal.CREDENTIALS,
        552: Refusal.RECIPIENT_TEMPORARY,
        554: Refusal.PAYLOAD_REJECTED,
    },
    "data": {530: Refusal.CREDENTIALS, **dict.fromkeys((550, 552, 553, 554), Refusal.PAYLOAD_REJECTED)},
}
#: 5.7.1, not permitted: after RCPT it may mean relaying or this recipient's rule, after DATA it means the content.
_POLICY = {"mail": Refusal.CREDENTIALS, "rcpt": Refusal.RECIPIENT_TEMPORARY, "data": Refusal.PAYLOAD_REJECTED}
#: Temporary, and for this recipient only: mailbox busy or full, greylisted.
_TEMPORARY_FOR_RECIPIENT = frozenset(("2.0", "2.1", "2.2", "2.4", "7.1"))

_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\b")
# Finds the id that servers give the message in their positive reply.
_QUEUE_ID = re.compile(r"(?:queued as|\bok:?)\s+(?!queued)([\w.+/=-]{6,128})", re.IGNORECASE)


def classify(stage: Stage, code: int, text: str, *, written: bool = False) -> Refused:
    """Returns the refusal for a reply that is not positive; it has one for every reply.

    ``text`` is the text of the reply, without the basic code. ``written``: the reply came after the whole message.
    """
    found = _ENHANCED.match(text)
    enhanced = found[1] if found else ""
    shown = f"smtp {stage} {code}" + (f" {found[0]}" if found else "")
    # By RFC 5321, section 4.2.5, the server has not taken the message; some deliver it anyway.
    return Refused(_refusal(stage, code, enhanced), shown, handed_over=written)


def _refusal(stage: Stage, code: int, enhanced: str) -> Refusal:
    if stage in ("connect", "auth"):
        return BY_CODE[stage].get(code, Refusal.UNAVAILABLE)
    if code == 421:
        return Refusal.THROTTLED
    if 400 <= code < 500:
        return (
            Refusal.RECIPIENT_TEMPORARY if code == 450 or enhanced in _TEMPORARY_FOR_RECIPIENT else Refusal.UNAVAILABLE
        )
    if code in (530, 534, 535, 538):
        return Refusal.CREDENTIALS
    if enhanced == "7.1" and 500 <= code < 600:
        return _POLICY[stage]
    return BY_ENHANCED.get(enhanced) or BY_CODE[stage].get(code, Refusal.UNAVAILABLE)


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
