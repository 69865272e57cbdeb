"""Tests the rule book with real mail servers that refuse: whose fault it is, and how fast the rest is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from sandbox.server import Sandbox
from services.email import smtp
from services.email.smtp import Smtp
from shared.message.outcome import Dead, Retry, Sent
from tests.support.fakes.worker import Bench
from tests.support.messages import built
from tests.support.opened import opened
from tests.support.peers.raw_smtp import RawSmtp, raw_smtp
from tests.support.sandbox import order, provider_at

#: (at which command, the server's reply): no to the account, in the words of Gmail, Exchange, Postfix, Exim and SES
ACCOUNT = [
    (".", "550 5.4.5 Daily sending quota exceeded"),
    (".", "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied"),
    (".", "550 5.7.1 Client was not permitted to send as this sender"),
    (".", "554 Message rejected: Email address is not verified."),
    ("RCPT", "550 relay not permitted"),
    ("RCPT", "553 5.7.1 Sender address rejected: not owned by user"),
    ("MAIL", "550 5.7.1 sender refused"),
    # No table knows these: several recipients in a row speak for the account.
    (".", "554 5.7.1 refused for policy reasons"),
    ("RCPT", "550 no"),
]


@asynccontextmanager
async def mail_bench(*servers: RawSmtp) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        made: list[Smtp] = []
        for number, server in enumerate(servers):
            provider = built(smtp.build, f"smtp://127.0.0.1:{server.port}?from=notify@example.com&timeout=3")
            provider.name = f"smtp{number + 1}"
            made.append(await stack.enter_async_context(opened(provider)))
        yield Bench("email", real=made)


async def send_all(bench: Bench, count: int) -> list[Any]:
    jobs = (bench.job(recipient={"email": f"p{n}@example.org"}, request_id=f"r-{n}") for n in range(count))
    return list(await asyncio.gather(*(bench.delivery.attempt(job) for job in jobs)))


@pytest.mark.parametrize(("at", "reply"), ACCOUNT)
async def test_a_no_to_the_account_opens_the_breaker_and_the_next_provider_delivers(at: str, reply: str) -> None:
    async with raw_smtp(replies={at: reply}) as first, raw_smtp() as second, mail_bench(first, second) as bench:
        outcomes = await send_all(bench, 30)
        assert all(isinstance(outcome, Sent) and outcome.provider == "smtp2" for outcome in outcomes)
        assert len(second.mails) == 30
        assert bench.providers.states() == {"smtp1": "open", "smtp2": "closed"}


@pytest.mark.parametrize(("at", "reply"), ACCOUNT[:-2])
async def test_a_no_to_the_account_ends_no_message_where_there_is_no_other_provider(at: str, reply: str) -> None:
    async with raw_smtp(replies={at: reply}) as server, mail_bench(server) as bench:
        outcomes = await send_all(bench, 30)
        assert not [outcome for outcome in outcomes if isinstance(outcome, Dead)]
        assert not [outcome for outcome in outcomes if isinstance(outcome, Retry) and outcome.counted]
        assert bench.providers.worst_state == "open"


@pytest.mark.parametrize("reply", ["451 try again later", "450 4.7.1 greylisted", "451 4.3.0 graylisted, come back"])
async def test_recipients_that_have_to_wait_do_not_stop_the_others(reply: str) -> None:
    async with raw_smtp(replies={"RCPT": reply}) as server, mail_bench(server) as bench:
        outcomes = await send_all(bench, 20)
        assert {outcome.reason for outcome in outcomes} == {"provider_unavailable"}
        del server.replies["RCPT"]
        assert isinstance(await bench.delivery.attempt(bench.job(recipient={"email": "q@example.org"})), Sent)
        assert bench.providers.worst_state == "closed"


async def test_a_hundred_mails_to_a_server_that_takes_fourteen_per_second_take_about_eight_seconds(
    sandbox: Sandbox,
) -> None:
    fault = {"mode": "status", "status": 454, "error_code": "4.7.28", "stage": "data", "above_per_s": 14}
    await order(sandbox, "smtp", **fault)
    async with provider_at(sandbox, "smtp") as provider:
        bench = Bench("email", real=[provider])
        began = time.monotonic()
        outcomes = await send_all(bench, 100)
        took_s = time.monotonic() - began
    assert all(isinstance(outcome, Sent) for outcome in outcomes)
    # The rate is learned twice where a busy machine delays some mails and then sends several at once.
    assert 6 < took_s < 20
    assert bench.providers.worst_state == "closed"
