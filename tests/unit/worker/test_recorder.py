"""Giving a claim back, with and without an answer."""

from __future__ import annotations

from shared.worker.recorder import Recorder
from tests.support.worker_fakes import Bench


async def test_after_a_release_that_was_not_answered_the_message_is_claimed_under_another_token() -> None:
    bench = Bench()
    job = bench.job()
    before = job.incoming.token
    bench.claims.away = True
    await Recorder(bench.claims, bench.metrics, patience_s=0.0).release(job)
    assert job.incoming.token != before


async def test_after_a_release_that_was_answered_the_token_stays() -> None:
    bench = Bench()
    job = bench.job()
    before = job.incoming.token
    await Recorder(bench.claims, bench.metrics, patience_s=0.0).release(job)
    assert job.incoming.token == before
