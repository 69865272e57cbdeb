"""Checks the keeper of a connection: only a TopologyMismatch ends it, and ``watch`` raises the error that ended it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.broker.connection import Connection
from shared.errors import TopologyMismatch
from shared.metrics import Metrics
from tests.support.waiting import eventually_async

UNFORESEEN = KeyError("unforeseen")


class Wire:
    """Stands in for pika's connection: opens at once, and ends when it is aborted."""

    made = 0

    def __init__(self, _parameters: Any, on_open_callback: Any, on_open_error_callback: Any, on_close_callback: Any):
        type(self).made += 1
        self._on_close = on_close_callback
        self.is_open, self.is_closing, self.is_closed = True, False, False
        self.heard_bytes = 0
        asyncio.get_running_loop().call_soon(on_open_callback, self)

    def add_on_connection_blocked_callback(self, callback: Any) -> None:
        """Does nothing: this connection is never blocked."""

    add_on_connection_unblocked_callback = add_on_connection_blocked_callback

    def abort(self, why: str) -> None:
        self.is_open, self.is_closed = False, True
        self._on_close(self, why)

    def close(self) -> None:
        self.abort("closed")


class Raising:
    """Acts as an awaitable callback that raises each of its errors once, and then succeeds."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> None:
        self.calls += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


@pytest.fixture(autouse=True)
def wire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.broker.connection.WireConnection", Wire)
    monkeypatch.setattr("shared.broker.connection.backoff_s", lambda tries, draw: 0.0)


@asynccontextmanager
async def kept(
    metrics: Metrics | None = None,
    *,
    declare: Callable[[], Awaitable[None]] | None = None,
    on_ready: Callable[[], Awaitable[None]] | None = None,
    on_lost: Callable[[], None] | None = None,
) -> AsyncIterator[Connection]:
    connection = Connection(
        "amqp://guest:guest@127.0.0.1:1/",
        "test",
        use="consume",
        metrics=metrics,
        declare=declare,
        on_ready=on_ready,
        on_lost=on_lost,
    )
    connection.start()
    yield connection
    await connection.close()


def count(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(name, {"use": "consume"}) or 0.0


async def up(connection: Connection) -> None:
    await asyncio.wait_for(connection.wait_up(), 5)


async def comes_back(connection: Connection) -> None:
    before = Wire.made
    connection.drop()
    await eventually_async(lambda: Wire.made > before and connection.state == "up")


@pytest.mark.parametrize("step", ["declare", "on_ready"])
async def test_an_unforeseen_error_of_a_step_of_the_start_is_counted_and_tried_again(step: str) -> None:
    metrics = Metrics()
    stumbles_once: Any = Raising(UNFORESEEN)
    async with kept(metrics, **{step: stumbles_once}) as connection:
        await up(connection)
        assert stumbles_once.calls == 2
        assert count(metrics, "notify_broker_errors_total") == 1


async def test_an_unforeseen_error_of_connecting_is_counted_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    broken = [True]

    def wire(*arguments: Any, **named: Any) -> Wire:
        if broken:
            broken.clear()
            raise UNFORESEEN
        return Wire(*arguments, **named)

    monkeypatch.setattr("shared.broker.connection.WireConnection", wire)
    async with kept(metrics) as connection:
        await up(connection)
        assert count(metrics, "notify_broker_errors_total") == 1


async def test_an_unforeseen_error_of_a_later_declaration_leaves_the_connection_up() -> None:
    metrics = Metrics()
    declare = Raising(None, UNFORESEEN)
    async with kept(metrics, declare=declare) as connection:
        await up(connection)
        await comes_back(connection)
        await eventually_async(lambda: count(metrics, "notify_broker_errors_total") == 1)
        assert connection.state == "up"
        assert declare.calls == 2


async def test_each_loss_is_counted_and_an_error_of_its_listener_does_not_keep_the_connection_down() -> None:
    metrics = Metrics()

    def stumble() -> None:
        raise UNFORESEEN

    async with kept(metrics, on_lost=stumble) as connection:
        await up(connection)
        assert count(metrics, "notify_broker_lost_total") == 0
        await comes_back(connection)
        await comes_back(connection)
        assert count(metrics, "notify_broker_lost_total") == count(metrics, "notify_broker_errors_total") == 2


async def test_a_mismatch_ends_the_watch_and_the_connection() -> None:
    async with kept(declare=Raising(TopologyMismatch("another limit"))) as connection:
        with pytest.raises(TopologyMismatch, match="another limit"):
            await asyncio.wait_for(connection.watch(), 5)
        assert connection.state == "down"


async def test_a_mismatch_that_is_found_later_ends_the_watch_and_the_connection() -> None:
    lost: list[None] = []
    async with kept(on_lost=lambda: lost.append(None)) as connection:
        await up(connection)
        connection.end(TopologyMismatch("another limit"))
        with pytest.raises(TopologyMismatch, match="another limit"):
            await asyncio.wait_for(connection.watch(), 5)
        assert (connection.state, len(lost)) == ("down", 1)


async def test_an_error_of_the_keeper_itself_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(_tries: int, _draw: float) -> float:
        raise UNFORESEEN

    monkeypatch.setattr("shared.broker.connection.backoff_s", stumble)
    async with kept(on_ready=Raising(ConnectionError("refused"))) as connection:
        with pytest.raises(KeyError, match="unforeseen"):
            await asyncio.wait_for(connection.watch(), 5)


@pytest.mark.parametrize(
    ("url", "tried"),
    [
        ("amqp://u:p@one,two,three:5/", ["one:5672", "two:5672", "three:5", "one:5672", "two:5672"]),
        ("amqp://one/,amqp://two/v", ["one:5672", "two:5672", "one:5672", "two:5672", "one:5672"]),
        ("amqp://one/", ["one:5672"] * 5),
    ],
)
async def test_several_hosts_are_tried_in_turn_and_the_wait_grows_with_each_round(
    url: str, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    waits: list[int] = []

    def no_wait(rounds: int, _draw: float) -> float:
        waits.append(rounds)
        return 0.0

    class Refusing(Wire):
        def __init__(self, parameters: Any, on_open_callback: Any, on_open_error_callback: Any, on_close_callback: Any):
            seen.append(f"{parameters.host}:{parameters.port}")
            super().__init__(parameters, lambda _: None, on_open_error_callback, on_close_callback)
            asyncio.get_running_loop().call_soon(on_open_error_callback, self, "refused")

    monkeypatch.setattr("shared.broker.connection.WireConnection", Refusing)
    monkeypatch.setattr("shared.broker.connection.backoff_s", no_wait)
    connection = Connection(url, "test")
    connection.start()
    await eventually_async(lambda: len(seen) >= 5)
    await connection.close()
    assert seen[:5] == tried
    hosts = len(set(tried))
    assert waits[:4] == [number // hosts for number in range(4)]


async def test_after_a_loss_the_next_host_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Noting(Wire):
        def __init__(self, parameters: Any, *callbacks: Any, **named: Any):
            seen.append(parameters.host)
            super().__init__(parameters, *callbacks, **named)

    monkeypatch.setattr("shared.broker.connection.WireConnection", Noting)
    connection = Connection("amqp://one,two/", "test")
    connection.start()
    await connection.wait_up()
    connection.drop()
    await eventually_async(lambda: connection.state == "up" and len(seen) == 2)
    await connection.close()
    assert seen == ["one", "two"]
