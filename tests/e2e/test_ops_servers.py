"""The private servers do what the tests and ``./notify up`` rely on."""

import pika
import redis

from ops.servers import RabbitMQServer, RedisServer
from tests.waiting import eventually


def test_a_test_has_a_virtual_host_of_its_own(rabbitmq: RabbitMQServer, vhost: str, vhost_url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(vhost_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("q", durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", "q", b"x")
    assert "q" not in rabbitmq.list_queues("/")
    eventually(lambda: rabbitmq.list_queues(vhost)["q"].messages == 1)


def test_redis_is_empty_and_keeps_what_it_took(redis_server: RedisServer, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
