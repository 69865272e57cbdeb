"""Sends a notification without HTTP, as any service with an AMQP client can do. It needs: pip install pika"""

import json
import os

import pika

envelope = {
    "request_id": "order-42-shipped",  # a repeated request with this id is delivered only once
    "notification_type": "push",
    "recipient": {"push_tokens": ["token-of-a-device"]},
    "content": {"title": "On its way", "body": "Your order 42 has been shipped."},
}
url = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:17672/%2F")
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.confirm_delivery()  # with mandatory: publish returns when the message is stored, and raises if no queue took it
properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)
channel.basic_publish("notifications.direct", "push.high", json.dumps(envelope).encode(), properties, mandatory=True)
connection.close()
