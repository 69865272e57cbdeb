"""Tests the lane depths: a slow, missing or old answer makes a depth unknown, never 0."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.broker.channel import ChannelGone
from shared.broker.connection import Connection
from shared.broker.queue_depth import Sampler
from shared.message.channels import lanes_of
from tests.support.waiting import eventually_async

LANES = lanes_of("push")


class FakeConnection:
    """Stands in for a connection and for its channel.

    A declare returns ``count`` once ``answers`` is set; ``gone`` closes the channel.
    """

    def __init__(self) -> None:
        self.count = 7
        self.answers = asyncio.Event()
        self.answers.set()
        self.gone = False
        self.asked = 0
        self.raw = SimpleNamespace(queue_declare=None)

    async def wait_up(self) -> None:
        return

    async def channel(self) -> "FakeConnection":
        return self

    async def call(self, _method: Callable[..., Any], *, queue: str, passive: bool) -> Any:
        assert passive
        self.asked += 1
        if self.gone:
            raise ChannelGone(404, f"no queue {queue}")
        count = self.count
        await self.answers.wait()
        return SimpleNamespace(method=SimpleNamespace(message_count=count))

    async def close(self) -> None:
        return


@pytest.fixture
def connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
async def sampler(connection: FakeConnection) -> AsyncIterator[Sampler]:
    sampler = Sampler(["push"], every_s=0.01)
    task = asyncio.create_task(sampler.run(cast(Connection, connection)))
    await eventually_async(lambda: all(sampler.ready(lane) == 7 for lane in LANES))
    yield sampler
    task.cancel()
    await asyncio.wait([task])


async def test_a_lane_that_was_never_sampled_is_unknown() -> None:
    assert Sampler(["push"]).ready(LANES[0]) is None


async def test_a_depth_follows_the_broker(sampler: Sampler, connection: FakeConnection) -> None:
    connection.count = 9
    await eventually_async(lambda: sampler.ready(LANES[0]) == 9)


async def test_an_answer_that_takes_too_long_is_ignored(sampler: Sampler, connection: FakeConnection) -> None:
    connection.count = 0
    connection.answers.clear()
    await eventually_async(lambda: sampler.ready(LANES[0]) is None)
    seen: set[int | None] = set()

    def believed_again() -> bool:
        depths = {sampler.ready(lane) for lane in LANES}
        seen.update(depths)
        return depths == {5}

    connection.count = 5
    connection.answers.set()
    await eventually_async(believed_again, poll_s=0)
    assert 0 not in seen


async def test_a_lost_channel_makes_all_unknown_and_sampling_goes_on(
    sampler: Sampler, connection: FakeConnection
) -> None:
    connection.gone = True
    await eventually_async(lambda: sampler.ready(LANES[0]) is None)
    connection.gone = False
    await eventually_async(lambda: sampler.ready(LANES[0]) == 7)
