"""Firebase Cloud Messaging, HTTP v1: ``fcm://[host[:port]]/<project>?tls=0&timeout=10``.

firebase-admin gives the access token and nothing else: its ``send`` retries inside (a 503 made five POSTs in 7 s, a
read timeout two), which would hide duplicates.
"""

from __future__ import annotations

import hashlib
import os.path
import time
from collections.abc import Iterator
from datetime import UTC
from typing import Any
from urllib.parse import quote

import orjson

from services.push.access_token import AccessToken, Granted
from shared.errors import BadSettings, Refusal, Refused, Unavailable
from shared.http.client import CONNECTIONS_PER_ORIGIN, HttpClient, Response
from shared.providers.provider import Message
from shared.providers.refusal import by_http_status
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

VENDOR_HOST = "fcm.googleapis.com"

#: FCM's own code, complete: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
#: INVALID_ARGUMENT is RECIPIENT if it names the token, QUOTA_EXCEEDED is QUOTA if it is the project's: see ``refused``.
BY_ERROR_CODE = {
    "UNSPECIFIED_ERROR": Refusal.UNAVAILABLE,
    "INVALID_ARGUMENT": Refusal.PAYLOAD_REJECTED,
    "UNREGISTERED": Refusal.RECIPIENT_INVALID,
    "SENDER_ID_MISMATCH": Refusal.RECIPIENT_INVALID,
    "QUOTA_EXCEEDED": Refusal.THROTTLED,
    "UNAVAILABLE": Refusal.UNAVAILABLE,
    "INTERNAL": Refusal.UNAVAILABLE,
    # APNs or web push credentials, not ours, although FCM says it with a 401.
    "THIRD_PARTY_AUTH_ERROR": Refusal.RECIPIENT_TEMPORARY,
}
#: google.rpc.Code, where FCM gives no code of its own: https://cloud.google.com/apis/design/errors
#: NOT_FOUND alone is no verdict on the token: a wrong project looks like that too.
BY_STATUS = {
    "INVALID_ARGUMENT": Refusal.PAYLOAD_REJECTED,
    "UNAUTHENTICATED": Refusal.CREDENTIALS,
    "PERMISSION_DENIED": Refusal.CREDENTIALS,
    "RESOURCE_EXHAUSTED": Refusal.THROTTLED,
}
#: high and low as the platforms know them; medium is left to FCM's default
_PRIORITY = {"high": ("HIGH", "10"), "low": ("NORMAL", "5")}
#: stands in for Google's token at the sandbox
_SANDBOX_TOKEN = "sandbox"


def build(url: ProviderUrl, settings: Settings) -> Fcm:
    """Raises BadSettings: no project, an unknown option, or FIREBASE_KEY missing in production."""
    url.allow("tls")
    if not url.path or "/" in url.path:
        raise url.problem("must name the project: fcm://[host]/<project>")
    key = settings.providers.firebase_key.get_secret_value() if settings.providers.firebase_key else ""
    if not key and settings.production:
        raise BadSettings([("FIREBASE_KEY", "required for fcm with NOTIFY_ENV=production")])
    endpoint = f"{url.http_base(VENDOR_HOST)}/v1/projects/{quote(url.path, safe='')}/messages:send"
    return Fcm(url.name, endpoint, url.timeout_s, key)


class Fcm:
    """One Firebase project."""

    connections = CONNECTIONS_PER_ORIGIN

    def __init__(self, name: str, endpoint: str, timeout_s: float, firebase_key: str) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._endpoint = endpoint
        self._firebase_key = firebase_key
        self._http = HttpClient()
        self._access_token: AccessToken | None = None

    async def open(self) -> None:
        """Read the key and open the pool. The first token is fetched by the first send. Raises BadSettings."""
        if self._firebase_key:
            self._access_token = AccessToken(_ServiceAccount(self._firebase_key).grant)
        await self._http.open()

    def prepare(self, message: Message) -> bytes:
        return payload(message)

    async def send(self, request: bytes) -> str:
        token, left_s = _SANDBOX_TOKEN, self.timeout_s
        if self._access_token:
            until = time.monotonic() + left_s
            token = await self._access_token.get(left_s)
            # The token may have been waited for: what remains is the request's.
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise Unavailable(f"no access token within {self.timeout_s:g} s")
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        response = await self._http.post(self._endpoint, request, headers, left_s)
        if response.ok:
            # Without a readable name it is accepted all the same: a second send would be a second notification.
            return str(response.json_object().get("name", ""))
        error = refused(response)
        if self._access_token and error.refusal is Refusal.CREDENTIALS:
            self._access_token.drop(token)
        raise error

    async def close(self) -> None:
        await self._http.close()


def payload(message: Message) -> bytes:
    """The request's body. Raises Refused for data that JSON cannot hold.

    The tag and the collapse id make a second send replace the first on the device. There is no collapse_key: a device
    keeps only four of them, so one a request would lose pushes.
    """
    content = message.content
    same = hashlib.sha256(message.request_id.encode()).hexdigest()[:32]
    android: dict[str, Any] = {"notification": {"tag": same}}
    apns = {"apns-collapse-id": same}
    if message.priority in _PRIORITY:
        android["priority"], apns["apns-priority"] = _PRIORITY[message.priority]
    body: dict[str, Any] = {
        "token": message.target,
        "notification": {"title": content.title, "body": content.body},
        "data": {**_strings(content.data), "request_id": message.request_id},
        "android": android,
        "apns": {"headers": apns},
    }
    if content.link:
        body["data"]["link"] = content.link
        # FCM refuses any other scheme here.
        if content.link.startswith("https://"):
            body["webpush"] = {"fcm_options": {"link": content.link}}
    try:
        return orjson.dumps({"message": body})
    except orjson.JSONEncodeError as exc:
        raise Refused(Refusal.PAYLOAD_REJECTED, "fcm: the content cannot be written as JSON") from exc


def _strings(data: dict[str, Any]) -> dict[str, str]:
    """FCM's ``data`` takes strings only; anything else becomes its JSON text."""
    try:
        return {key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in data.items()}
    except orjson.JSONEncodeError as exc:
        raise Refused(Refusal.PAYLOAD_REJECTED, "fcm: data cannot be written as JSON") from exc


def refused(response: Response) -> Refused:
    """The refusal in an answer that is not 2xx; total."""
    error = _object(response.json_object().get("error"))
    details = [_object(detail) for detail in _list(error.get("details"))]
    code = next((str(detail["errorCode"]) for detail in details if "errorCode" in detail), "")
    status = str(error.get("status", ""))
    refusal = BY_ERROR_CODE.get(code) or BY_STATUS.get(status) or by_http_status(response.status)
    if refusal is Refusal.PAYLOAD_REJECTED and _names_the_token(error, details):
        refusal = Refusal.RECIPIENT_INVALID
    if refusal is Refusal.THROTTLED and _is_the_projects_quota(details):
        refusal = Refusal.QUOTA_EXCEEDED
    known = code if code in BY_ERROR_CODE else status if status in BY_STATUS else "no known code"
    return Refused(refusal, f"fcm {response.status} {known}", response.retry_after_s)


def _names_the_token(error: dict[str, Any], details: list[dict[str, Any]]) -> bool:
    fields = {str(violation.get("field")) for violation in _inner(details, "fieldViolations")}
    if fields:
        return "message.token" in fields
    return "registration token" in str(error.get("message", ""))


def _is_the_projects_quota(details: list[dict[str, Any]]) -> bool:
    return any(str(violation.get("subject", "")).startswith("project") for violation in _inner(details, "violations"))


def _inner(details: list[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    return (_object(violation) for detail in details for violation in _list(detail.get(name)))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


class _ServiceAccount:
    """A Google service account's key. firebase-admin is imported here, not above: it costs 0.1 s and 15 MB."""

    def __init__(self, key: str) -> None:
        """Raises BadSettings if ``key`` is neither a key's JSON nor the path of a file that holds it."""
        from firebase_admin import credentials

        try:
            source = orjson.loads(key) if key.lstrip().startswith("{") else os.path.expanduser(key)
            self._certificate = credentials.Certificate(source)
        except (OSError, ValueError) as exc:
            # Not the exception's text: it may quote the key.
            raise BadSettings([("FIREBASE_KEY", "not a service account's key, nor a readable file of one")]) from exc

    def grant(self) -> Granted:
        """A new token; blocks. Raises Refused: ``CREDENTIALS`` if Google refuses the key, else ``UNAVAILABLE``."""
        from google.auth import exceptions

        try:
            token, expiry = self._certificate.get_access_token()
        except exceptions.GoogleAuthError as exc:
            key_refused = isinstance(exc, exceptions.RefreshError) and not exc.retryable
            refusal = Refusal.CREDENTIALS if key_refused else Refusal.UNAVAILABLE
            raise Refused(refusal, f"fcm: no access token ({type(exc).__name__})") from exc
        # google-auth tells UTC without saying so.
        return Granted(token, expiry.replace(tzinfo=UTC).timestamp())
