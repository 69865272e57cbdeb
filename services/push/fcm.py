"""Sends through Firebase Cloud Messaging, HTTP v1: ``fcm://[host[:port]]/<project>?tls=0&timeout=10``.

firebase-admin provides only the access token: its ``send`` retries internally (a 503 caused five POSTs in 7 s, a read
timeout two), which would hide duplicates.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections.abc import Iterator
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from services.push.access_token import AccessToken, Granted
from shared.errors import BadSettings, Refusal, Refused, Unavailable
from shared.http.client import CONNECTIONS_PER_ORIGIN, HttpClient, Response
from shared.http.proxy import Proxy
from shared.http.request import Origin
from shared.message.push_data import reserved_keys
from shared.providers.provider import Message
from shared.providers.refusal import by_http_status
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

VENDOR_HOST = "fcm.googleapis.com"

#: All of FCM's own error codes: https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
#: INVALID_ARGUMENT means RECIPIENT_INVALID if it names the token and PAYLOAD_REJECTED if it names another part of the
#: message, and QUOTA_EXCEEDED means RATE_EXCEEDED if the quota (per minute) is the project's: see ``refused``.
BY_ERROR_CODE = {
    "UNSPECIFIED_ERROR": Refusal.UNAVAILABLE,
    "INVALID_ARGUMENT": Refusal.REJECTED,
    "UNREGISTERED": Refusal.RECIPIENT_INVALID,
    # The token belongs to another project: it is an old one, or all calls are made with the wrong project.
    "SENDER_ID_MISMATCH": Refusal.REJECTED,
    "QUOTA_EXCEEDED": Refusal.THROTTLED,
    "UNAVAILABLE": Refusal.UNAVAILABLE,
    "INTERNAL": Refusal.UNAVAILABLE,
    # The APNs or web push credentials are meant, not those of this account, although FCM answers with a 401.
    "THIRD_PARTY_AUTH_ERROR": Refusal.RECIPIENT_TEMPORARY,
}
#: google.rpc.Code, for answers without FCM's own code: https://cloud.google.com/apis/design/errors
#: NOT_FOUND alone does not mean that the token is invalid: a wrong project gives the same answer.
BY_STATUS = {
    "INVALID_ARGUMENT": Refusal.REJECTED,
    "UNAUTHENTICATED": Refusal.CREDENTIALS,
    "PERMISSION_DENIED": Refusal.CREDENTIALS,
    "RESOURCE_EXHAUSTED": Refusal.THROTTLED,
}
#: ``ApnsError.reason``, which says why APNs refused what FCM accepted. It is more exact than FCM's code:
#: https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
BY_APNS_REASON = {
    **dict.fromkeys(("BadDeviceToken", "Unregistered", "ExpiredToken"), Refusal.RECIPIENT_INVALID),
    "PayloadTooLarge": Refusal.PAYLOAD_REJECTED,
    # The token belongs to another app: it is an old one, or the project has the wrong app's APNs key.
    **dict.fromkeys(("DeviceTokenNotForTopic", "TopicDisallowed", "BadTopic"), Refusal.REJECTED),
    "TooManyRequests": Refusal.THROTTLED,
}
#: A field's name without keys of a caller's data, which may be personal.
_FIELD = re.compile(r"message(?:\.[a-z_]{1,40}(?:\[\d{1,6}\])?){0,6}")
_MOST_FIELDS = 3
_LONGEST_REASON_CHARS = 300
#: The platforms' (Android, APNs) values for high and low; medium uses FCM's default.
_PRIORITY = {"high": ("HIGH", "10"), "low": ("NORMAL", "5")}
#: Without a sound, an iPhone shows a push only to those who look at it. Android has its channels for that.
_APNS_PAYLOAD = {"aps": {"sound": "default"}}
#: Longest time that FCM keeps a message, seconds: four weeks.
#: https://firebase.google.com/docs/cloud-messaging/customize-messages/setting-message-lifespan
LONGEST_LIFE_S = 2_419_200
#: Replaces Google's token when the sandbox is used.
_SANDBOX_TOKEN = "sandbox"


def build(url: ProviderUrl, settings: Settings) -> Fcm:
    """Builds the provider.

    Raises BadSettings if there is no project, if an option is unknown, or FIREBASE_KEY is missing in production.
    """
    url.allow("tls")
    if not url.path or "/" in url.path:
        raise url.problem("must contain the project: fcm://[host]/<project>")
    key = settings.providers.firebase_key.get_secret_value() if settings.providers.firebase_key else ""
    if not key and settings.production:
        raise BadSettings([("FIREBASE_KEY", "required for fcm with NOTIFY_ENV=production")])
    endpoint = f"{url.http_base(VENDOR_HOST)}/v1/projects/{quote(url.path, safe='')}/messages:send"
    return Fcm(url.name, endpoint, url.timeout_s, key, Proxy.of(settings.providers))


class Fcm:
    """Sends for one Firebase project."""

    connections = CONNECTIONS_PER_ORIGIN

    def __init__(
        self, name: str, endpoint: str, timeout_s: float, firebase_key: str, proxy: Proxy | None = None
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._endpoint = endpoint
        self._firebase_key = firebase_key
        self._proxy = proxy
        self._http = HttpClient(proxy=proxy)
        self._access_token: AccessToken | None = None

    async def open(self) -> None:
        """Reads the key and opens the pool. The first send fetches the first token. Raises BadSettings."""
        if self._firebase_key:
            self._access_token = AccessToken(_ServiceAccount(self._firebase_key, self._proxy).grant)
        await self._http.open()

    def prepare(self, message: Message) -> bytes:
        return payload(message)

    async def send(self, request: bytes) -> str:
        token, left_s = _SANDBOX_TOKEN, self.timeout_s
        if self._access_token:
            until = time.monotonic() + left_s
            token = await self._access_token.get(left_s)
            # Waiting for the token may have taken time: the request gets the remaining time.
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise Unavailable(f"no access token within {self.timeout_s:g} s")
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        response = await self._http.post(self._endpoint, request, headers, left_s)
        if response.ok:
            # An answer without a readable name is accepted too: a second send would be a second notification.
            return str(response.json_object().get("name", ""))
        error = refused(response)
        if self._access_token and error.refusal is Refusal.CREDENTIALS:
            self._access_token.drop(token)
        raise error

    async def close(self) -> None:
        await self._http.close()


def payload(message: Message) -> bytes:
    """Returns the request's body. Raises Refused for data that JSON cannot represent, or with a reserved key.

    The tag and the collapse id make a second send replace the first on the device. There is no collapse_key: a device
    keeps only four of them, so one key per request would lose pushes. A link of the caller's own in ``data`` is kept.
    """
    content = message.content
    if content.data and (reserved := reserved_keys(content.data)):
        shown = ", ".join(reserved)[:100]
        raise Refused(Refusal.PAYLOAD_REJECTED, f"fcm: data has keys that FCM reserves for itself: {shown}")
    same = hashlib.sha256(message.key.encode()).hexdigest()[:32]
    android: dict[str, Any] = {"notification": {"tag": same}}
    apns, webpush = {"apns-collapse-id": same}, dict[str, Any]()
    if message.priority in _PRIORITY:
        android["priority"], apns["apns-priority"] = _PRIORITY[message.priority]
    body: dict[str, Any] = {
        "token": message.target,
        "notification": {"title": content.title, "body": content.body},
        "data": {**_strings(content.data), "request_id": message.request_id},
        "android": android,
        "apns": {"headers": apns, "payload": _APNS_PAYLOAD},
    }
    if message.life_s is not None:
        life_s = min(message.life_s, LONGEST_LIFE_S)
        android["ttl"] = f"{life_s}s"
        webpush["headers"] = {"TTL": str(life_s)}
    if message.expires_at_s is not None:
        apns["apns-expiration"] = str(message.expires_at_s)
    if content.link:
        body["data"].setdefault("link", content.link)
        # FCM refuses every other scheme here.
        if content.link.startswith("https://"):
            webpush["fcm_options"] = {"link": content.link}
    if webpush:
        body["webpush"] = webpush
    try:
        return orjson.dumps({"message": body})
    except orjson.JSONEncodeError as exc:
        raise Refused(Refusal.PAYLOAD_REJECTED, "fcm: the content cannot be written as JSON") from exc


def _strings(data: dict[str, Any]) -> dict[str, str]:
    """Returns ``data`` with every value that is no string as JSON text, because FCM accepts only strings."""
    try:
        return {key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in data.items()}
    except orjson.JSONEncodeError as exc:
        raise Refused(Refusal.PAYLOAD_REJECTED, "fcm: data cannot be written as JSON") from exc


def refused(response: Response) -> Refused:
    """Returns the refusal for an answer that is not 2xx; it has one for every answer."""
    error = _object(response.json_object().get("error"))
    details = [_object(detail) for detail in _list(error.get("details"))]
    code = next((str(detail["errorCode"]) for detail in details if "errorCode" in detail), "")
    status = str(error.get("status", ""))
    refusal = BY_ERROR_CODE.get(code) or BY_STATUS.get(status) or by_http_status(response.status)
    fields = [str(violation.get("field")) for violation in _inner(details, "fieldViolations")]
    if "INVALID_ARGUMENT" in (code, status if not code else ""):
        refusal = _by_fields(fields, str(error.get("message", "")))
    if refusal is Refusal.THROTTLED and _is_the_projects_quota(details):
        refusal = Refusal.RATE_EXCEEDED
    reason = next((str(detail["reason"]) for detail in details if detail.get("reason") in BY_APNS_REASON), "")
    if reason:
        refusal = BY_APNS_REASON[reason]
    known = code if code in BY_ERROR_CODE else status if status in BY_STATUS else "no known code"
    named = [field for field in fields if _FIELD.fullmatch(field)][:_MOST_FIELDS]
    text = " ".join([f"fcm {response.status} {known}", *([reason] if reason else []), ", ".join(named)]).rstrip()
    return Refused(refusal, text, response.retry_after_s, handed_over=response.failed_itself)


def _by_fields(fields: list[str], message: str) -> Refusal:
    """Returns what INVALID_ARGUMENT means; only a field of the message proves that it is the message's fault."""
    if "message.token" in fields or (not fields and "registration token" in message):
        return Refusal.RECIPIENT_INVALID
    if any(field == "message" or field.startswith("message.") for field in fields):
        return Refusal.PAYLOAD_REJECTED
    return Refusal.REJECTED


def _is_the_projects_quota(details: list[dict[str, Any]]) -> bool:
    return any(str(violation.get("subject", "")).startswith("project") for violation in _inner(details, "violations"))


def _inner(details: list[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    return (_object(violation) for detail in details for violation in _list(detail.get(name)))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _googles_reason(error: Exception) -> str:
    """Returns why Google gave no token, in its words: a wrong clock and a wrong key raise the same error.

    The words are OAuth's error and its description (RFC 6749, 5.2), which name no secret.
    """
    reason = str(error.args[0]) if error.args else ""
    printable = "".join(char if char.isprintable() else " " for char in reason)[:_LONGEST_REASON_CHARS]
    return f": {printable}" if printable else ""


class _ServiceAccount:
    """Gets tokens with a Google service account's key.

    firebase-admin is imported here and not at the top, because the import costs 0.1 s and 15 MB.
    """

    def __init__(self, key: str, proxy: Proxy | None = None) -> None:
        """Reads the key. Raises BadSettings if ``key`` is neither a key's JSON nor the path of a file with it."""
        from firebase_admin import credentials

        try:
            text = key if key.lstrip().startswith("{") else Path(key).expanduser().read_bytes()
            source = orjson.loads(text)
            self._certificate = credentials.Certificate(source)
        except (OSError, ValueError) as exc:
            # The exception's text is left out, because it may quote the key.
            raise BadSettings(
                [("FIREBASE_KEY", "must be a service account's key, or a readable file with one")]
            ) from exc
        self._transport = _transport(str(source.get("token_uri", "")), proxy)

    def grant(self) -> Granted:
        """Fetches a new token; blocks. Raises Refused: CREDENTIALS if Google refuses the key, else UNAVAILABLE."""
        from google.auth import exceptions

        try:
            credential = self._certificate.get_credential()
            credential.refresh(self._transport)
            token, expiry = credential.token, credential.expiry
        except exceptions.GoogleAuthError as exc:
            key_refused = isinstance(exc, exceptions.RefreshError) and not exc.retryable
            refusal = Refusal.CREDENTIALS if key_refused else Refusal.UNAVAILABLE
            raise Refused(refusal, f"fcm: no access token ({type(exc).__name__}{_googles_reason(exc)})") from exc
        # google-auth returns UTC without a time zone.
        return Granted(token, expiry.replace(tzinfo=UTC).timestamp())


def _transport(token_uri: str, proxy: Proxy | None) -> Any:
    """Returns the function with which google-auth posts its request, through the proxy if there is one."""
    from google.auth.transport.requests import Request

    request = Request()
    # It trusts the same authorities as the calls to FCM: the system's, or those of SSL_CERT_FILE.
    request.session.verify = ssl.get_default_verify_paths().cafile or True
    uri = urlsplit(token_uri)
    if proxy is None or not proxy.serves(Origin(uri.scheme, uri.hostname or "", uri.port or 443)):
        return request
    return partial(request, proxies={uri.scheme: proxy.url_with_credentials})
