"""Runs the gateway written the usual way, under gunicorn with threads."""

import pika

from bench import venv
from bench.arena import Arena
from bench.contestants.peers import addresses
from bench.processes import Child, listens, wait_until

QUEUE = "bench.usual"
PROCESSES = 2
THREADS = 16
_START_S = 60.0


def start(arena: Arena) -> Child:
    """Declares its queue and starts it. Returns once it listens."""
    # RabbitMQ sometimes answers with an error if 32 threads declare a new quorum queue at the same moment.
    with pika.BlockingConnection(pika.URLParameters(arena.servers.amqp_url)) as connection:
        connection.channel().queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    argv = [
        *[str(venv.program("gunicorn")), "bench.peers.usual_gateway:app", "--worker-class", "gthread"],
        *["--workers", str(PROCESSES), "--threads", str(THREADS), "--keep-alive", "75"],
        *["--bind", f"127.0.0.1:{arena.ports.gateway}", "--log-level", "warning"],
    ]
    child = Child("usual gateway", argv, arena.log("usual-gateway"), addresses(arena))
    wait_until(lambda: listens(arena.ports.gateway), "the usual gateway listens", _START_S, [child])
    return child
