"""Plays SendGrid ``POST /v3/mail/send``: 202 with an empty body, or 4xx with a list of errors that name their fields.

Source: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send and its list of errors. Any API key is
accepted; a call without one is answered 401. A call with several recipients is recorded once for each.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import orjson
from aiohttp import web

from sandbox.exchange import Verdict
from sandbox.faults import Fault

_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")
_HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
_MESSAGES = {
    400: "Bad request",
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "The from address does not match a verified Sender Identity.",
    404: "The resource you were trying to reach does not exist.",
    405: "Method not allowed",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    429: "too many requests",
    500: "An error occurred on our end",
    503: "The SendGrid v3 Web API is not available.",
}


class SendGrid:
    name = "sendgrid"

    def __init__(self) -> None:
        self._numbers = count(1)

    def judge(self, request: web.Request, body: bytes) -> Verdict:
        bearer = request.headers.get("Authorization", "").startswith("Bearer ")
        refusal = None if bearer else _errors(401, (_MESSAGES[401], None))
        try:
            mail = orjson.loads(body)
        except orjson.JSONDecodeError:
            return Verdict(refusal=refusal or _errors(400, (_MESSAGES[400], None)))
        if not isinstance(mail, dict):
            return Verdict(refusal=refusal or _errors(400, ("Invalid type. Expected: object.", None)))
        targets = tuple(address for _, address in _recipients(mail))
        request_id, complaints = _request_id(mail), list(_complaints(mail))
        if refusal is not None or complaints:
            return Verdict(targets, refusal or _errors(400, *complaints), request_id=request_id)
        return Verdict(targets, None, self._accept, request_id, partial(orjson.loads, body))

    def faulted(self, fault: Fault) -> web.Response:
        assert fault.status is not None
        return _errors(fault.status, (_MESSAGES.get(fault.status, "error"), fault.field))

    def _accept(self) -> web.Response:
        return web.Response(status=202, headers={"X-Message-Id": f"sandbox-{next(self._numbers)}"})


def _errors(status: int, *complaints: tuple[str, str | None]) -> web.Response:
    errors = [{"message": message, "field": field, "help": _HELP if field else None} for message, field in complaints]
    return web.Response(status=status, body=orjson.dumps({"errors": errors}), content_type="application/json")


def _personalizations(mail: dict[str, Any]) -> list[dict[str, Any]]:
    given = mail.get("personalizations")
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _recipients(mail: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields (field, address) of everyone to whom the mail would be sent."""
    for number, personalization in enumerate(_personalizations(mail)):
        for kind in ("to", "cc", "bcc"):
            people = personalization.get(kind)
            for index, person in enumerate(people if isinstance(people, list) else []):
                address = person.get("email") if isinstance(person, dict) else None
                yield f"personalizations.{number}.{kind}.{index}.email", str(address or "")


def _complaints(mail: dict[str, Any]) -> Iterator[tuple[str, str]]:
    personalizations = _personalizations(mail)
    if not personalizations:
        yield "The personalizations field is required and must have at least one personalization.", "personalizations"
    for number, personalization in enumerate(personalizations):
        if not personalization.get("to"):
            yield "The to array is required for all personalization objects.", f"personalizations.{number}.to"
    for field, address in _recipients(mail):
        if not _ADDRESS.fullmatch(address) or address.startswith("dead"):
            yield "Does not contain a valid address.", field
    sender = mail.get("from")
    if not isinstance(sender, dict) or not _ADDRESS.fullmatch(str(sender.get("email", ""))):
        yield "The from object must be provided for every email send.", "from.email"
    if not mail.get("subject") and not all(one.get("subject") for one in personalizations):
        yield "The subject is required.", "subject"
    yield from _content_complaints(mail.get("content"))


def _content_complaints(content: object) -> Iterator[tuple[str, str]]:
    parts = content if isinstance(content, list) else []
    if not parts or not all(isinstance(part, dict) and part.get("type") and part.get("value") for part in parts):
        yield "The content value must be a string at least one character in length.", "content"
        return
    if any(part["type"] == "text/plain" for part in parts[1:]):
        yield "If present, text/plain must be first, followed by text/html.", "content"


def _request_id(mail: dict[str, Any]) -> str | None:
    """Returns the id from custom_args, the message's own or the first personalization's; else from the header
    X-Request-ID.
    """
    holders = [mail, *_personalizations(mail)]
    for holder in holders:
        given = holder.get("custom_args")
        if isinstance(given, dict) and "request_id" in given:
            return str(given["request_id"])
    for holder in holders:
        headers = holder.get("headers")
        for name, value in headers.items() if isinstance(headers, dict) else ():
            if name.lower() == "x-request-id":
                return str(value)
    return None
