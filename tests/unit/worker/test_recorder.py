"""Tests recording while Redis, or the code, fails: a delivered message is never sent again for that reason."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors import RedisUnavailable
from shared.worker.recorder import Recorder
from tests.support.fakes.worker import Bench


@pytest.mark.parametrize("error", [RedisUnavailable("away"), TypeError("a bug")], ids=repr)
async def test_a_record_that_fails_is_counted_and_raises_nothing(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()

    async def done(*_: Any) -> None:
        raise error

    monkeypatch.setattr(bench.claims, "done", done)
    with capture_logs():
        await Recorder(bench.claims, bench.metrics, patience_s=0.0).done(bench.job(), "fcm", "1")
    assert bench.metrics.registry.get_sample_value("notify_marker_lost_total") == 1
