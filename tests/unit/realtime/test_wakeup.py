"""Checks the form of a wake-up, and that publishing one never raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis

from shared.errors import RedisUnavailable
from shared.metrics import Metrics
from shared.realtime import frames, wakeup
from shared.realtime.wakeup import LARGEST, ThreadedWakeUps, Wakeup, WakeUps, channel_of, encode, owner_of, parse
from shared.redis.batch import Batcher
from shared.store.values import Owner
from tests.support.inbox_rows import change, row


def test_it_has_its_frames_in_the_order_of_their_offsets() -> None:
    told = change(row(7, 3), row(8, 4), prev=2, to=4)

    assert parse(encode(told)) == Wakeup("0badcafe", 2, 4, frames.of_change(told))


def test_its_form_is_the_documented_one() -> None:
    told = change(row(7, 3))

    assert encode(told) == b"0badcafe 2 3\n" + frames.of_change(told)[0] + b"\n"


def test_a_bare_one_is_its_head() -> None:
    assert encode(change(prev=3, to=3)) == b"0badcafe 3 3\n"
    assert parse(b"0badcafe 3 3\n") == Wakeup("0badcafe", 3, 3, [])


def test_an_erased_inbox_has_no_epoch() -> None:
    erased = change(prev=9, to=0, epoch="", unread=0)

    assert parse(encode(erased)) == Wakeup("", 9, 0, [])


def test_one_that_would_be_too_large_is_its_head() -> None:
    def of_size(body: int) -> bytes:
        return encode(change(row(7, 3, body="x" * body)))

    most = LARGEST - len(of_size(0))

    assert len(of_size(most)) == LARGEST
    assert of_size(most + 1) == b"0badcafe 2 3\n"


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"0badcafe 3\n", b"0badcafe 3 x\n", b"0badcafe 3 4 5\n", b"\xff\xfe 1 2\n"]
)
def test_what_is_no_wake_up_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse(body)


@pytest.mark.parametrize("owner", [Owner("u1"), Owner("a:b"), Owner("a b/ü"), Owner("u1", "acme")])
def test_the_channel_names_its_user(owner: Owner) -> None:
    assert owner_of(channel_of(owner)) == owner


def test_channels_begin_as_documented() -> None:
    assert channel_of(Owner("u1")) == "notify-inbox::u1"
    assert channel_of(Owner("u1", "acme")) == "notify-inbox:acme:u1"


class FakeBatcher(Batcher):
    """Answers each call of the script by ``answer``, at once."""

    def __init__(self, answer: Callable[[bytes], int]) -> None:
        super().__init__("redis://unused")
        self.answer = answer
        self.calls: list[tuple[bytes, bytes]] = []

    def script(self, source: str, *constants: bytes) -> Any:
        return self

    def call(self, key: bytes, body: bytes) -> asyncio.Future[int]:
        self.calls.append((key, body))
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self.answer(key))
        except RedisUnavailable as exc:
            future.set_exception(exc)
        return future


def failed(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("notify_wakeups_failed_total")


async def test_each_change_is_one_call() -> None:
    batcher = FakeBatcher(lambda _: 1)
    metrics = Metrics()
    told = [change(row(7, 3)), change(row(8, 3, user_id="u2"), owner=Owner("u2"))]

    await WakeUps(batcher, metrics).publish(told)

    assert batcher.calls == [(b"notify-inbox::u1", encode(told[0])), (b"notify-inbox::u2", encode(told[1]))]
    assert failed(metrics) == 0


async def test_a_redis_that_is_unavailable_is_counted_for_each_change_that_it_refused() -> None:
    def answer(key: bytes) -> int:
        if key.endswith(b"u2"):
            raise RedisUnavailable("down")
        return 1

    metrics = Metrics()
    await WakeUps(FakeBatcher(answer), metrics).publish([change(owner=Owner(user)) for user in ("u1", "u2", "u2")])

    assert failed(metrics) == 2


async def test_nothing_to_tell_is_no_call() -> None:
    batcher = FakeBatcher(lambda _: 1)

    await WakeUps(batcher, Metrics()).publish([])

    assert batcher.calls == []


class FakeClient(redis.Redis):
    """Records the calls of its script, and raises ``error`` from the call with that number on."""

    def __init__(self, fails_from: int = 1_000) -> None:
        self.fails_from = fails_from
        self.calls: list[tuple[list[str], list[bytes]]] = []

    def register_script(self, script: str | bytes | memoryview) -> Any:
        return self._call

    def _call(self, keys: list[str], args: list[bytes]) -> None:
        self.calls.append((keys, args))
        if len(self.calls) > self.fails_from:
            raise redis.exceptions.ConnectionError("down")

    def __del__(self) -> None:
        return


def test_a_thread_publishes_the_same() -> None:
    client, told = FakeClient(), change(row(7, 3))

    ThreadedWakeUps(client, Metrics().wakeups_failed).publish([told])

    assert client.calls == [(["notify-inbox::u1"], [encode(told)])]


def test_a_thread_publishes_many_in_several_calls() -> None:
    client = FakeClient()

    ThreadedWakeUps(client, Metrics().wakeups_failed).publish([change(owner=Owner(f"u{n}")) for n in range(300)])

    assert [len(keys) for keys, _ in client.calls] == [128, 128, 44]


def test_a_thread_counts_what_it_could_not_publish_and_asks_no_more() -> None:
    client, metrics = FakeClient(fails_from=1), Metrics()

    ThreadedWakeUps(client, metrics.wakeups_failed).publish([change(owner=Owner(f"u{n}")) for n in range(300)])

    assert len(client.calls) == 2
    assert failed(metrics) == 300 - 128


def test_the_log_says_once_that_it_fails_and_once_that_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Lines:
        def warning(self, event: str, **_: Any) -> None:
            lines.append(event)

        info = warning

    monkeypatch.setattr(wakeup, "log", Lines())
    client = FakeClient(fails_from=0)
    wake_ups = ThreadedWakeUps(client, Metrics().wakeups_failed)
    for _ in range(2):
        wake_ups.publish([change()])
    client.fails_from = 1_000
    for _ in range(2):
        wake_ups.publish([change()])

    assert lines == ["wakeups_not_published", "wakeups_published_again"]
