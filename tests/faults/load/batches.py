"""Posts batches over HTTP that mix good and bad notifications, and reads the result of each item."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tests.faults.harness.system import System
from tests.faults.ledger.ledgers import Answer, Key
from tests.faults.load.envelopes import Parcel, Writer

#: ways to spoil a notification; each gives a 422 of its own
SPOILT: tuple[Callable[[dict[str, Any]], Any], ...] = (
    lambda document: document | {"colour": "red"},
    lambda document: document | {"priority": 11},
    lambda document: document | {"request_id": "no spaces"},
    lambda document: document | {"notification_type": "pigeon"},
    lambda document: {name: value for name, value in document.items() if name != "request_id"},
    lambda document: [document],
)


@dataclass(frozen=True, slots=True)
class Item:
    """Describes one entry of a batch; ``keys`` are the messages that it becomes, none if it is bad."""

    document: Any
    keys: tuple[Key, ...]

    @property
    def status(self) -> int:
        return 202 if self.keys else 422


def mixed(writer: Writer, draw: random.Random, good: int, several: int, bad: int) -> list[Item]:
    """Returns ``good`` notifications for one channel, ``several`` for two channels and ``bad`` spoilt ones, in random
    order.
    """
    items = [_good(parcel) for parcel in writer.write(good)]
    items += [_for_two(writer.one(channel="push")) for _ in range(several)]
    items += [Item(draw.choice(SPOILT)(parcel.document), ()) for parcel in writer.write(bad)]
    draw.shuffle(items)
    return items


def _good(parcel: Parcel) -> Item:
    return Item(parcel.document, (parcel.key,))


def _for_two(parcel: Parcel) -> Item:
    request_id = parcel.request_id
    recipient = {"push_tokens": [f"token-{request_id}"], "email": f"{request_id}@example.org"}
    content = {"title": "Hello", "body": f"About {request_id}"}
    document = {"request_id": request_id, "channels": ["push", "email"], "recipient": recipient, "content": content}
    return Item(document, (("push", request_id), ("email", request_id)))


async def post_batch(system: System, items: Sequence[Item]) -> list[int]:
    """Posts the items as one request and returns the status of each. Accepted messages are recorded."""
    system.ledgers.attempted |= {key for item in items for key in item.keys}
    body = orjson.dumps([item.document for item in items])
    at, began = time.time(), time.perf_counter()
    url = f"http://127.0.0.1:{system.gateways[0].port}/notifications/batch"
    async with system.http.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
        document = await response.json()
        status = response.status
    system.ledgers.answers.append(Answer("POST /notifications/batch", status, time.perf_counter() - began, at))
    statuses = [int(result["status"]) for result in document["results"]]
    accepted = [item for item, told in zip(items, statuses, strict=True) if told == 202]
    system.ledgers.accepted |= {key for item in accepted for key in item.keys}
    return statuses
