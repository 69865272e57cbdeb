"""Tests that the settings refuse those parameters of RABBITMQ_URL that pika would refuse later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pika import URLParameters

from shared.settings.addresses import check_amqp

PARAMETERS = """
heartbeat=30 heartbeat=0 heartbeat=-1 heartbeat=x locale=de other=1 cacertfile=/x verify=verify_none
frame_max=4096 frame_max=4095 frame_max=131072 frame_max=131073
channel_max=65535 channel_max=65536 channel_max=-1
retry_delay=0 socket_timeout=0 socket_timeout=1.5 stack_timeout=0 blocked_connection_timeout=-1
connection_attempts=0 connection_attempts=2 heartbeat=1&heartbeat=1 heartbeat=1&locale=de
tcp_options={'TCP_KEEPIDLE':60} client_properties={'a':1}
ssl_options={} ssl_options=5 ssl_options={'cafile':'/missing'} ssl_options={'capath':'/','certfile':'/missing'}
ssl_options=__import__('os')
"""


def refuses(read: Callable[[str], Any], parameters: str) -> bool:
    try:
        read(f"amqp://h/?{parameters}")
    except Exception:  # noqa: BLE001 - pika raises many types
        return True
    return False


@pytest.mark.parametrize("parameters", PARAMETERS.split())
def test_the_settings_and_pika_agree(parameters: str) -> None:
    assert refuses(check_amqp, parameters) == refuses(URLParameters, parameters)
