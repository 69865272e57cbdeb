"""Tests that the rows of ``permanent`` match the providers' tables, and that the sandbox makes each of them happen."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest

from sandbox.server import Sandbox, start
from services.email import sendgrid, smtp_refusals
from services.push import fcm
from services.sms import twilio, vonage
from shared.errors import Refusal, Refused
from shared.providers import refusal
from tests.faults.faults.permanent import PAYLOAD, PERMANENT, RECIPIENT, UNPROVEN, Permanent
from tests.support.messages import REQUEST_ID, message, send
from tests.support.sandbox import order, provider_at

REASONS = {
    Refusal.RECIPIENT_INVALID: RECIPIENT,
    Refusal.PAYLOAD_REJECTED: PAYLOAD,
    Refusal.UNSUPPORTED: UNPROVEN,
    Refusal.REJECTED: UNPROVEN,
}
TARGETS = {"push": "token-1", "email": "ada@example.com", "sms": "+15550000001"}
#: providers whose table leaves some statuses to ``shared.providers.refusal``; SendGrid's own table names every one
LEFT_TO_HTTP = ("fcm", "twilio", "vonage")

#: (provider, entry, reason)
Entry = tuple[str, str, str]


def permanent_of(provider: str, table: str, verdicts: Iterable[tuple[object, Refusal]]) -> Iterator[Entry]:
    for code, verdict in verdicts:
        if verdict in REASONS:
            yield provider, f"{table} {code}", REASONS[verdict]


def permanent_in_the_tables() -> Iterator[Entry]:
    yield from permanent_of("fcm", "BY_ERROR_CODE", fcm.BY_ERROR_CODE.items())
    yield from permanent_of("fcm", "BY_STATUS", fcm.BY_STATUS.items())
    yield from permanent_of("smtp", "BY_ENHANCED", smtp_refusals.BY_ENHANCED.items())
    for stage, codes in smtp_refusals.BY_CODE.items():
        yield from permanent_of("smtp", f"BY_CODE {stage}", codes.items())
    yield from permanent_of("sendgrid", "BY_STATUS", sendgrid.BY_STATUS.items())
    yield from permanent_of("twilio", "BY_CODE", ((code, verdict) for code, (verdict, _) in twilio.BY_CODE.items()))
    yield from permanent_of("vonage", "BY_STATUS", ((code, verdict) for code, (verdict, _) in vonage.BY_STATUS.items()))
    for provider in LEFT_TO_HTTP:
        yield from permanent_of(provider, "HTTP", refusal._BY_HTTP_STATUS.items())


def test_the_rows_are_the_permanent_entries_of_the_tables() -> None:
    rows = [(row.provider, row.entry, row.reason) for row in PERMANENT if not row.entry.startswith("rule ")]
    assert sorted(rows) == sorted(permanent_in_the_tables())


def test_each_rule_about_the_named_field_has_its_rows() -> None:
    rows = {(row.provider, row.entry, row.reason) for row in PERMANENT if row.entry.startswith("rule ")}
    assert rows == {
        ("fcm", "rule INVALID_ARGUMENT", RECIPIENT),
        ("fcm", "rule INVALID_ARGUMENT", PAYLOAD),
        ("fcm", "rule 400", RECIPIENT),
        ("fcm", "rule 400", PAYLOAD),
        ("sendgrid", "rule 400", RECIPIENT),
        ("sendgrid", "rule 400", PAYLOAD),
        ("sendgrid", "rule 400", UNPROVEN),
        ("vonage", "rule 3", RECIPIENT),
        ("vonage", "rule 3", PAYLOAD),
    }


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with start() as running:
        yield running


@pytest.mark.parametrize("row", PERMANENT, ids=lambda row: f"{row.provider} {row.entry} {row.reason}")
async def test_the_sandbox_refuses_so_and_the_provider_takes_it_so(sandbox: Sandbox, row: Permanent) -> None:
    await order(sandbox, row.provider, **row.fault)
    async with provider_at(sandbox, row.provider) as made:
        with pytest.raises(Refused) as refused:
            await send(made, message(TARGETS[row.channel]))
    assert REASONS[refused.value.refusal] == row.reason
    # The refusal must be of this code and not of another one that is permanent too.
    for word in row.entry.split()[1:]:
        assert re.search(rf"\b{re.escape(word)}\b", str(refused.value))
    assert sandbox.ledger.totals([row.provider]) == {row.provider: {"calls": 1, "accepted": 0}}
    sent = sandbox.attempts.sent[row.provider]
    heard_of: dict[str, tuple[dict[str, int], dict[str, int], int]] = {
        "mail": ({}, {}, 1),
        "rcpt": ({}, {TARGETS[row.channel]: 1}, 0),
    }
    expected = heard_of.get(str(row.fault.get("stage")), ({REQUEST_ID: 1}, {}, 0))
    assert (sent.by_request_id, sent.by_target, sent.unnamed) == expected
