"""Runs both listeners in this process, for ``python -m sandbox`` and for a test's fixture."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from sandbox.attempts import Attempts
from sandbox.control import Control
from sandbox.exchange import Bench, Exchange
from sandbox.faults import Faults
from sandbox.ledger import Ledger
from sandbox.settings import DEFAULT_KEEP
from sandbox.smtp.server import MailServer
from sandbox.vendors.directory import Lookup, find_template, find_user
from sandbox.vendors.fcm import Fcm, issue_token
from sandbox.vendors.sendgrid import SendGrid
from sandbox.vendors.twilio import Twilio
from sandbox.vendors.vonage import Vonage

LARGEST_BODY_BYTES = 32 * 1024 * 1024
#: Time that a call in progress may take to end when the process stops, seconds; a slower one is cut.
SHUTDOWN_S = 5.0


class CannotListen(OSError):
    """Says that the port is taken or the address is not this machine's; the text names the setting."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Holds a running sandbox. Ports are the real ones, even if 0 was asked for."""

    host: str
    port: int
    smtp_port: int
    ledger: Ledger
    faults: Faults
    attempts: Attempts

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@asynccontextmanager
async def start(
    host: str = "127.0.0.1", port: int = 0, smtp_port: int = 0, keep: int = DEFAULT_KEEP
) -> AsyncIterator[Sandbox]:
    """Listens until the context is left. Raises CannotListen."""
    bench = Bench(Ledger(keep), Faults(), Attempts(keep))
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(
            application(bench), access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S
        )
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        mail_server = MailServer(bench)
        stack.push_async_callback(mail_server.close)
        try:
            await web.TCPSite(runner, host, port, backlog=1024).start()
        except OSError as error:
            raise _cannot_listen("SANDBOX_PORT", host, port, error) from error
        try:
            real_smtp_port = await mail_server.open(host, smtp_port)
        except OSError as error:
            raise _cannot_listen("SANDBOX_SMTP_PORT", host, smtp_port, error) from error
        yield Sandbox(host, int(runner.addresses[0][1]), real_smtp_port, bench.ledger, bench.faults, bench.attempts)


def application(bench: Bench) -> web.Application:
    # TCP_NODELAY needs no line here: asyncio, uvloop and aiohttp all set it on every connection that they accept.
    app = web.Application(client_max_size=LARGEST_BODY_BYTES)
    app.add_routes(
        [
            web.post("/v1/projects/{project}/messages:send", Exchange(Fcm(), bench).handle),
            web.post("/token", issue_token),
            web.post("/v3/mail/send", Exchange(SendGrid(), bench).handle),
            web.post("/2010-04-01/Accounts/{sid}/Messages.json", Exchange(Twilio(), bench).handle),
            web.post("/sms/json", Exchange(Vonage(), bench).handle),
            web.get("/users/{key}", Exchange(Lookup("users", find_user), bench).handle),
            web.get("/templates/{key}", Exchange(Lookup("templates", find_template), bench).handle),
            *Control(bench).routes(),
        ]
    )

    async def release_hanging_calls(app: web.Application) -> None:
        bench.stopping.set()

    app.on_shutdown.append(release_hanging_calls)
    return app


def _cannot_listen(setting: str, host: str, port: int, error: OSError) -> CannotListen:
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return CannotListen(f"{setting}: cannot listen on {host}:{port} ({reason}); set SANDBOX_HOST or {setting}")
