"""Chooses each process's port in a measurement: a block of consecutive ports from a base that the user can set."""

from dataclasses import dataclass

from bench.errors import BenchFailed
from ops.servers.ports import is_free

_BLOCK = 100


@dataclass(frozen=True)
class Ports:
    """Describes a block of 100 ports below 32768: a broker refuses a port from the ephemeral range."""

    base: int

    @property
    def amqp(self) -> int:
        return self.base

    @property
    def erlang(self) -> int:
        return self.base + 1

    @property
    def epmd(self) -> int:
        return self.base + 2

    @property
    def redis(self) -> int:
        return self.base + 3

    @property
    def provider(self) -> int:
        return self.base + 4

    @property
    def slow_provider(self) -> int:
        return self.base + 5

    @property
    def smtp(self) -> int:
        return self.base + 6

    @property
    def management(self) -> int:
        return self.base + 7

    @property
    def postgresql(self) -> int:
        return self.base + 8

    @property
    def gateway(self) -> int:
        return self.base + 10

    def worker(self, channel_index: int) -> int:
        """Returns the first health port of a channel's worker; replica i listens on it + 10 i."""
        return self.base + 40 + channel_index

    @property
    def sockets(self) -> int:
        """Returns the port for the devices of the first websocket worker; replica i listens on it + 10 i."""
        return self.base + 70

    def check_free(self) -> None:
        """Raises BenchFailed naming the first port of the block that is taken."""
        if self.base + _BLOCK > 32768:
            raise BenchFailed(f"--base-port {self.base}: the block must end below 32768")
        for port in range(self.base, self.base + _BLOCK):
            if not is_free(port):
                raise BenchFailed(f"port {port} is taken: choose another block with --base-port")
