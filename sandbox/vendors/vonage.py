"""Plays Vonage ``POST /sms/json``: always HTTP 200, the outcome is in ``messages[0].status``; "0" means accepted.

Source: https://developer.vonage.com/en/api/sms and https://developer.vonage.com/en/api-errors/sms. Any key and secret
are accepted. A number that begins with ``1000`` is refused. A fault with a plain ``status`` answers with that HTTP
status instead, as the vendor's front end may.
"""

import re
from functools import partial
from itertools import count
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from sandbox.exchange import Verdict
from sandbox.faults import Fault

_NUMBER = re.compile(r"\+?(?!1000)[1-9]\d{6,14}")
_TTL_MS = range(20_000, 604_800_001)
_REQUIRED = ("api_key", "api_secret", "from", "to", "text")

_TEXTS: dict[str, str] = {
    "1": "Throughput Rate Exceeded - please wait [ 1000 ] and retry",
    "2": "Missing parameters",
    "3": "Invalid value for parameter",
    "4": "Bad Credentials",
    "5": "Internal Error",
    "6": "Unroutable message - rejected",
    "7": "Number barred",
    "8": "Partner account barred",
    "9": "Quota Exceeded - rejected",
    "10": "Too many existing binds",
    "11": "Account not enabled for HTTP",
    "12": "Message too long",
    "14": "Invalid Signature",
    "15": "Illegal Sender Address - rejected",
    "22": "Invalid Network Code",
    "23": "Invalid Callback URL",
    "29": "Non White-listed Destination - rejected",
    "32": "Signature And API Secret Disallowed",
    "33": "Number De-activated",
}

#: Message statuses whose text names the parameter at fault.
NAMES_A_PARAMETER = {"2": "Missing {}", "3": "Invalid value for parameter: {}"}


class Vonage:
    name = "vonage"

    def __init__(self) -> None:
        self._numbers = count(1)

    def judge(self, request: web.Request, body: bytes) -> Verdict:
        fields = _fields(request.content_type, body)
        if fields is None:
            return Verdict(refusal=_outcome({"status": "2", "error-text": "Malformed request body"}))
        to, request_id = fields.get("to", ""), fields.get("client-ref")
        refusal = _refused(fields)
        if refusal is not None:
            return Verdict((to,), _outcome(refusal), request_id=request_id)
        answer = partial(self._accept, fields)
        payload = partial(_without_secret, fields)
        return Verdict((to,), None, answer, request_id, payload)

    def faulted(self, fault: Fault) -> web.Response:
        if fault.error_code is None:
            assert fault.status is not None
            return web.Response(status=fault.status, text="fault", content_type="text/plain")
        text = _TEXTS.get(fault.error_code, "Error")
        if fault.field is not None:
            text = NAMES_A_PARAMETER[fault.error_code].format(fault.field)
        return _outcome({"status": fault.error_code, "error-text": text}, fault.status or 200)

    def _accept(self, fields: dict[str, str]) -> web.Response:
        message = {
            "to": fields["to"].removeprefix("+"),
            "message-id": f"{next(self._numbers):016X}",
            "status": "0",
            "remaining-balance": "100.00000000",
            "message-price": "0.03330000",
            "network": "00000",
        }
        if "client-ref" in fields:
            message["client-ref"] = fields["client-ref"]
        return _outcome(message)


def _fields(content_type: str, body: bytes) -> dict[str, str] | None:
    """Returns the fields of a form or of JSON, as the vendor accepts both; None if the body is neither."""
    if content_type != "application/json":
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return {name: str(value) for name, value in sent.items()} if isinstance(sent, dict) else None


def _refused(fields: dict[str, str]) -> dict[str, str] | None:
    for name in _REQUIRED:
        if not fields.get(name):
            return {"status": "2", "error-text": f"Missing {name}"}
    if not _NUMBER.fullmatch(fields["to"]):
        return {"status": "3", "error-text": "Invalid value for parameter: to"}
    if "ttl" in fields and not (fields["ttl"].isdecimal() and int(fields["ttl"]) in _TTL_MS):
        return {"status": "3", "error-text": "Invalid value for parameter: ttl"}
    return None


def _without_secret(fields: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name != "api_secret"}


def _outcome(message: dict[str, str], status: int = 200) -> web.Response:
    body = orjson.dumps({"message-count": "1", "messages": [message]})
    return web.Response(status=status, body=body, content_type="application/json")
