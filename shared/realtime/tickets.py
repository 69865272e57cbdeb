"""Makes and takes tickets: random texts that stand for a token for 30 seconds, and are good for one connection.

A ticket may stand in a URL, where a token must not: it is worthless once it is in a log. Its claims are kept in Redis
under ``notify-ticket:<ticket>``; GETDEL gives them to the first node that asks.
"""

from __future__ import annotations

import re
import secrets

import orjson
import redis

from shared import clock
from shared.realtime.tokens import BadToken, Claims
from shared.redis.batch import Batcher
from shared.redis.client import store_errors

LIFE_S = 30
_BYTES = 32
#: 32 random bytes in the base64 of URLs.
_TICKET = re.compile(r"[A-Za-z0-9_-]{43}")
_KEY = "notify-ticket:"


def make_ticket(client: redis.Redis, claims: Claims) -> tuple[str, int]:
    """Returns a ticket that grants ``claims``, and when it ends, milliseconds. Raises RedisUnavailable.

    A connection that it opens ends as one with a token does, at ``claims.expires_ms``.
    """
    ticket = secrets.token_urlsafe(_BYTES)
    record = orjson.dumps(
        {"user_id": claims.user_id, "channels": list(claims.channels), "expires_ms": claims.expires_ms}
    )
    expires_ms = clock.now_ms() + LIFE_S * 1000
    with store_errors():
        client.set(_KEY + ticket, record, ex=LIFE_S)
    return ticket, expires_ms


async def take_ticket(batcher: Batcher, ticket: str) -> Claims:
    """Returns what the ticket grants, once. Raises BadToken if it is unknown, over or used; and RedisUnavailable."""
    record = await batcher.command("GETDEL", _KEY + ticket) if _TICKET.fullmatch(ticket) else None
    if record is None:
        raise BadToken("the ticket is unknown, used or older than 30 seconds")
    found = orjson.loads(record)
    return Claims(found["user_id"], tuple(found["channels"]), found["expires_ms"])
