"""Plays FCM HTTP v1, ``POST /v1/projects/{project}/messages:send``, and the Google token endpoint that it needs.

Any bearer token is accepted; a call without one is answered 401, as the vendor does. A registration token that begins
with ``dead`` is UNREGISTERED, one that begins with ``malformed`` is INVALID_ARGUMENT naming ``message.token``.
"""

import re
from functools import partial
from itertools import count

import orjson
from aiohttp import web

from sandbox.exchange import Verdict
from sandbox.faults import Fault
from sandbox.vendors.fcm_errors import coded, invalid_argument, invalid_json, plain

#: https://firebase.google.com/docs/cloud-messaging/customize-messages/set-message-type
LARGEST_MESSAGE_BYTES = 4096
LONGEST_COLLAPSE_ID_BYTES = 64
TARGET_FIELDS = ("token", "topic", "condition")
MESSAGE_FIELDS = frozenset(
    (*TARGET_FIELDS, "name", "data", "notification", "android", "webpush", "apns", "fcm_options")
)
#: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages, fields data and android.ttl
RESERVED_KEY = re.compile(r"from|message_type|google.*|gcm.*", re.DOTALL)
LONGEST_LIFE_S = 2_419_200
TOKEN_LIFE_S = 3599
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class Fcm:
    name = "fcm"

    def __init__(self) -> None:
        self._numbers = count(1)

    def judge(self, request: web.Request, body: bytes) -> Verdict:
        bearer = request.headers.get("Authorization", "").startswith("Bearer ")
        refusal = None if bearer else plain(401)
        try:
            sent = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return Verdict(refusal=refusal or invalid_json(str(error), ""))
        message = sent.get("message") if isinstance(sent, dict) else None
        if not isinstance(message, dict):
            return Verdict(refusal=refusal or invalid_argument("message", "Message is not set."))
        targets = tuple(str(message[name]) for name in TARGET_FIELDS if name in message)
        request_id = _request_id(message)
        refusal = refusal or _wrong_shape(message) or _wrong_target(message) or _wrong_limits(message)
        if refusal is not None:
            return Verdict(targets, refusal, request_id=request_id)
        answer = partial(self._accept, request.match_info["project"])
        return Verdict(targets, None, answer, request_id, partial(orjson.loads, body))

    def faulted(self, fault: Fault) -> web.Response:
        if fault.error_code is not None:
            return coded(fault.error_code, status=fault.status, field=fault.field)
        assert fault.status is not None
        if fault.status == 400 and fault.field is not None:
            return invalid_json(f"Invalid value at '{fault.field}'.", fault.field)
        return plain(fault.status)

    def _accept(self, project: str) -> web.Response:
        name = f"projects/{project}/messages/0:{next(self._numbers)}%sandbox"
        return web.Response(body=orjson.dumps({"name": name}), content_type="application/json")


def _request_id(message: dict[str, object]) -> str | None:
    data = message.get("data")
    request_id = data.get("request_id") if isinstance(data, dict) else None
    return request_id if isinstance(request_id, str) else None


def _wrong_shape(message: dict[str, object]) -> web.Response | None:
    for name in message:
        if name not in MESSAGE_FIELDS:
            return invalid_json(f"Unknown name \"{name}\" at 'message': Cannot find field.", "message")
    data = message.get("data", {})
    if not isinstance(data, dict):
        return invalid_json("Invalid value at 'message.data' (map).", "message.data")
    for number, value in enumerate(data.values()):
        if not isinstance(value, str):
            field = f"message.data[{number}].value"
            return invalid_json(f"Invalid value at '{field}' (TYPE_STRING).", field)
    if reserved := next((key for key in data if RESERVED_KEY.fullmatch(key)), None):
        return invalid_argument("message.data", f"Invalid data payload key: {reserved}")
    if not isinstance(message.get("notification", {}), dict):
        return invalid_json("Invalid value at 'message.notification'.", "message.notification")
    return None


def _wrong_target(message: dict[str, object]) -> web.Response | None:
    given = [name for name in TARGET_FIELDS if message.get(name)]
    if len(given) != 1:
        return invalid_argument("message.token", "Exactly one of token, topic or condition is required")
    token = message.get("token")
    if isinstance(token, str) and token.startswith("dead"):
        return coded("UNREGISTERED")
    if "token" in message and (not isinstance(token, str) or token.startswith("malformed")):
        return invalid_argument("message.token", "The registration token is not a valid FCM registration token")
    return None


def _wrong_limits(message: dict[str, object]) -> web.Response | None:
    texts = [text for part in ("notification", "data") for pair in _items(message, part) for text in pair]
    if sum(len(str(text).encode()) for text in texts) > LARGEST_MESSAGE_BYTES:
        return invalid_argument("message", "Android message is too big")
    apns = _within(message, "apns", "headers")
    if len(str(apns.get("apns-collapse-id", "")).encode()) > LONGEST_COLLAPSE_ID_BYTES:
        return invalid_argument("message.apns.headers", "apns-collapse-id is longer than 64 bytes")
    if not str(apns.get("apns-expiration", "0")).isdecimal():
        return invalid_argument("message.apns.headers", "apns-expiration is no number of seconds since the epoch")
    lives = {
        "message.android.ttl": str(_within(message, "android").get("ttl", "0s")).removesuffix("s"),
        "message.webpush.headers": str(_within(message, "webpush", "headers").get("TTL", "0")),
    }
    for field, seconds in lives.items():
        if not seconds.isdecimal() or int(seconds) > LONGEST_LIFE_S:
            return invalid_argument(field, "Invalid TTL: it must be from 0 to 2419200 seconds")
    return None


def _within(message: dict[str, object], *names: str) -> dict[str, object]:
    """Returns the object at this path of names, or {}."""
    found: object = message
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _items(message: dict[str, object], part: str) -> list[tuple[str, object]]:
    value = message.get(part)
    return list(value.items()) if isinstance(value, dict) else []


async def issue_token(request: web.Request) -> web.Response:
    """Issues an OAuth 2.0 token for a service account: ``POST /token`` with a signed JWT. The
    signature is not checked.
    """
    form = await request.post()
    if form.get("grant_type") != JWT_BEARER:
        return _oauth_error("unsupported_grant_type", f"grant_type must be {JWT_BEARER}")
    if str(form.get("assertion", "")).count(".") != 2:
        return _oauth_error("invalid_grant", "Invalid JWT: three parts are required")
    granted = {"access_token": "sandbox", "expires_in": TOKEN_LIFE_S, "token_type": "Bearer"}
    return web.Response(body=orjson.dumps(granted), content_type="application/json")


def _oauth_error(error: str, description: str) -> web.Response:
    body = orjson.dumps({"error": error, "error_description": description})
    return web.Response(status=400, body=body, content_type="application/json")
