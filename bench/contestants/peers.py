"""Runs the peers, each as a command of its own framework in the environment of the peers."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import environ

from bench import venv
from bench.arena import Arena
from bench.errors import BenchFailed
from bench.processes import ROOT, Child

_FILL_S = 300


@dataclass(frozen=True)
class Peer:
    name: str
    queue: str
    command: Sequence[str]
    settings: Mapping[str, str] = field(default_factory=dict)
    #: the name by which its queue is filled, if not its own
    filled_as: str = ""

    def fill(self, arena: Arena, count: int, run: str) -> None:
        argv = [str(venv.program("python")), "-m", "bench.peers.fill", self.filled_as or self.name, str(count), run]
        env = {**environ, **addresses(arena)}
        filled = subprocess.run(argv, cwd=ROOT, env=env, timeout=_FILL_S, capture_output=True, text=True, check=False)
        if filled.returncode != 0:
            raise BenchFailed(f"filling {self.queue}: {filled.stderr}")

    def start(self, arena: Arena) -> list[Child]:
        program, *arguments = self.command
        env = {**addresses(arena), **self.settings}
        return [Child(self.name, [venv.program(program), *arguments], arena.log(self.name), env)]


def addresses(arena: Arena) -> dict[str, str]:
    """Returns the variables by which ``bench.peers`` finds the servers."""
    return {
        "BENCH_AMQP_URL": arena.servers.amqp_url,
        "BENCH_REDIS_URL": arena.servers.redis_url,
        "BENCH_PROVIDER_URL": arena.provider.url,
    }


CELERY = Peer(
    name="celery",
    queue="bench.celery",
    command=[
        *["celery", "--app", "bench.peers.celery_worker", "worker", "--pool", "prefork", "--concurrency", "2"],
        *["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"],
    ],
)
DRAMATIQ = Peer(
    name="dramatiq",
    queue="bench_dramatiq",
    command=["dramatiq", "bench.peers.dramatiq_worker", "--processes", "2", "--threads", "8"],
    settings={"dramatiq_queue_prefetch": "128"},
)
FASTSTREAM = Peer(
    name="faststream",
    queue="bench.faststream",
    command=["faststream", "run", "bench.peers.faststream_worker:app", "--workers", "2"],
)
FASTSTREAM_QUIET = replace(FASTSTREAM, name="faststream_quiet", settings={"BENCH_QUIET": "1"}, filled_as="faststream")
PEERS = [CELERY, DRAMATIQ, FASTSTREAM, FASTSTREAM_QUIET]
