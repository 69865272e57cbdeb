import pytest

from tests.support.fakes.breaker import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def due(bench: Bench) -> Bench:
    """Returns the bench with a breaker that opened 30 s ago, so that it admits a probe."""
    bench.open()
    bench.clock.now += 30
    return bench
