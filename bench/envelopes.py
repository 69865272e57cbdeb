"""Builds the measured notifications, one shape for all contestants. Peers import it: standard library only."""

import json
from typing import Any

#: The template service answers this for ``PRODUCT_UPDATE``; the peers start with it in their cache.
PRODUCT_UPDATE: dict[str, Any] = {
    "code": "PRODUCT_UPDATE",
    "subject": "News about your product",
    "title": "Hello {{ name }}",
    "body": "Hello {{ name }}, your product has an update. See {{ link }}",
    "html": "<p>Hello {{ name }}, your product has an update.</p><p>{{ link }}</p>",
}

#: It is as long as a real registration token of FCM (about 160 characters).
_TOKEN_TAIL = "bench-" + "x" * 140

_RECIPIENTS: dict[str, dict[str, Any]] = {
    "email": {"email": "ada@example.com"},
    "sms": {"phone": "+4915112345678"},
    # An inbox needs only its user. With a recipient, even an empty one, the user service is not asked.
    "websocket": {},
}


def envelope(request_id: str, channel: str = "push", priority: str = "medium", user_id: str = "ada") -> dict[str, Any]:
    """Returns one notification that gives its recipient and takes its content from a template.

    Only ``websocket`` has a user.
    """
    to_devices = {"push_tokens": [f"{request_id}:{_TOKEN_TAIL}"]}
    return {
        "request_id": request_id,
        "notification_type": channel,
        "template_code": "PRODUCT_UPDATE",
        "variables": {"name": "Ada", "link": f"https://example.com/p/{request_id}"},
        "recipient": _RECIPIENTS.get(channel, to_devices),
        **({"user_id": user_id} if channel == "websocket" else {}),
        "priority": priority,
        "metadata": {"source": "bench"},
    }


def body(request_id: str, channel: str = "push", priority: str = "medium", user_id: str = "ada") -> bytes:
    """Returns the same as JSON, as it lies in a queue."""
    return json.dumps(envelope(request_id, channel, priority, user_id), separators=(",", ":")).encode()
