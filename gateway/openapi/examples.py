"""One example of everything that a caller may send or be told. Tests hold them to the models and the routes."""

from __future__ import annotations

from typing import Any

from gateway.http.problem import Problem

PUSH: dict[str, Any] = {
    "request_id": "order-1027-shipped",
    "notification_type": "push",
    "user_id": "user_id1",
    "template_code": "PRODUCT_UPDATE",
    "variables": {"name": "Ada", "link": "https://example.com/orders/1027"},
    "priority": "high",
}
EMAIL: dict[str, Any] = {
    "request_id": "invoice-88",
    "notification_type": "email",
    "recipient": {"email": "ada@example.com"},
    "content": {"title": "Your invoice", "body": "Invoice 88 is ready."},
}
SMS: dict[str, Any] = {
    "request_id": "otp-4711",
    "notification_type": "sms",
    "recipient": {"phone": "+15550100"},
    "content": {"body": "Your code is 123456."},
    "priority": 10,
    "expires_at": "2030-01-01T12:00:00Z",
}
SEVERAL: dict[str, Any] = {
    "request_id": "order-1027-delivered",
    "channels": ["push", "email"],
    "user_id": "user_id1",
    "content": {"title": "Delivered", "body": "Order 1027 has been delivered."},
    "metadata": {"order": 1027},
}
BATCH = [PUSH, EMAIL, {**SMS, "request_id": "otp-4712", "priority": 11}]

ACCEPTED = {"request_id": "order-1027-shipped", "status": "accepted", "channels": ["push"]}

PROBLEMS: dict[int, Problem] = {
    400: Problem(400, "duplicate key", [("request_id", "duplicate key")]),
    401: Problem(401, "a key is required: Authorization: Bearer <key>, or X-API-Key: <key>"),
    403: Problem(403, "this key does not have the scope 'send'"),
    404: Problem(404, "The requested URL was not found on the server."),
    405: Problem(405, "The method is not allowed for the requested URL."),
    409: Problem(409, "a request with this request_id is being worked on"),
    413: Problem(413, "the body is larger than 65536 bytes"),
    415: Problem(415, "the body must be application/json"),
    422: Problem(
        422,
        "the notification is not valid",
        [("request_id", "required"), ("priority", "must be high, medium, low or an integer from 0 to 10")],
    ),
    503: Problem(503, "the broker does not answer; sending it again is safe"),
}

BATCH_ANSWER = {
    "results": [
        {"index": 0, "request_id": "order-1027-shipped", "status": 202},
        {"index": 1, "request_id": "invoice-88", "status": 202},
        {
            "index": 2,
            "request_id": "otp-4712",
            "status": 422,
            "error": Problem(
                422,
                "the notification is not valid",
                [("priority", "must be high, medium, low or an integer from 0 to 10")],
            ).document(),
        },
    ]
}
BATCH_UNAVAILABLE = {
    "results": [
        {"index": 0, "request_id": "order-1027-shipped", "status": 503, "error": PROBLEMS[503].document()},
    ]
}


def health(status: str, broker: str) -> dict[str, Any]:
    channel = {"ready": 0, "consumers": 1, "paused": False, "breaker_state": "closed"}
    return {
        "status": status,
        "broker": broker,
        "redis": "up",
        "channels": {
            "push": {"queue": "push.queue", **channel, "providers": {"fcm": "closed"}},
            "email": {"queue": "email.queue", **channel, "providers": {"smtp": "closed", "smtp2": "closed"}},
            "sms": {"queue": "sms.queue", **channel, "providers": {"twilio": "closed"}},
        },
    }


METRICS = """# HELP notify_accepted_total Envelopes confirmed by the broker
# TYPE notify_accepted_total counter
notify_accepted_total{channel="push",lane="high"} 42.0
"""
