"""Twilio SendGrid: ``sendgrid://KEY@[host[:port]]?from=notify@example.com&tls=0&timeout=10``."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import parseaddr
from typing import Any

import orjson

from shared.errors import DeliveryError, Impossible
from shared.http.client import HttpClient, Response
from shared.providers.provider import Message
from shared.providers.refusal import Refusal, by_http_status
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

VENDOR_HOST = "api.sendgrid.com"

#: HTTP status, the only code that SendGrid has:
#: https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/responses
#: 400 depends on the field that the answer names: see ``refused``.
BY_STATUS = {
    401: Refusal.OURS,
    # The key lacks the permission, or the sender is not verified.
    403: Refusal.OURS,
    404: Refusal.DOWN,
    405: Refusal.DOWN,
    406: Refusal.DOWN,
    413: Refusal.PAYLOAD,
    415: Refusal.DOWN,
    429: Refusal.QUOTA,
    500: Refusal.DOWN,
    503: Refusal.DOWN,
}


def build(url: ProviderUrl, settings: Settings) -> SendGrid:
    """Raises BadSettings: key or ``from`` missing, or an unknown option."""
    url.allow("from", "tls")
    if not url.username:
        raise url.problem("must hold the API key: sendgrid://KEY@")
    name, address = parseaddr(url.required("from"))
    if "@" not in address:
        raise url.problem("option from must be an e-mail address")
    sender = {"email": address, "name": name} if name else {"email": address}
    return SendGrid(url.name, f"{url.http_base(VENDOR_HOST)}/v3/mail/send", url.timeout_s, url.username, sender)


class SendGrid:
    """One account and sender."""

    def __init__(self, name: str, endpoint: str, timeout_s: float, key: str, sender: dict[str, str]) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._endpoint = endpoint
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._sender = sender
        self._http = HttpClient()

    async def open(self) -> None:
        await self._http.open()

    async def send(self, message: Message) -> str:
        response = await self._http.post(self._endpoint, self._body(message), self._headers, self.timeout_s)
        if response.ok:
            return response.headers.get("x-message-id") or ""
        raise refused(response)

    async def close(self) -> None:
        await self._http.close()

    def _body(self, message: Message) -> bytes:
        content = message.content
        parts = [{"type": "text/plain", "value": content.body}]
        if content.html:
            parts.append({"type": "text/html", "value": content.html})
        mail = {
            "personalizations": [
                {"to": [{"email": message.target}], "custom_args": {"request_id": message.request_id}}
            ],
            "from": self._sender,
            "subject": content.subject or content.title,
            "headers": {"X-Request-ID": message.request_id},
            "content": parts,
        }
        try:
            return orjson.dumps(mail)
        except orjson.JSONEncodeError as exc:
            raise Impossible("payload_rejected", "sendgrid: the content cannot be written as JSON") from exc


def refused(response: Response) -> DeliveryError:
    """Our error for an answer that is no 2xx; total."""
    fields = list(_fields(response))
    if response.status == 400 and fields:
        refusal = _by_fields(fields)
        return refusal.error(f"sendgrid 400: {fields[0][:100]} refused")
    refusal = BY_STATUS.get(response.status) or by_http_status(response.status)
    return refusal.error(f"sendgrid {response.status}", response.retry_after_s)


def _by_fields(fields: list[str]) -> Refusal:
    if any(field.startswith("from") for field in fields):
        return Refusal.OURS
    if any(field.startswith("personalizations") and ".to" in field for field in fields):
        return Refusal.RECIPIENT
    return Refusal.PAYLOAD


def _fields(response: Response) -> Iterator[str]:
    """The fields that the answer complains of."""
    errors: Any = response.json_object().get("errors")
    for error in errors if isinstance(errors, list) else ():
        field = error.get("field") if isinstance(error, dict) else None
        if isinstance(field, str) and field:
            yield field
