"""Runs transactions on one SMTP connection; it is the only file that depends on the SMTP library.

MAIL, RCPT and DATA are called one by one: the library raises the same exception for a connection lost before MAIL and
after the whole message, and only the second case is ambiguous.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import aiosmtplib

from shared.errors import Refusal, Refused, Unavailable

#: Mails sent on one connection: many servers close a connection after 100 messages.
MAILS_PER_CONNECTION = 100

#: At MAIL it refuses the size that the command names (RFC 1870): no other connection would accept it.
_TOO_BIG = 552

Stage = Literal["connect", "auth", "mail", "rcpt", "data"]


class NegativeReply(Exception):
    """Says that the server replied negatively at this stage; ``text`` is the reply without the basic code."""

    def __init__(self, stage: Stage, code: int, text: str) -> None:
        self.stage: Stage = stage
        self.code = code
        self.text = text
        super().__init__(f"{stage} {code}")


class Stale(Exception):
    """Says that a connection that was used before accepts no further mail: none was begun, so a new one may be used."""


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """Says where to connect and how."""

    host: str
    port: int
    username: str
    password: str
    #: Whether to use TLS from the first byte.
    tls: bool
    #: Whether to use STARTTLS; None: if the server offers it.
    starttls: bool | None
    #: The name that this client gives in HELO.
    helo: str
    timeout_s: float
    tls_context: ssl.SSLContext


@dataclass(slots=True, repr=False)
class Mail:
    """Holds the data of one transaction. ``written`` becomes and stays True once the message may have been accepted."""

    sender: str
    recipient: str
    content: bytes
    written: bool = False


class Session:
    """Uses a logged-in connection for one transaction at a time."""

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        self._client = client
        self._mails = 0
        #: Whether no command waits for its reply.
        self._in_step = True
        #: Whether a transaction was refused before its end: RSET must come before the next.
        self._open_envelope = False
        #: Whether the server has refused to begin another mail on this connection.
        self._spent = False

    @property
    def usable(self) -> bool:
        is_fit = self._in_step and not self._spent
        return is_fit and self._client.is_connected and self._mails < MAILS_PER_CONNECTION

    def close(self) -> None:
        """Sends QUIT if that is possible, and waits for nothing."""
        protocol = self._client.protocol
        if self._in_step and protocol is not None and protocol.is_connected:
            protocol.write(b"QUIT\r\n")
        self._client.close()

    async def transact(self, mail: Mail, *, may_be_stale: bool) -> str:
        """Sends one message to one recipient; returns the text of the server's positive reply.

        Raises NegativeReply; Unavailable if no answer came, ambiguous once ``mail.written``; Refused
        (``UNSUPPORTED``) if the server cannot accept such an address; Stale if ``may_be_stale`` and the server has
        closed the connection or refuses MAIL on it (except for the mail's size), or if the mail would be refused
        without asking the server.
        """
        if not mail.recipient.isascii() and not self._client.supports_extension("smtputf8"):
            if may_be_stale:
                # A refusal counts as a sign that the provider works, so it needs a current answer.
                raise Stale
            detail = "smtp: the server accepts only ASCII addresses (no SMTPUTF8)"
            raise Refused(Refusal.UNSUPPORTED, detail)
        self._mails += 1
        try:
            await self._begin(mail)
        except aiosmtplib.SMTPServerDisconnected as exc:
            if may_be_stale:
                raise Stale from exc
            raise Unavailable("smtp: connection lost before the message was sent") from exc
        except NegativeReply as exc:
            if may_be_stale and exc.code != _TOO_BIG:
                # The refusal may be one of this connection: too many mails on it, a login that is too old.
                self._spent = True
                raise Stale from exc
            raise
        await self._ask("rcpt", _is_yes, b"RCPT", b"TO:<%s>" % mail.recipient.encode())
        await self._ask("data", _is_go_ahead, b"DATA")
        return await self._write(mail)

    async def _begin(self, mail: Mail) -> None:
        """Sends MAIL, after RSET if needed. Raises SMTPServerDisconnected and the errors of ``_ask``."""
        if self._open_envelope:
            await self._ask("mail", _is_yes, b"RSET")
            self._open_envelope = False
        options = [] if mail.recipient.isascii() else [b"SMTPUTF8"]
        if self._client.supports_extension("size"):
            options.append(b"SIZE=%d" % len(mail.content))
        await self._ask("mail", _is_yes, b"MAIL", b"FROM:<%s>" % mail.sender.encode(), *options)

    async def _ask(self, stage: Stage, is_good: Callable[[int], bool], *command: bytes) -> None:
        self._in_step = False
        try:
            reply = await self._client.execute_command(*command)
        except aiosmtplib.SMTPServerDisconnected as exc:
            if stage == "mail":
                raise
            raise Unavailable(f"smtp {stage}: connection lost before the message was sent") from exc
        except (aiosmtplib.SMTPException, OSError) as exc:
            raise Unavailable(f"smtp {stage}: no answer ({type(exc).__name__})") from exc
        self._in_step = True
        if not is_good(reply.code):
            self._open_envelope = True
            raise NegativeReply(stage, reply.code, reply.message)

    async def _write(self, mail: Mail) -> str:
        protocol = self._client.protocol
        if protocol is None:
            raise Unavailable("smtp data: connection lost before the message was sent")
        self._in_step = False
        mail.written = True
        try:
            protocol.write(dot_stuffed(mail.content))
            reply = await protocol.read_response()
        except (aiosmtplib.SMTPException, OSError) as exc:
            raise Unavailable(f"smtp data: no answer ({type(exc).__name__})", ambiguous=True) from exc
        self._in_step = True
        if _is_yes(reply.code):
            return reply.message
        if not 400 <= reply.code < 600:
            raise Unavailable(f"smtp data: the reply {reply.code} is neither positive nor negative", ambiguous=True)
        raise NegativeReply("data", reply.code, reply.message)


async def connect(server: Server) -> Session:
    """Connects, encrypts and logs in. Raises NegativeReply or Refused, never ambiguous: no mail was sent."""
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=server.username or None,
        password=server.password if server.username else None,
        use_tls=server.tls,
        start_tls=server.starttls,
        local_hostname=server.helo,
        timeout=server.timeout_s,
        tls_context=server.tls_context,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
    except aiosmtplib.SMTPAuthenticationError as exc:
        raise NegativeReply("auth", exc.code, exc.message) from exc
    except aiosmtplib.SMTPResponseException as exc:
        raise NegativeReply("connect", exc.code, exc.message) from exc
    except OSError as exc:
        raise Unavailable(f"smtp: no connection ({type(exc).__name__})") from exc
    except aiosmtplib.SMTPException as exc:
        # The server has no STARTTLS, no AUTH, or no AUTH method that this client supports.
        raise Refused(
            Refusal.CREDENTIALS, "smtp: the server lacks STARTTLS or AUTH, which the settings require"
        ) from exc
    return Session(client)


def dot_stuffed(content: bytes) -> bytes:
    """Returns ``content`` with the dot at the start of a line doubled, and the end marked (RFC 5321, 4.5.2)."""
    end = b".\r\n" if content.endswith(b"\r\n") else b"\r\n.\r\n"
    return re.sub(rb"(?m)^\.", b"..", content) + end


def _is_yes(code: int) -> bool:
    return 200 <= code < 300


def _is_go_ahead(code: int) -> bool:
    return code == 354
