"""Reads the ledgers that the product keeps itself (failed.queue, skips, journals), and waits for empty queues."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson
import pika
import redis
import requests

from ops.servers.management import QueueCounts
from shared.broker.topology import FAILED_QUEUE
from tests.faults.ledger.ledgers import Entry, Key, key_of

#: two ticks of the broker's counters, seconds: the greatest age of their values
TICKS_S = 1.2
POLL_S = 0.1


class Counts(Protocol):
    """Describes a broker whose queues can be counted."""

    def list_queues(self, vhost: str = "/") -> Mapping[str, QueueCounts]: ...


def held(broker: Counts, vhost: str) -> Counter[str]:
    """Returns Q: the number of messages by queue, including held dead letters, without failed.queue."""
    queues = broker.list_queues(vhost)
    return Counter({name: q.messages for name, q in queues.items() if q.messages and name != FAILED_QUEUE})


async def drained(broker: Counts, vhost: str, deadline_s: float) -> tuple[float | None, Counter[str]]:
    """Waits until every queue was found empty and stayed empty.

    Returns when that was (Unix seconds) and an empty count; after ``deadline_s`` None and the messages that are held
    then.
    """
    give_up_at = time.monotonic() + deadline_s
    empty_at: float | None = None
    left: Counter[str] = Counter({"(the broker does not answer)": 1})
    while True:
        try:
            left = await asyncio.to_thread(held, broker, vhost)
        except requests.RequestException:
            empty_at = None
        else:
            empty_at = None if left else (empty_at or time.time())
        if empty_at is not None and time.time() - empty_at > TICKS_S:
            return empty_at, Counter()
        if empty_at is None and time.monotonic() > give_up_at:
            return None, left
        await asyncio.sleep(POLL_S)


def failed_entries(amqp_url: str) -> list[Entry]:
    """Returns X: everything in failed.queue, which is empty afterwards."""
    found: list[Entry] = []
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        while True:
            _method, properties, body = channel.basic_get(FAILED_QUEUE, auto_ack=True)
            if properties is None or body is None:
                return found
            found.append(_entry(properties.headers or {}, body))


def _entry(headers: Mapping[str, Any], body: bytes) -> Entry:
    deaths = headers.get("x-death") or [{}]
    reason = headers.get("notify-failed-reason") or str(deaths[0].get("reason", "unknown"))
    return Entry(key_of(body), reason, int(headers.get("notify-failed-attempts", 0)))


def skipped_in_redis(redis_url: str) -> set[Key]:
    """Returns S as Redis remembers it: the records that say ``skipped``."""
    found: set[Key] = set()
    with redis.Redis.from_url(redis_url) as client:
        names = list(client.scan_iter("notify:*:*", count=1000))
        for first in range(0, len(names), 1000):
            some = names[first : first + 1000]
            values: list[Any] = client.mget(some)
            found.update(_record_key(name) for name, value in zip(some, values, strict=True) if _is_skip(value))
    return found


def _is_skip(value: bytes | None) -> bool:
    return value is not None and value.startswith(b"D:") and value.endswith(b":skipped")


def _record_key(name: bytes) -> Key:
    _, channel, request_id = name.decode().split(":", 2)
    return channel, request_id


def skipped_in_logs(logs: Iterable[Path]) -> set[Key]:
    """Returns S from the workers' logs: one line per outcome."""
    found: set[Key] = set()
    for log in logs:
        for line in log.read_bytes().splitlines():
            if b'"event":"skipped"' in line:
                said = orjson.loads(line)
                found.add((said["channel"], said["request_id"]))
    return found


def counted(journal: Path) -> Counter[str]:
    """Sums every count of every worker, dead and alive, by the counter's name without its labels.

    A send that was refused counts as ``ambiguous_refused``: no stand-in provider delivers what it refuses, so such a
    count must explain no second send.
    """
    if not journal.exists():
        return Counter()
    lines = (line.split(" ") for line in journal.read_text().splitlines())
    return Counter(
        "ambiguous_refused" if (name, labels[-1:]) == ("ambiguous", ["refused"]) else name for name, *labels in lines
    )
