"""Runs one worker as the product runs it, with points of death and a journal of its counters.

``python -m tests.faults.harness.worker_process CHANNEL POINT NTH JOURNAL [CLOCK_MS]``

The product knows nothing of it: the points of death and the journal are wrappers put around its parts here, and then
its own entry point runs. POINT is one of POINTS; at its NTH passing the process gets SIGKILL (0: never). ``poison``
kills at every send of a request_id that begins with "poison". Every count of every counter is appended to JOURNAL,
because a killed process' counters are lost. Its clock begins at CLOCK_MS (milliseconds since the epoch), if that is
given.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter

from shared.broker.incoming import Incoming
from shared.broker.publisher import Publication, Publisher
from shared.idempotency.claims import Claims
from shared.providers.provider import Message
from tests.support.run.moved_clock import ignore_redis_time, time_ns_from

POINTS = ("after_claim", "before_send", "after_send", "after_done", "before_ack")
#: points for a message that is forwarded to the ladder or to failed.queue: not yet published, confirmed, recorded
FORWARD_POINTS = ("before_forward", "after_forward", "after_record")
#: the point for a notification that is committed to an inbox, and of which nobody was told
AFTER_COMMIT = "after_commit"
#: turns of the event loop after which everything that was written has left the process
TURNS = 5
#: where calls to a vendor are made, by channel: (module, class)
PROVIDERS = {
    "push": [("services.push.fcm", "Fcm")],
    "email": [("services.email.smtp", "Smtp"), ("services.email.sendgrid", "SendGrid")],
    "sms": [("services.sms.twilio", "Twilio"), ("services.sms.vonage", "Vonage")],
    "websocket": [("services.websocket.inbox", "Inbox")],
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Kills the process at the ``nth`` call, or never if ``nth`` is 0."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            die()


def wrap(owner: Any, name: str, before: Callable[..., None] | None, after: Callable[..., None] | None) -> None:
    original = getattr(owner, name)

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args)
        answer = await original(*args, **kwargs)
        if after is not None:
            after(answer)
        return answer

    setattr(owner, name, wrapped)


def install(channel: str, point: str, tick: Countdown) -> None:
    """Puts the point of death into the product's code. ``none`` changes nothing."""
    providers = [getattr(importlib.import_module(module), name) for module, name in PROVIDERS[channel]]
    if point == "after_claim":
        wrap(Claims, "claim", None, lambda answer: tick() if answer.verdict == "yes" else None)
    elif point == "before_send":
        for provider in providers:
            wrap(provider, "send", lambda *_: tick(), None)
    elif point == "after_send":
        for provider in providers:
            wrap(provider, "send", None, lambda _answer: tick())
    elif point == "after_done":
        wrap(Claims, "done", None, lambda _answer: tick())
    elif point == "before_forward":
        _before_forward(tick)
    elif point == "after_forward":
        wrap(Publisher, "publish", None, lambda _answer: tick())
    elif point == "after_record":
        wrap(Claims, "forwarded", None, lambda _answer: tick())
    elif point == "before_ack":
        _before_ack(tick)
    elif point == AFTER_COMMIT:
        _after_commit(tick)
    elif point == "poison":
        for provider in providers:
            _poison(provider)


def _before_ack(tick: Countdown) -> None:
    original = Incoming.ack

    def ack(incoming: Incoming) -> None:
        tick()
        original(incoming)

    Incoming.ack = ack  # type: ignore[method-assign, assignment]


def _before_forward(tick: Countdown) -> None:
    original = Publisher.publish

    async def publish(publisher: Publisher, publication: Publication, deadline_s: float | None = None) -> None:
        # An ack that was sent too early has left the process by then.
        for _ in range(TURNS):
            await asyncio.sleep(0)
        tick()
        await original(publisher, publication, deadline_s)

    Publisher.publish = publish  # type: ignore[method-assign, assignment]


def _after_commit(tick: Countdown) -> None:
    # Only this channel needs the store.
    from shared.store.store import Store

    original = Store.insert

    def insert(store: Any, batch: Any) -> Any:
        inserted = original(store, batch)
        tick()
        return inserted

    Store.insert = insert  # type: ignore[method-assign, assignment]


def _poison(provider: Any) -> None:
    original = provider.prepare

    def prepare(this: Any, message: Message) -> Any:
        if message.request_id.startswith("poison"):
            die()
        return original(this, message)

    provider.prepare = prepare


def journal_counters(path: str) -> None:
    """Writes every count at once to a file that outlives the process: one ``name label label ...`` per line."""
    journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    original = Counter.inc

    def inc(counter: Any, amount: float = 1, exemplar: Any = None) -> None:
        line = " ".join((counter._name.removeprefix("notify_"), *counter._labelvalues)) + "\n"
        os.write(journal, line.encode() * int(amount))
        original(counter, amount, exemplar)

    Counter.inc = inc  # type: ignore[method-assign, assignment]


def die_with_parent() -> None:
    """Lets this process die with its parent, so that a killed run leaves nothing behind (prctl(2), PR_SET_PDEATHSIG;
    Linux only).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent()
    channel, point, nth, journal_path = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    if len(sys.argv) > 5:
        time.time_ns = time_ns_from(int(sys.argv[5]))
        ignore_redis_time()
    journal_counters(journal_path)
    install(channel, point, Countdown(nth))
    runpy.run_module(f"services.{channel}", run_name="__main__")
