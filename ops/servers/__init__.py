"""Runs private RabbitMQ and Redis servers: with their own ports and data, on loopback only, and ended by pid.

``./notify up``, the tests and the benchmarks use them. ``local`` provides those of this checkout, unless the user names
servers of their own. It may import ``shared`` and the modules of ``ops`` itself. Start with ``rabbitmq``.
"""

from ops.servers.epmd import Epmd
from ops.servers.ports import free_ports
from ops.servers.rabbitmq import RabbitMQPorts, RabbitMQServer, node_name
from ops.servers.rabbitmq_files import Membership
from ops.servers.redis_server import RedisServer

__all__ = ["Epmd", "Membership", "RabbitMQPorts", "RabbitMQServer", "RedisServer", "free_ports", "node_name"]
