"""The stand-in mail server has two accounts, and each fault strikes at the point where it belongs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import aiosmtplib
import pytest

from sandbox.server import Sandbox, start
from tests.support.sandbox import order

TO = "ada@example.com"


def mail() -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "hi", "us@example.com", TO
    message.set_content("hello")
    return message


@asynccontextmanager
async def client(sandbox: Sandbox, user: str | None = None) -> AsyncIterator[aiosmtplib.SMTP]:
    """Yields a connection, logged in as ``user`` unless it is None; it skips QUIT if the server has gone."""
    smtp = aiosmtplib.SMTP(hostname=sandbox.host, port=sandbox.smtp_port, start_tls=False, timeout=5)
    await smtp.connect()
    try:
        if user is not None:
            await smtp.login(user, "any")
        yield smtp
    finally:
        smtp.close()


async def refused_at(smtp: aiosmtplib.SMTP, to: str = TO) -> tuple[str, int] | None:
    """Sends one mail. Returns the stage at which it was refused and the code, or None."""
    try:
        await smtp.send_message(mail(), recipients=[to])
    except aiosmtplib.SMTPSenderRefused as refusal:
        return "mail", refusal.code
    except aiosmtplib.SMTPRecipientsRefused as refusal:
        return "rcpt", refusal.recipients[0].code
    except aiosmtplib.SMTPDataError as refusal:
        return "data", refusal.code
    return None


def calls(sandbox: Sandbox, account: str = "smtp") -> tuple[int, int]:
    total = sandbox.ledger.totals([account])[account]
    return total["calls"], total["accepted"]


@asynccontextmanager
async def raw(sandbox: Sandbox) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(sandbox.host, sandbox.smtp_port)
    try:
        assert (await reader.readline()).startswith(b"220 ")
        yield reader, writer
    finally:
        writer.close()


async def until_closed(reader: asyncio.StreamReader) -> list[str]:
    """Returns every line up to the end of the connection, which must come."""
    return (await asyncio.wait_for(reader.read(), 5)).decode().splitlines()


@pytest.mark.parametrize(
    ("user", "account"), [(None, "smtp"), ("smtp", "smtp"), ("smtp2", "smtp2"), ("somebody", "smtp")]
)
async def test_the_user_name_chooses_the_account(sandbox: Sandbox, user: str | None, account: str) -> None:
    async with client(sandbox, user) as smtp:
        await smtp.send_message(mail())
    assert [delivery.provider for delivery in sandbox.ledger.deliveries] == [account]
    assert calls(sandbox, account) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ({"status": 451}, 451, "4.3.0"),
        ({"status": 552}, 552, "5.3.4"),
        ({"status": 471}, 471, "4.0.0"),
        ({"error_code": "4.2.2"}, 451, "4.2.2"),
        ({"error_code": "5.1.1"}, 550, "5.1.1"),
        ({"error_code": "5.7.1"}, 554, "5.7.1"),
        ({"error_code": "4.2.2", "status": 452}, 452, "4.2.2"),
    ],
)
async def test_a_status_is_the_reply_to_data(sandbox: Sandbox, fault: dict[str, object], code: int, text: str) -> None:
    await order(sandbox, "smtp", **{"mode": "status", "count": 1, **fault})
    async with client(sandbox, "smtp") as smtp:
        with pytest.raises(aiosmtplib.SMTPDataError) as refusal:
            await smtp.send_message(mail())
        assert (refusal.value.code, refusal.value.message.split()[0]) == (code, text)
        await smtp.send_message(mail())
    assert calls(sandbox) == (2, 1)


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("status", [451, 550, 530])
async def test_the_command_of_the_stage_is_refused(sandbox: Sandbox, stage: str, status: int) -> None:
    """The faults of the connection do not strike again after a login that passed them, but those of MAIL do."""
    await order(sandbox, "smtp", mode="status", status=status, stage=stage, count=1)
    async with client(sandbox, "smtp") as smtp:
        assert [await refused_at(smtp), await refused_at(smtp)] == [(stage, status), None]
        await order(sandbox, "smtp", mode="status", status=status, stage=stage, count=1)
        assert [await refused_at(smtp), await refused_at(smtp)] == [(stage, status), None]


@pytest.mark.parametrize("stage", ["rcpt", "data"])
async def test_a_fault_for_one_address_leaves_the_others_alone(sandbox: Sandbox, stage: str) -> None:
    await order(sandbox, "smtp", mode="status", status=451, stage=stage, target="other@example.com")
    async with client(sandbox, "smtp") as smtp:
        assert await refused_at(smtp) is None
        assert await refused_at(smtp, "other@example.com") == (stage, 451)


async def test_a_421_ends_the_connection(sandbox: Sandbox) -> None:
    await order(sandbox, "smtp", mode="status", status=421)
    async with raw(sandbox) as (reader, writer):
        writer.write(b"HELO test\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx\r\n.\r\n")
        replies = await until_closed(reader)
    assert replies[-1].startswith("421 ")


async def test_a_fault_of_one_account_leaves_the_other_alone(sandbox: Sandbox) -> None:
    await order(sandbox, "smtp", mode="status", status=451)
    async with client(sandbox, "smtp2") as smtp:
        await smtp.send_message(mail())
    assert calls(sandbox, "smtp2") == (1, 1)


async def test_a_server_that_is_down_turns_logins_away_and_closes(sandbox: Sandbox) -> None:
    await order(sandbox, "smtp", mode="down", count=1)
    async with raw(sandbox) as (reader, writer):
        writer.write(b"EHLO test\r\nAUTH PLAIN AHNtdHAAeA==\r\n")
        replies = await until_closed(reader)
    assert replies[-1].startswith("421 ")
    assert calls(sandbox) == (1, 0)
    async with client(sandbox, "smtp") as again:
        await again.send_message(mail())


async def test_a_server_that_goes_down_turns_away_those_already_in(sandbox: Sandbox) -> None:
    async with client(sandbox, "smtp") as smtp, client(sandbox, "smtp2") as second:
        await smtp.send_message(mail())
        await order(sandbox, "smtp", mode="down")
        with pytest.raises(aiosmtplib.SMTPException) as refusal:
            await smtp.send_message(mail())
        assert "421" in str(refusal.value)
        await second.send_message(mail())
    assert (calls(sandbox), calls(sandbox, "smtp2")) == ((2, 1), (1, 1))


async def test_one_fault_strikes_a_login_and_its_first_mail_only_once(sandbox: Sandbox) -> None:
    rolls = iter([0.9, 0.1])
    sandbox.faults.chance = lambda: next(rolls)
    await order(sandbox, "smtp", mode="down", rate=0.5)
    async with client(sandbox, "smtp") as smtp:
        await smtp.send_message(mail())
        with pytest.raises(aiosmtplib.SMTPException):
            await smtp.send_message(mail())


async def test_refused_credentials_are_refused_at_auth(sandbox: Sandbox) -> None:
    await order(sandbox, "smtp", mode="status", status=535)
    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as refusal:
        async with client(sandbox, "smtp"):
            pytest.fail("logged in")
    assert refusal.value.code == 535


async def test_the_server_ends_although_clients_stay_connected() -> None:
    async with start() as sandbox:
        reader, writer = await asyncio.open_connection(sandbox.host, sandbox.smtp_port)
        await reader.readline()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
