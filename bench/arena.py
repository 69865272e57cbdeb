"""Sets up the place of a measurement, one for all contestants: private servers, a provider, a directory for logs."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import servers
from bench.ports import Ports
from bench.provider import nginx
from bench.servers import Servers


@dataclass(frozen=True)
class Arena:
    directory: Path
    ports: Ports
    servers: Servers
    provider: nginx.Provider

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


@contextmanager
def opened(ports: Ports) -> Iterator[Arena]:
    """Starts everything, empty; ends and removes it afterwards. Raises BenchFailed if a port is taken."""
    ports.check_free()
    with tempfile.TemporaryDirectory(prefix="notify-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        with (
            servers.running(directory, ports) as private,
            nginx.running(directory, ports.provider) as provider,
        ):
            yield Arena(directory, ports, private, provider)
