"""Private RabbitMQ and Redis: own ports, own data, loopback only, ended by pid."""

from ops.servers.ports import free_ports
from ops.servers.rabbitmq import RabbitMQPorts, RabbitMQServer
from ops.servers.redis_server import RedisServer

__all__ = ["RabbitMQPorts", "RabbitMQServer", "RedisServer", "free_ports"]
