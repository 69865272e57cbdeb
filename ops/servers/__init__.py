"""Runs private RabbitMQ, Redis and PostgreSQL servers: with ports and data of their own, on loopback, ended by pid.

The tests and the benchmarks use them, and ``./notify up`` the first two. ``local`` provides those of this checkout,
unless the user names servers of their own. It may import ``shared`` and the modules of ``ops`` itself. Start with
``rabbitmq``.
"""

from ops.servers.epmd import Epmd
from ops.servers.ports import free_ports
from ops.servers.postgresql import PostgreSQLServer
from ops.servers.rabbitmq import RabbitMQPorts, RabbitMQServer, node_name
from ops.servers.rabbitmq_files import Membership
from ops.servers.redis_server import RedisServer

__all__ = [
    "Epmd",
    "Membership",
    "PostgreSQLServer",
    "RabbitMQPorts",
    "RabbitMQServer",
    "RedisServer",
    "free_ports",
    "node_name",
]
