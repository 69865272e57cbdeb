"""Orders the files of tests for test processes that run side by side: the longest come first.

A process takes the next file when it has finished one. Long files at the end would leave the other processes without
work while the last one is running.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest

#: How long the longest files take in one of three processes on two cores, in seconds. Only their order counts: wrong
#: numbers cost time, and nothing else.
SECONDS: Mapping[str, int] = MappingProxyType(
    {
        "tests/faults/test_quick.py": 325,
        "tests/e2e/test_ops_up.py": 120,
        "tests/e2e/test_demo.py": 110,
        "tests/integration/gateway/test_attackers.py": 100,
        "tests/e2e/test_breaker_command.py": 90,
        "tests/integration/failed/test_command.py": 70,
        "tests/e2e/test_ops_bootstrap.py": 70,
        "tests/integration/worker/test_worker.py": 70,
        "tests/e2e/test_ops_servers.py": 60,
        "tests/integration/failed/test_queue.py": 40,
        "tests/integration/worker/test_stuck_forwards.py": 40,
        "tests/unit/gateway/http/test_json_array.py": 40,
        "tests/models/test_claims_model.py": 35,
        "tests/integration/gateway/test_outages.py": 35,
        "tests/integration/broker/test_silent_broker.py": 30,
        "tests/integration/broker/test_publisher.py": 28,
        "tests/unit/ground/test_unwritable_output.py": 28,
        "tests/unit/templates/test_render_hostile.py": 28,
        "tests/integration/failed/test_routes.py": 22,
        "tests/integration/worker/test_identity.py": 20,
        "tests/integration/services/test_whose_fault.py": 18,
        "tests/integration/worker/test_wire_reading.py": 17,
        "tests/e2e/test_supervision.py": 17,
    }
)


def longest_first(items: list[pytest.Item]) -> None:
    """Sorts the tests in place: files with known times first, the longest at the very beginning, then all others."""
    items.sort(key=lambda item: -SECONDS.get(file_of(item), 0))


def file_of(item: pytest.Item) -> str:
    """Returns the test's file as ``SECONDS`` names it."""
    return item.nodeid.partition("::")[0]
