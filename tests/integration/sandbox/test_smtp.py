"""The stand-in mail server: two accounts, the protocol's order, and faults at the point where they belong."""

import asyncio
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage

import aiohttp
import aiosmtplib
import pytest

from sandbox.server import Sandbox, start
from tests.support.waiting import eventually_async

TO = "ada@example.com"
#: How long no answer has to stay away before it is believed that none will come.
SILENCE_S = 0.3


def mail(**headers: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "hi", "us@example.com", TO
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("hello\n.a line with a dot\n")
    message.add_alternative("<p>hello</p>", subtype="html")
    return message


@asynccontextmanager
async def client(sandbox: Sandbox, user: str | None = None) -> AsyncIterator[aiosmtplib.SMTP]:
    """A connection, logged in as ``user`` unless None. Left without QUIT if the server has gone."""
    smtp = aiosmtplib.SMTP(hostname=sandbox.host, port=sandbox.smtp_port, start_tls=False, timeout=5)
    await smtp.connect()
    try:
        if user is not None:
            await smtp.login(user, "any")
        yield smtp
    finally:
        smtp.close()


async def order(sandbox: Sandbox, account: str, **fault: object) -> None:
    url = f"{sandbox.url}/sandbox/faults/{account}"
    async with aiohttp.ClientSession() as http, http.put(url, json=fault) as response:
        assert response.status == 200, await response.text()


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
    """Every line up to the end of the connection, which must come."""
    return (await asyncio.wait_for(reader.read(), 5)).decode().splitlines()


async def dialogue(sandbox: Sandbox, *lines: str) -> list[str]:
    """The codes of the replies to ``lines``, sent one by one; EHLO is said first."""
    codes = []
    async with raw(sandbox) as (reader, writer):
        for line in ("EHLO test", *lines):
            writer.write(f"{line}\r\n".encode())
            while (reply := (await reader.readline()).decode())[3:4] == "-":
                continue
            codes.append(reply[:3])
    return codes[1:]


async def test_headers_text_and_html_are_recorded(sandbox: Sandbox) -> None:
    async with client(sandbox) as smtp:
        await smtp.send_message(mail(X_Request_ID="r1"))
    (delivery,) = sandbox.ledger.select("smtp", "r1")
    payload = delivery.payload()
    assert isinstance(payload, dict)
    assert delivery.target == TO
    assert payload["mail_from"] == "us@example.com"
    assert payload["headers"]["Subject"] == "hi"
    assert (payload["text"], payload["html"]) == ("hello\n.a line with a dot\n", "<p>hello</p>\n")
    assert delivery.ended_at is not None


async def test_a_request_id_that_was_folded_is_found(sandbox: Sandbox) -> None:
    long_id = "r" * 128
    async with client(sandbox) as smtp:
        await smtp.sendmail("us@example.com", TO, f"Subject: hi\r\nX-Request-ID:\r\n {long_id}\r\n\r\nhello\r\n")
        await smtp.sendmail("us@example.com", TO, "Subject: hi\r\n\r\nX-Request-ID: in-the-body\r\n")
    assert [delivery.request_id for delivery in sandbox.ledger.deliveries] == [long_id, None]


@pytest.mark.parametrize(
    ("user", "account"), [(None, "smtp"), ("smtp", "smtp"), ("smtp2", "smtp2"), ("somebody", "smtp")]
)
async def test_the_user_name_chooses_the_account(sandbox: Sandbox, user: str | None, account: str) -> None:
    async with client(sandbox, user) as smtp:
        await smtp.send_message(mail())
    assert [delivery.provider for delivery in sandbox.ledger.deliveries] == [account]
    assert calls(sandbox, account) == (1, 1)


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
@pytest.mark.parametrize("initial", [True, False])
async def test_both_mechanisms_work_with_and_without_an_initial_response(
    sandbox: Sandbox, mechanism: str, initial: bool
) -> None:
    def send() -> None:
        with smtplib.SMTP(sandbox.host, sandbox.smtp_port) as smtp:
            smtp.ehlo()
            smtp.user, smtp.password = "smtp2", "any"
            method = mechanism.removeprefix("auth_").upper()
            smtp.auth(method, getattr(smtp, mechanism), initial_response_ok=initial)
            smtp.send_message(mail())

    await asyncio.to_thread(send)
    assert calls(sandbox, "smtp2") == (1, 1)


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["AUTH PLAIN", "*"], ["334", "501"]),
        (["AUTH PLAIN ????"], ["501"]),
        (["AUTH PLAIN AAAA"], ["501"]),
        (["AUTH CRAM-MD5"], ["504"]),
        (["AUTH PLAIN AHNtdHAAeA==", "AUTH PLAIN AHNtdHAAeA=="], ["235", "503"]),
        (["RCPT TO:<a@example.com>"], ["503"]),
        (["DATA"], ["503"]),
        (["MAIL FROM:<a@example.com>", "DATA"], ["250", "503"]),
        (["MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>"], ["250", "503"]),
        (["MAIL FROM:<a@example.com>", "RSET", "RCPT TO:<b@example.com>"], ["250", "250", "503"]),
        (["MAIL a@example.com"], ["501"]),
        (["MAIL FROM:<a@example.com> SIZE=99999999999"], ["552"]),
        (["MAIL FROM:<>", "RCPT TO:<nobody>"], ["250", "501"]),
        (["FLY", "NOOP", "VRFY a", "QUIT"], ["500", "250", "252", "221"]),
    ],
)
async def test_the_dialogue_keeps_its_order(sandbox: Sandbox, lines: list[str], codes: list[str]) -> None:
    assert await dialogue(sandbox, *lines) == codes


async def test_mail_before_a_greeting_is_refused(sandbox: Sandbox) -> None:
    async with raw(sandbox) as (reader, writer):
        writer.write(b"MAIL FROM:<a@example.com>\r\n")
        assert (await reader.readline()).startswith(b"503 ")


async def test_pipelined_commands_are_answered_in_order(sandbox: Sandbox) -> None:
    async with raw(sandbox) as (reader, writer):
        writer.write(
            b"HELO test\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
            b"Subject: hi\r\n\r\none\n.\ntwo\r\n..three\r\n.\r\nQUIT\r\n"
        )
        replies = await until_closed(reader)
    assert [reply[:3] for reply in replies] == ["250", "250", "250", "354", "250", "221"]
    (delivery,) = sandbox.ledger.deliveries
    payload = delivery.payload()
    assert isinstance(payload, dict)
    # A bare LF ends no line on the wire: the dot between two of them did not end the mail.
    assert payload["text"] == "one\n.\ntwo\n.three\n"


async def test_a_message_over_the_limit_is_refused_and_the_connection_lives(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.smtp.wire.LARGEST_MESSAGE_BYTES", 100)
    async with client(sandbox) as smtp:
        with pytest.raises(aiosmtplib.SMTPDataError) as refusal:
            await smtp.sendmail("us@example.com", TO, "x" * 40 + "\r\n" + "y" * 80)
        assert refusal.value.code == 552
        await smtp.sendmail("us@example.com", TO, "short")
    assert calls(sandbox) == (2, 1)


async def test_a_dead_address_is_refused_at_rcpt(sandbox: Sandbox) -> None:
    async with client(sandbox) as smtp:
        await smtp.ehlo()
        await smtp.mail("us@example.com")
        with pytest.raises(aiosmtplib.SMTPRecipientRefused) as refusal:
            await smtp.rcpt("dead@example.com")
    assert (refusal.value.code, refusal.value.message[:5]) == (550, "5.1.1")
    assert calls(sandbox) == (1, 0)


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


async def test_a_fault_for_one_address_leaves_the_others_alone(sandbox: Sandbox) -> None:
    await order(sandbox, "smtp", mode="status", status=451, target="other@example.com")
    async with client(sandbox) as smtp:
        await smtp.send_message(mail())
        with pytest.raises(aiosmtplib.SMTPDataError):
            await smtp.send_message(mail(), recipients=["other@example.com"])


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


async def test_timeout_says_nothing_after_the_mail(sandbox: Sandbox) -> None:
    await order(sandbox, "smtp", mode="timeout", count=1)
    async with raw(sandbox) as (reader, writer):
        writer.write(b"HELO test\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nx\r\n.\r\n")
        while not (await reader.readline()).startswith(b"354"):
            continue
        await eventually_async(lambda: not sandbox.faults.standing)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), SILENCE_S)
    assert calls(sandbox) == (1, 0)


async def test_a_reset_comes_after_the_mail_was_accepted(sandbox: Sandbox) -> None:
    await order(sandbox, "smtp", mode="reset_after_accept", count=1)
    async with raw(sandbox) as (reader, writer):
        writer.write(b"HELO test\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        while not (await reader.readline()).startswith(b"354"):
            continue
        writer.write(b"X-Request-ID: r1\r\n\r\nhello\r\n.\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
    (delivery,) = sandbox.ledger.select("smtp", "r1")
    assert delivery.ended_at is not None


async def test_slow_answers_late(sandbox: Sandbox) -> None:
    await order(sandbox, "smtp", mode="slow", delay_ms=50)
    async with client(sandbox) as smtp:
        await smtp.send_message(mail())
    (delivery,) = sandbox.ledger.deliveries
    assert delivery.ended_at is not None
    assert delivery.ended_at - delivery.at >= 0.05


async def test_the_server_ends_although_clients_stay_connected() -> None:
    async with start() as sandbox:
        reader, writer = await asyncio.open_connection(sandbox.host, sandbox.smtp_port)
        await reader.readline()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
