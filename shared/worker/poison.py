"""When a message is suspected of killing the processes that handle it.

RabbitMQ counts how often it gave a message out and got it back unacked. A crash counts against everything that the
process had in hand, so a suspect is only that: from SUSPECT_AT on it is handled with nothing else in hand, and from
GIVE_UP_AT on it is dead-lettered. The broker's own limit (``topology.DELIVERY_LIMIT``) is the backstop.
"""

from __future__ import annotations

from shared.broker.incoming import Incoming

SUSPECT_AT = 3
GIVE_UP_AT = 8


def redeliveries(incoming: Incoming) -> int:
    """Times it was given out and never settled.

    The broker's count begins anew when a message passes the ladder, as a copy does that meets the lease of the process
    that it has just killed; what was known by then travels in a header.
    """
    travelled = incoming.headers.get("notify-redeliveries", 0)
    return incoming.delivery_count + (travelled if isinstance(travelled, int) and travelled > 0 else 0)


def is_suspect(incoming: Incoming) -> bool:
    return redeliveries(incoming) >= SUSPECT_AT


def is_poison(incoming: Incoming) -> bool:
    return redeliveries(incoming) >= GIVE_UP_AT
