"""Does what every peer does for one envelope, apart from its framework: keys, the rendered message, its address."""

import os
from typing import Any

from jinja2 import Environment, Template

from bench.envelopes import PRODUCT_UPDATE

REDIS_URL = os.environ["BENCH_REDIS_URL"]
SEND_URL = os.environ["BENCH_PROVIDER_URL"] + "/v1/projects/bench/messages:send"
AMQP_URL = os.environ["BENCH_AMQP_URL"]
HEADERS = {"Authorization": "Bearer bench"}
TIMEOUT_S = 10.0
RECORD_TTL_S = 3 * 24 * 3600

_ENVIRONMENT = Environment(autoescape=False)
# The cache is warm from the start: no peer has to fetch or compile a template.
_TEMPLATES: dict[str, tuple[Template, Template]] = {
    "PRODUCT_UPDATE": (
        _ENVIRONMENT.from_string(PRODUCT_UPDATE["title"]),
        _ENVIRONMENT.from_string(PRODUCT_UPDATE["body"]),
    )
}


def key(envelope: dict[str, Any]) -> str:
    return f"peer:push:{envelope['request_id']}"


def message(envelope: dict[str, Any]) -> dict[str, Any]:
    """Returns the request to FCM, its content rendered."""
    title, body = _TEMPLATES[envelope["template_code"]]
    variables = envelope["variables"]
    return {
        "message": {
            "token": envelope["recipient"]["push_tokens"][0],
            "notification": {"title": title.render(variables), "body": body.render(variables)},
            "data": {"request_id": envelope["request_id"]},
        }
    }
