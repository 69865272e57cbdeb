"""A mail fault strikes at the command it is ordered for."""

from collections.abc import AsyncIterator

import aiohttp
import aiosmtplib
import pytest

from sandbox.server import Sandbox

SENDER = "us@example.com"
TO = "ada@example.com"
TEXT = "Subject: hi\r\nX-Request-ID: r1\r\n\r\nhello\r\n"


@pytest.fixture
async def smtp(sandbox: Sandbox) -> AsyncIterator[aiosmtplib.SMTP]:
    """Yields a client that is logged in as smtp."""
    client = aiosmtplib.SMTP(hostname=sandbox.host, port=sandbox.smtp_port, start_tls=False, timeout=5)
    async with client:
        await client.login("smtp", "any")
        yield client


async def order(http: aiohttp.ClientSession, **fault: object) -> None:
    async with http.put("/sandbox/faults/smtp", json={"mode": "status", **fault}) as response:
        assert response.status == 200, await response.text()


async def stage_of_refusal(smtp: aiosmtplib.SMTP, to: str = TO) -> tuple[str, int]:
    try:
        await smtp.mail(SENDER)
    except aiosmtplib.SMTPSenderRefused as refusal:
        return "mail", refusal.code
    try:
        await smtp.rcpt(to)
    except aiosmtplib.SMTPRecipientRefused as refusal:
        await smtp.rset()
        return "rcpt", refusal.code
    try:
        await smtp.data(TEXT)
    except aiosmtplib.SMTPDataError as refusal:
        return "data", refusal.code
    return "none", 250


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("status", [451, 550, 530])
async def test_the_command_of_the_stage_is_refused(
    http: aiohttp.ClientSession, smtp: aiosmtplib.SMTP, stage: str, status: int
) -> None:
    await order(http, status=status, stage=stage, count=1)
    assert await stage_of_refusal(smtp) == (stage, status)
    assert await stage_of_refusal(smtp) == ("none", 250)


async def test_the_first_mail_after_a_login_is_struck_too(http: aiohttp.ClientSession, sandbox: Sandbox) -> None:
    """The faults of the connection do not strike again after a login that passed them, but those of MAIL do."""
    await order(http, status=451, stage="mail", count=1)
    client = aiosmtplib.SMTP(hostname=sandbox.host, port=sandbox.smtp_port, start_tls=False, timeout=5)
    async with client:
        await client.login("smtp", "any")
        assert await stage_of_refusal(client) == ("mail", 451)


async def test_one_recipient_can_be_refused_at_rcpt(http: aiohttp.ClientSession, smtp: aiosmtplib.SMTP) -> None:
    await order(http, status=550, stage="rcpt", target="bob@example.com", count=1)
    assert await stage_of_refusal(smtp) == ("none", 250)
    assert await stage_of_refusal(smtp, "bob@example.com") == ("rcpt", 550)
