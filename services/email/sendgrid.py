"""Sends through Twilio SendGrid: ``sendgrid://KEY@[host[:port]]?from=notify@example.com&tls=0&timeout=10``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from services.email.addresses import recipient_of, sender_of
from services.email.mail.content import mail_content
from shared.errors import Refusal, Refused
from shared.http.client import CONNECTIONS_PER_ORIGIN, HttpClient, Response
from shared.http.proxy import Proxy
from shared.providers.provider import Message
from shared.providers.refusal import by_http_status
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

VENDOR_HOST = "api.sendgrid.com"

#: HTTP status -> refusal; the HTTP status is the only code that SendGrid has:
#: https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/responses
#: A 400 depends on the field that the answer names: see ``_by_fields``.
BY_STATUS = {
    401: Refusal.CREDENTIALS,
    # The key lacks the permission, or the sender is not verified.
    403: Refusal.CREDENTIALS,
    404: Refusal.UNAVAILABLE,
    405: Refusal.UNAVAILABLE,
    406: Refusal.UNAVAILABLE,
    413: Refusal.PAYLOAD_REJECTED,
    415: Refusal.UNAVAILABLE,
    429: Refusal.RATE_EXCEEDED,
    500: Refusal.UNAVAILABLE,
    503: Refusal.UNAVAILABLE,
}

#: The first words of the fields that come from the message; every other field is part of each request.
_OF_THE_CONTENT = ("subject", "content", "personalizations", "headers", "custom_args")


_ENCODED_WORD = re.compile(r"=\?[^?\s]+\?[bq]\?[^?]*\?=", re.IGNORECASE)


def build(url: ProviderUrl, settings: Settings) -> SendGrid:
    """Builds the provider. Raises BadSettings if the key or ``from`` is missing, or an option is unknown."""
    url.allow("from", "tls")
    if not url.username:
        raise url.problem("must contain the API key: sendgrid://KEY@")
    mailbox = sender_of(url)
    sender = {"email": str(mailbox.address)} | ({"name": mailbox.name} if mailbox.name else {})
    return SendGrid(url.name, f"{url.http_base(VENDOR_HOST)}/v3/mail/send", url.timeout_s, url.username, sender)


class SendGrid:
    """Sends with one account and one sender."""

    connections = CONNECTIONS_PER_ORIGIN

    def __init__(
        self, name: str, endpoint: str, timeout_s: float, key: str, sender: dict[str, str], proxy: Proxy | None = None
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._endpoint = endpoint
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._sender = sender
        self._http = HttpClient(proxy=proxy)

    async def open(self) -> None:
        await self._http.open()

    def prepare(self, message: Message) -> bytes:
        """Returns the request's body. Raises Refused for a target or a subject that no mail can have, or if JSON cannot
        represent the content.
        """
        recipient, content = recipient_of(message, "sendgrid"), mail_content(message.content)
        if _ENCODED_WORD.search(content.subject):
            # The vendor writes the header, and a subject in ASCII may be written as it is.
            detail = "sendgrid: the subject contains an encoded word of RFC 2047, which readers would decode"
            raise Refused(Refusal.PAYLOAD_REJECTED, detail)
        # An empty part would be refused.
        parts = [
            {"type": f"text/{kind}", "value": value}
            for kind, value in (("plain", content.text), ("html", content.html))
            if value
        ]
        mail = {
            "personalizations": [
                {"to": [{"email": str(recipient)}], "custom_args": {"request_id": message.request_id}}
            ],
            "from": self._sender,
            "subject": content.subject,
            "headers": {"X-Request-ID": message.request_id},
            "content": parts,
        }
        try:
            return orjson.dumps(mail)
        except orjson.JSONEncodeError as exc:
            raise Refused(Refusal.PAYLOAD_REJECTED, "sendgrid: the content cannot be written as JSON") from exc

    async def send(self, request: bytes) -> str:
        response = await self._http.post(self._endpoint, request, self._headers, self.timeout_s)
        if response.ok:
            return response.headers.get("x-message-id") or ""
        raise refused(response)

    async def close(self) -> None:
        await self._http.close()


def refused(response: Response) -> Refused:
    """Returns the refusal for an answer that is not 2xx; it has one for every answer."""
    fields = list(_fields(response))
    if response.status == 400 and fields:
        return Refused(_by_fields(fields), f"sendgrid 400: {fields[0][:100]} refused")
    refusal = BY_STATUS.get(response.status) or by_http_status(response.status)
    return Refused(refusal, f"sendgrid {response.status}", response.retry_after_s, handed_over=response.failed_itself)


def _by_fields(fields: list[str]) -> Refusal:
    if any(field.startswith("from") for field in fields):
        return Refusal.CREDENTIALS
    if any(field.startswith("personalizations") and ".to" in field for field in fields):
        return Refusal.RECIPIENT_INVALID
    if all(field.startswith(_OF_THE_CONTENT) for field in fields):
        return Refusal.PAYLOAD_REJECTED
    return Refusal.REJECTED


def _fields(response: Response) -> Iterator[str]:
    """Yields the fields that the answer rejects."""
    errors: Any = response.json_object().get("errors")
    for error in errors if isinstance(errors, list) else ():
        field = error.get("field") if isinstance(error, dict) else None
        if isinstance(field, str) and field:
            yield field
