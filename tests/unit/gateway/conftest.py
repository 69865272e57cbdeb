from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fakes.gateway_client import Gateway, gateway


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as made:
        yield made
