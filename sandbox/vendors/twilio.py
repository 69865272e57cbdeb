"""Plays Twilio ``POST /2010-04-01/Accounts/{sid}/Messages.json``: 201 with the message, or JSON with ``code``.

Source: https://www.twilio.com/docs/messaging/api/message-resource and https://www.twilio.com/docs/api/errors. Any
account and token are accepted; a call without them is answered 401. The request id is looked for in the query of
StatusCallback, where the vendor would send it back, and nowhere else. A number that is not E.164 gives 21211, and so
does any that begins with ``+1000``, which looks like a number and is none.
"""

import re
from functools import partial
from itertools import count
from urllib.parse import parse_qs, parse_qsl, urlsplit

import orjson
from aiohttp import web

from sandbox.exchange import Verdict
from sandbox.faults import Fault

_E164 = re.compile(r"\+(?!1000)[1-9]\d{1,14}")
LONGEST_BODY = 1600
LONGEST_VALIDITY_S = 36_000

#: code -> HTTP status, message; any other code is 400.
CODES: dict[int, tuple[int, str]] = {
    14107: (429, "Message rate exceeded"),
    20003: (401, "Authenticate"),
    20005: (401, "Account not active"),
    20403: (403, "Forbidden"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    20503: (503, "Service is unavailable. Please try again"),
    21211: (400, "The 'To' number is not a valid phone number."),
    21408: (400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21606: (400, "The 'From' phone number provided is not a valid, message-capable number."),
    21608: (400, "The number is unverified. Trial accounts cannot send messages to unverified numbers"),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21611: (429, "This 'From' number has exceeded the maximum number of queued messages"),
    21612: (400, "The 'To' phone number is not currently reachable using the 'From' phone number"),
    21614: (400, "'To' number is not a valid mobile number"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21624: (400, "Invalid validity period value"),
    63038: (429, "Account exceeded the daily messages limit"),
}
_CODE_OF_STATUS = {401: 20003, 403: 20403, 404: 20404, 429: 20429, 500: 20500, 503: 20503}


class Twilio:
    name = "twilio"

    def __init__(self) -> None:
        self._numbers = count(1)

    def judge(self, request: web.Request, body: bytes) -> Verdict:
        form = _fields(body)
        to, request_id = form.get("To", ""), _request_id(form)
        known = request.headers.get("Authorization", "").startswith("Basic ")
        code = _wrong(form) if known else 20003
        if code is not None:
            return Verdict((to,), _error(code), request_id=request_id)
        answer = partial(self._accept, request.match_info["sid"], form)
        return Verdict((to,), None, answer, request_id, partial(_fields, body))

    def faulted(self, fault: Fault) -> web.Response:
        if fault.error_code is not None:
            return _error(int(fault.error_code), fault.status)
        assert fault.status is not None
        return _error(_CODE_OF_STATUS.get(fault.status, 20000 + fault.status), fault.status)

    def _accept(self, account: str, form: dict[str, str]) -> web.Response:
        message = {
            "sid": f"SM{next(self._numbers):032x}",
            "account_sid": account,
            "to": form["To"],
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "body": form["Body"],
            "status": "queued",
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
        }
        return web.Response(status=201, body=orjson.dumps(message), content_type="application/json")


def _fields(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _wrong(form: dict[str, str]) -> int | None:
    """Returns the code with which Twilio would refuse the form, or None."""
    if not form.get("To"):
        return 21604
    if not form.get("From") and not form.get("MessagingServiceSid"):
        return 21603
    if not form.get("Body"):
        return 21602
    if not _E164.fullmatch(form["To"]):
        return 21211
    validity = form.get("ValidityPeriod", "1")
    if not validity.isdecimal() or not 1 <= int(validity) <= LONGEST_VALIDITY_S:
        return 21624
    return 21617 if len(form["Body"]) > LONGEST_BODY else None


def _request_id(form: dict[str, str]) -> str | None:
    values = parse_qs(urlsplit(form.get("StatusCallback", "")).query).get("request_id")
    return values[0] if values else None


def _error(code: int, status: int | None = None) -> web.Response:
    usual_status, message = CODES.get(code, (400, "Bad request"))
    error = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status or usual_status,
    }
    return web.Response(status=status or usual_status, body=orjson.dumps(error), content_type="application/json")
