"""Runs the gateway written the usual way, under gunicorn with threads."""

from bench import venv
from bench.arena import Arena
from bench.contestants.peers import addresses
from bench.processes import Child, listens, wait_until

QUEUE = "bench.usual"
PROCESSES = 2
THREADS = 16
_START_S = 60.0


def start(arena: Arena) -> Child:
    """Starts it. Returns once it listens."""
    argv = [
        *[str(venv.program("gunicorn")), "bench.peers.usual_gateway:app", "--worker-class", "gthread"],
        *["--workers", str(PROCESSES), "--threads", str(THREADS), "--keep-alive", "75"],
        *["--bind", f"127.0.0.1:{arena.ports.gateway}", "--log-level", "warning"],
    ]
    child = Child("usual gateway", argv, arena.log("usual-gateway"), addresses(arena))
    wait_until(lambda: listens(arena.ports.gateway), "the usual gateway listens", _START_S, [child])
    return child
