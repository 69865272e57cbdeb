"""Checks the release of a claim, with and without an answer from Redis."""

from __future__ import annotations

from tests.support.fakes.worker import Bench


async def test_after_a_release_that_was_not_answered_the_message_is_claimed_under_another_token() -> None:
    bench = Bench()
    job = bench.job()
    before = job.received.incoming.token
    bench.claims.away = True
    await job.claim.release()
    assert job.received.incoming.token != before


async def test_after_a_release_that_was_answered_the_token_stays() -> None:
    bench = Bench()
    job = bench.job()
    before = job.received.incoming.token
    await job.claim.release()
    assert job.received.incoming.token == before
