"""Tests how often a message was delivered before: the broker's own count is believed, a publisher's is not."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from pika import spec

from shared.broker.consumer import _LaneChannel
from shared.broker.topology import DELIVERY_LIMIT
from shared.message.channels import Lane


@pytest.mark.parametrize(
    ("redelivered", "header", "count"),
    [
        (False, 50, 0),
        (False, 3, 0),
        (True, 3, 3),
        (True, DELIVERY_LIMIT, DELIVERY_LIMIT),
        (True, 2**40, DELIVERY_LIMIT),
        (True, -1, 0),
        (True, "50", 0),
        (True, None, 0),
    ],
)
def test_only_the_count_of_a_redelivery_is_the_brokers(redelivered: bool, header: Any, count: int) -> None:
    method = spec.Basic.Deliver("tag", 1, redelivered, "notifications.direct", "push")
    properties = spec.BasicProperties(headers={"x-delivery-count": header})
    incoming = _LaneChannel(Lane("push", "medium"), Mock()).incoming(method, properties, b"{}")
    assert incoming.delivery_count == count
