"""Tests services/email/smtp.py with a mail server made of bare sockets and with the sandbox."""

import asyncio
import ssl
from contextlib import AbstractAsyncContextManager
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from sandbox.server import Sandbox
from services.email import smtp
from services.email.smtp import Smtp
from shared.errors import Refusal, Refused
from shared.providers.urls import providers_for
from tests.support.messages import (
    BEYOND,
    DOWN,
    NOT_HERE,
    OURS,
    PAYLOAD,
    QUOTA,
    RATE,
    RECIPIENT,
    THROTTLED,
    UNPROVEN,
    built,
    message,
    refusing,
    send,
    settings,
)
from tests.support.opened import opened
from tests.support.peers.certificates import self_signed, server_context
from tests.support.peers.raw_smtp import CUT, HANG, RawSmtp, raw_smtp
from tests.support.waiting import eventually_async

TO = "ada@example.org"


def provider(
    server: RawSmtp, options: str = "", login: str = "", scheme: str = "smtp", host: str = "127.0.0.1"
) -> AbstractAsyncContextManager[Smtp]:
    url = f"{scheme}://{login}{host}:{server.port}?from=notify@example.com&timeout=3{options}"
    return opened(built(smtp.build, url))


async def error_of(made: Smtp, target: str = TO) -> Refused:
    with pytest.raises(Refused) as caught:
        await send(made, message(target))
    return caught.value


async def test_one_recipient_per_transaction_and_the_servers_id_for_it() -> None:
    async with raw_smtp() as server, provider(server) as made:
        assert await send(made, message(TO)) == "4F2A81C07"
        assert server.commands[1:] == ["MAIL FROM:<notify@example.com>", f"RCPT TO:<{TO}>", "DATA"]
        mail = message_from_bytes(server.mails[0])
        assert (mail["To"], mail["From"]) == (TO, "notify@example.com")


async def test_a_line_that_begins_with_a_dot_arrives_and_does_not_end_the_message() -> None:
    async with raw_smtp() as server, provider(server) as made:
        await send(made, message(TO, body="one\n.\n.two\nthree"))
        assert b"\r\none\r\n..\r\n..two\r\nthree\r\n.\r\n" in server.mails[0]


@pytest.mark.parametrize("at", ["EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("how", [CUT, HANG, "gibberish"])
async def test_no_answer_before_the_message_was_written_is_not_ambiguous(at: str, how: str) -> None:
    async with raw_smtp(replies={at: how}) as server, provider(server) as made:
        made.timeout_s = 0.3
        error = await error_of(made)
        assert error.refusal is DOWN
        assert not error.ambiguous
        assert server.mails == []


@pytest.mark.parametrize("how", [CUT, HANG, "gibberish", "354 again"])
async def test_no_answer_after_the_message_was_written_is_ambiguous_and_sent_once(how: str) -> None:
    async with raw_smtp(replies={".": how}) as server, provider(server) as made:
        made.timeout_s = 0.3
        error = await error_of(made)
        assert error.refusal is DOWN
        assert error.ambiguous
        assert len(server.mails) == 1


async def test_a_refused_connection_is_not_ambiguous() -> None:
    async with raw_smtp() as server:
        gone = server
    async with provider(gone) as made:
        error = await error_of(made)
    assert error.refusal is DOWN
    assert not error.ambiguous


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ({"RCPT": "550 5.1.1 no such user"}, RECIPIENT),
        ({".": "554 5.6.0 no"}, PAYLOAD),
        ({"DATA": "554 5.7.1 no"}, UNPROVEN),
        ({".": "550 5.4.5 Daily sending quota"}, QUOTA),
        ({".": "554 5.2.0 STOREDRV.Submission.Exception:SendAsDenied"}, OURS),
        ({".": "550 5.7.1 Client was not permitted to send as this sender"}, OURS),
        ({"RCPT": "550 relay not permitted"}, OURS),
        ({"RCPT": "553 5.7.1 Sender address rejected: not owned by user"}, OURS),
        ({"RCPT": "451 try again later"}, BEYOND),
        ({".": "454 Throttling failure: Maximum sending rate exceeded."}, RATE),
        ({".": "451 4.3.0 later"}, DOWN),
        ({"MAIL": "452 4.3.1 full"}, DOWN),
        ({"RCPT": "421 4.7.0 slow down"}, RATE),
        ({"RCPT": "421 closing"}, THROTTLED),
        ({"MAIL": "530 5.7.0 log in"}, OURS),
        ({"EHLO": "421 4.3.2 shutting down"}, DOWN),
    ],
)
async def test_each_reply_has_its_verdict(replies: dict[str, str], expected: Refusal) -> None:
    async with raw_smtp(replies=replies) as server, provider(server) as made:
        assert (await error_of(made)).refusal == expected


@pytest.mark.parametrize("greeting", ["421 4.7.0 too many", "554 5.3.2 no service", "what", CUT])
async def test_a_server_that_refuses_at_its_greeting_is_unavailable(greeting: str) -> None:
    async with raw_smtp() as server, provider(server) as made:
        server.greeting = greeting
        assert (await error_of(made)).refusal == DOWN


async def test_a_refused_login_means_credentials() -> None:
    async with (
        raw_smtp("AUTH PLAIN LOGIN", replies={"AUTH": "535 5.7.8 no"}) as server,
        provider(server, "&starttls=0", "u:p@") as made,
    ):
        assert (await error_of(made)).refusal is OURS
        assert "MAIL" not in server.verbs()


async def test_a_server_without_login_means_credentials() -> None:
    async with raw_smtp() as server, provider(server, "&starttls=0", "u:p@") as made:
        assert (await error_of(made)).refusal is OURS


async def test_after_a_refused_recipient_the_connection_serves_the_next() -> None:
    async with raw_smtp() as server, provider(server) as made:
        server.replies["RCPT"] = "550 5.1.1 no such user"
        await error_of(made)
        del server.replies["RCPT"]
        await send(made, message(TO))
        assert server.connections == 1
        assert server.verbs() == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"]


async def test_an_idle_connection_that_the_server_closed_costs_nothing() -> None:
    async with raw_smtp() as server, provider(server) as made:
        server.after_mail = lambda writer: writer.close()
        for _ in range(10):
            await send(made, message(TO))
        assert len(server.mails) == 10


@pytest.mark.parametrize(
    "farewell",
    [
        "421 4.4.2 idle too long",
        "452 4.5.3 too many mails on this connection",
        "530 5.7.0 log in again",
        "503 5.5.1 no",
        CUT,
    ],
)
async def test_a_pooled_connection_that_ends_at_its_next_command_is_replaced(farewell: str) -> None:
    async with raw_smtp() as server, provider(server) as made:
        await send(made, message(TO))
        server.replies["MAIL"] = farewell

        def mend_at_the_next_connection() -> None:
            del server.replies["MAIL"]

        server.at_connect = mend_at_the_next_connection
        await send(made, message(TO))
        assert (len(server.mails), server.connections) == (2, 2)


async def test_a_mail_that_is_too_big_is_so_on_every_connection() -> None:
    async with raw_smtp() as server, provider(server) as made:
        await send(made, message(TO))
        server.replies["MAIL"] = "552 5.3.4 too big"
        assert (await error_of(made)).refusal is PAYLOAD
        assert server.connections == 1


@pytest.mark.parametrize("reply", [CUT, "452 4.3.1 full"])
async def test_a_fresh_connection_that_accepts_no_mail_is_not_tried_again(reply: str) -> None:
    async with raw_smtp(replies={"MAIL": reply}) as server, provider(server) as made:
        await error_of(made)
        assert server.connections == 1


@pytest.mark.parametrize("at", ["RCPT", "."])
async def test_a_connection_that_still_owes_a_reply_serves_nobody_else(at: str) -> None:
    async with raw_smtp(replies={at: HANG}) as server, provider(server) as made:
        made.timeout_s = 0.3
        await error_of(made)
        del server.replies[at]
        made.timeout_s = 3
        await send(made, message(TO))
        assert server.connections == 2


async def test_a_connection_is_closed_after_its_limit_of_mails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.email.smtp_session.MAILS_PER_CONNECTION", 2)
    async with raw_smtp() as server, provider(server) as made:
        for _ in range(5):
            await send(made, message(TO))
        assert server.connections == 3


async def test_connections_are_shared_and_bounded() -> None:
    async with raw_smtp() as server, provider(server, "&connections=3") as made:
        await asyncio.gather(*(send(made, message(TO)) for _ in range(30)))
        assert len(server.mails) == 30
        assert made.connections == 3
        assert server.most_open == 3


async def test_closing_says_quit() -> None:
    async with raw_smtp() as server:
        async with provider(server) as made:
            await send(made, message(TO))
        await eventually_async(lambda: "QUIT" in server.verbs())


async def test_an_address_outside_ascii_needs_smtputf8() -> None:
    async with raw_smtp() as server, provider(server) as made:
        error = await error_of(made, "jürgen@example.org")
        assert error.refusal is NOT_HERE
        await send(made, message("post@bücher.example"))
        assert "RCPT TO:<post@xn--bcher-kva.example>" in server.commands
        # The refusal must come from a current answer of the server, because the breaker counts it as a success.
        before = server.connections
        assert (await error_of(made, "jürgen@example.org")).refusal is NOT_HERE
        assert server.connections == before + 1
    async with raw_smtp("SMTPUTF8", "8BITMIME") as server, provider(server) as made:
        await send(made, message("jürgen@bücher.example"))
        assert "MAIL FROM:<notify@example.com> SMTPUTF8" in server.commands
        assert "RCPT TO:<jürgen@xn--bcher-kva.example>" in server.commands


async def test_a_domain_is_converted_by_idna_2008_and_checked_after_it() -> None:
    async with raw_smtp() as server, provider(server) as made:
        await send(made, message("a@faß.de"))
        assert "RCPT TO:<a@xn--fa-hia.de>" in server.commands
        commands = len(server.commands)
        # A full-width > becomes a real one, and the server's syntax error would be the provider's fault.
        for _ in range(5):
            assert (await error_of(made, "a@b＞.example")).refusal is RECIPIENT
        assert len(server.commands) == commands


@pytest.mark.parametrize(
    "subject",
    [
        "Ihre Bestellung ist unterwegs — für Müller & Söhne 🚀",
        "Welcome, =?utf-8?q?x=0d=0aReply-To:_evil=40a.example?=",
        "Welcome, =?utf-8?q?x=0d=0a=0d=0aanother_body?=",
        "a " + "long subject " * 70 + "end",
        "你好" * 200,
    ],
)
async def test_a_subject_arrives_unchanged_and_brings_nothing_along(subject: str) -> None:
    async with raw_smtp() as server, provider(server) as made:
        await send(made, message(TO, subject=subject, body="the body"))
        mail = message_from_bytes(server.mails[0].removesuffix(b".\r\n"), policy=default)
        assert (mail["Subject"], mail["Reply-To"], mail["To"]) == (subject, None, TO)
        assert mail.get_content().strip() == "the body"


async def test_a_header_that_no_mail_can_have_is_refused_without_a_connection() -> None:
    async with raw_smtp() as server, provider(server) as made:
        with refusing(PAYLOAD):
            await send(made, message(TO, subject="x\r\nBcc: y@example.org"))
        assert server.connections == 0


async def test_the_size_is_sent_if_the_server_supports_it() -> None:
    async with raw_smtp("SIZE 1000000") as server, provider(server) as made:
        await send(made, message(TO))
        assert server.commands[1] == f"MAIL FROM:<notify@example.com> SIZE={len(server.mails[0]) - 3}"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    return server_context(certificate)


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.mark.usefixtures("trusted")
async def test_starttls_encrypts_before_the_login(tls: ssl.SSLContext) -> None:
    async with raw_smtp("AUTH PLAIN", starttls=tls) as server, provider(server, "&starttls=1", "u:p@") as made:
        await send(made, message(TO))
        assert server.verbs() == ["EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA"]


@pytest.mark.usefixtures("trusted")
async def test_starttls_is_used_where_it_is_offered(tls: ssl.SSLContext) -> None:
    async with raw_smtp(starttls=tls) as server, provider(server) as made:
        await send(made, message(TO))
        assert "STARTTLS" in server.verbs()


async def test_starttls_that_is_required_but_not_offered_means_credentials() -> None:
    async with raw_smtp("AUTH PLAIN") as server, provider(server, "&starttls=1", "u:p@") as made:
        assert (await error_of(made)).refusal is OURS
        assert "AUTH" not in server.verbs()


# 0.0.0.0 reaches this machine, but is no loopback address.
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("account", ["u:p@", "u@"])
async def test_a_login_is_not_sent_in_the_clear_unless_asked_for(host: str, account: str) -> None:
    for options in ("", "&tls=0", "&starttls=1"):
        async with raw_smtp("AUTH PLAIN LOGIN") as server, provider(server, options, account, host=host) as made:
            assert (await error_of(made)).refusal is OURS
            assert "AUTH" not in server.verbs()
    async with raw_smtp("AUTH PLAIN") as server, provider(server, "&starttls=0", "u:p@", host=host) as made:
        await send(made, message(TO))


@pytest.mark.usefixtures("trusted")
async def test_smtps_is_encrypted_from_the_first_byte(tls: ssl.SSLContext) -> None:
    async with raw_smtp(tls=tls) as server, provider(server, scheme="smtps") as made:
        await send(made, message(TO))
        assert len(server.mails) == 1


async def test_an_untrusted_certificate_is_refused(tls: ssl.SSLContext) -> None:
    async with raw_smtp("AUTH PLAIN", starttls=tls) as server, provider(server, "&starttls=1", "u:p@") as made:
        assert (await error_of(made)).refusal == DOWN
        assert "AUTH" not in server.verbs()


async def test_the_sandboxs_two_accounts_receive(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMAIL_PROVIDERS", raising=False)
    here = settings(sandbox_port=sandbox.port, sandbox_smtp_port=sandbox.smtp_port)
    for made in providers_for("email", {"smtp": smtp.build}, here):
        await made.open()
        await send(made, message(TO, html="<p>Hello</p>", request_id=f"for-{made.name}"))
        with refusing(RECIPIENT):
            await send(made, message("dead@example.org"))
        await made.close()
    received = [(delivery.provider, delivery.request_id) for delivery in sandbox.ledger.select()]
    assert received == [("smtp", "for-smtp"), ("smtp2", "for-smtp2")]
