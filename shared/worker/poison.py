"""Decides when a message is suspected of crashing the processes that handle it.

RabbitMQ counts how often it delivered a message and got it back unacked. A crash raises the count of every message that
was in flight in the process, so a high count is a suspicion and no proof. From SUSPECT_AT on, a message is handled
while nothing else is in flight; from GIVE_UP_AT on, it is dead-lettered. The broker's own limit
(``topology.DELIVERY_LIMIT``) is the last safeguard.
"""

from __future__ import annotations

from shared.broker.incoming import Incoming
from shared.message.headers import read_redeliveries

SUSPECT_AT = 3
GIVE_UP_AT = 8


def redeliveries(incoming: Incoming) -> int:
    """Returns how often the message was delivered and not settled.

    The broker's count starts at 0 again after the ladder. A copy passes the ladder when it meets the lease of the
    process that it has just crashed. So the count up to then travels in a header and is added here.
    """
    return incoming.delivery_count + read_redeliveries(incoming.headers)


def is_suspect(incoming: Incoming) -> bool:
    return redeliveries(incoming) >= SUSPECT_AT


def is_poison(incoming: Incoming) -> bool:
    return redeliveries(incoming) >= GIVE_UP_AT
