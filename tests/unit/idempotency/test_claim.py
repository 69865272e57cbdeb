"""Checks the release of a claim, with and without an answer from Redis."""

from __future__ import annotations

import pytest

from tests.support.fakes.worker import Bench


@pytest.mark.parametrize("answered", [True, False])
async def test_only_after_a_release_that_was_not_answered_the_message_is_claimed_under_another_token(
    answered: bool,
) -> None:
    bench = Bench()
    job = bench.job()
    before = job.received.incoming.token
    bench.claims.away = not answered
    await job.claim.release()
    assert (job.received.incoming.token == before) is answered
