"""Runs a mail server that misbehaves on the wire: it replies as it is told, cuts connections and hangs."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.support.peers.listening import listening

#: instead of a reply: the server closes the connection
CUT = "cut"
#: instead of a reply: the server stays silent until the client gives up
HANG = "hang"

_OK = {
    "EHLO": "250 mail.example.com",
    "AUTH": "235 2.7.0 ok",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go ahead",
    ".": "250 2.0.0 Ok: queued as 4F2A81C07",
    "RSET": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
    "STARTTLS": "220 2.0.0 go ahead",
}


@dataclass
class RawSmtp:
    """Holds a server. ``replies`` (verb -> reply, ``.`` for the end of a message) may be changed while it runs."""

    port: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    greeting: str = "220 mail.example.com ESMTP"
    commands: list[str] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    #: It is called when a client connects.
    at_connect: Callable[[], None] | None = None
    #: It is called with a connection's writer after each message was answered.
    after_mail: Callable[[asyncio.StreamWriter], None] | None = None

    def verbs(self) -> list[str]:
        return [command.split(" ")[0] for command in self.commands]

    def reply_to(self, verb: str) -> str:
        return self.replies.get(verb) or _OK.get(verb, "500 5.5.1 what?")


@asynccontextmanager
async def raw_smtp(
    *extensions: str,
    tls: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    replies: Mapping[str, str] | None = None,
) -> AsyncIterator[RawSmtp]:
    """Yields a server with ``replies`` by verb, ``.`` for the end of a message; it accepts every other verb."""
    mail_server = RawSmtp(replies=dict(replies or {}))
    offers = [*extensions, *(["STARTTLS"] if starttls else [])]
    if offers and "EHLO" not in mail_server.replies:
        lines = ["mail.example.com", *offers]
        mail_server.replies["EHLO"] = "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mail_server.connections += 1
        if mail_server.at_connect is not None:
            mail_server.at_connect()
        mail_server.open_now += 1
        mail_server.most_open = max(mail_server.most_open, mail_server.open_now)
        try:
            await _converse(mail_server, reader, writer, starttls)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has closed
        finally:
            mail_server.open_now -= 1
            writer.transport.abort()

    async with listening(serve, tls=tls) as mail_server.port:
        yield mail_server


async def _converse(
    server: RawSmtp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, starttls: ssl.SSLContext | None
) -> None:
    await _say(writer, server.greeting)
    while True:
        command = (await reader.readuntil(b"\r\n")).decode().rstrip("\r\n")
        server.commands.append(command)
        verb = command.split(" ")[0].upper()
        await _say(writer, server.reply_to(verb))
        if verb == "QUIT":
            return
        if verb == "STARTTLS" and starttls is not None:
            await writer.start_tls(starttls)
        if verb == "DATA" and server.reply_to("DATA").startswith("354"):
            server.mails.append(await reader.readuntil(b"\r\n.\r\n"))
            await _say(writer, server.reply_to("."))
            if server.after_mail is not None:
                server.after_mail(writer)


async def _say(writer: asyncio.StreamWriter, reply: str) -> None:
    if reply == CUT:
        raise ConnectionAbortedError
    if reply == HANG:
        await asyncio.Event().wait()
    writer.write(reply.encode() + b"\r\n")
    await writer.drain()
