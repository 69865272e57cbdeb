"""Draws the notifications of the load from a seed, each for a recipient of its own."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from shared.message.channels import CHANNELS, OWN_ADDRESS, PRIORITIES, Lane, Priority
from tests.faults.ledger.ledgers import Key

#: a user of the sandbox's directory (``sandbox/vendors/directory.py``)
OPTED_OUT_OF_SMS = "user_id3"
#: share of messages whose recipient is looked up and whose content is a template
LOOKED_UP = 0.3


@dataclass(frozen=True, slots=True)
class Parcel:
    """Holds one notification, ready to be posted or published; ``document`` names one channel."""

    channel: str
    request_id: str
    priority: Priority
    document: dict[str, Any]

    @property
    def key(self) -> Key:
        return self.channel, self.request_id

    @property
    def lane(self) -> Lane:
        return Lane(self.channel, self.priority)

    @property
    def body(self) -> bytes:
        """Returns the body with sorted keys, as the gateway stores it: the same bytes over HTTP and directly."""
        return orjson.dumps(self.document, option=orjson.OPT_SORT_KEYS)


class Writer:
    """Draws notifications. The same seed gives the same ones."""

    def __init__(self, draw: random.Random, channels: Sequence[str]) -> None:
        self._draw = draw
        self._channels = tuple(channels)
        self._written = 0

    def write(self, count: int, **fields: Any) -> list[Parcel]:
        """Returns ``count`` notifications over all channels, lanes and kinds; ``fields`` override the drawn values."""
        return [self.one(**fields) for _ in range(count)]

    def write_unwanted(self, count: int) -> list[Parcel]:
        """Returns ``count`` SMS to a user who has opted out of them: they are skipped and never sent."""
        unwanted = _looked_up(self._draw) | {"user_id": OPTED_OUT_OF_SMS, "recipient": None, "content": None}
        return [self.one(channel="sms", **unwanted) for _ in range(count)]

    def one(self, request_id: str = "", channel: str = "", **fields: Any) -> Parcel:
        self._written += 1
        channel = channel or self._draw.choice(self._channels)
        request_id = request_id or f"{channel}-{self._written}-{self._draw.getrandbits(32):08x}"
        document: dict[str, Any] = {"request_id": request_id, "notification_type": channel}
        document["priority"] = self._draw.choice(PRIORITIES)
        if self._draw.random() < LOOKED_UP:
            document |= _looked_up(self._draw)
        else:
            document |= given(channel, request_id)
        document |= fields
        document = {name: value for name, value in document.items() if value is not None}
        return Parcel(channel, request_id, cast("Priority", document["priority"]), document)


def given(channel: str, request_id: str) -> dict[str, Any]:
    """Returns recipient and content as a sender gives them in full; each request_id has a target of its own.

    The target of a channel without addresses is the user.
    """
    number = abs(hash_of(request_id))
    content = {"title": f"Hello {request_id}", "body": f"About {request_id}"}
    if CHANNELS[channel].address == OWN_ADDRESS:
        return {"user_id": f"user-{1000 + number % 1000}", "content": content}
    address = {
        "push_tokens": [f"token-{request_id}"],
        "email": f"{request_id}@example.org",
        "phone": f"+1555{number % 10**9:09d}",
    }
    field = CHANNELS[channel].address
    return {"recipient": {field: address[field]}, "content": content | {"title": "Hello"}}


def hash_of(text: str) -> int:
    """Returns a hash that is the same in every process, unlike ``hash``."""
    return int.from_bytes(text.encode()[-6:], "big")


def keys(parcels: Iterable[Parcel]) -> set[Key]:
    return {parcel.key for parcel in parcels}


def _looked_up(draw: random.Random) -> dict[str, Any]:
    number = draw.randrange(1000, 2000)
    variables = {"name": "Ada", "link": "https://example.com"}
    return {"user_id": f"user-{number}", "template_code": "PRODUCT_UPDATE", "variables": variables}
