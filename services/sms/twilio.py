"""Sends through Twilio: ``twilio://SID:TOKEN@[host[:port]]?from=+15005550006&callback=https://...&tls=0&timeout=10``.

``from`` is a number, an alphanumeric sender or a messaging service (``MG...``). The HTTP status decides whether the
message was accepted. Twilio has no idempotency key, so an unanswered call stays ambiguous.
"""

from __future__ import annotations

import base64
from urllib.parse import quote, urlencode

from services.sms.recipient import number_of
from shared.errors import Refusal, Refused
from shared.http.client import CONNECTIONS_PER_ORIGIN, HttpClient, Response
from shared.http.proxy import Proxy
from shared.providers.provider import Message
from shared.providers.refusal import by_http_status
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

VENDOR_HOST = "api.twilio.com"
#: Longest ``ValidityPeriod``, seconds: https://www.twilio.com/docs/api/errors/21624
LONGEST_LIFE_S = 36_000

#: ``code`` in Twilio's answer -> (refusal, why): https://www.twilio.com/docs/api/errors
#: The 30xxx codes usually arrive by status callback; they mean the same here.
BY_CODE = {
    10001: (Refusal.CREDENTIALS, "account not active"),
    14107: (Refusal.RATE_EXCEEDED, "message rate exceeded"),
    20003: (Refusal.CREDENTIALS, "SID or token refused"),
    20005: (Refusal.CREDENTIALS, "account not active"),
    20006: (Refusal.CREDENTIALS, "access denied"),
    20008: (Refusal.CREDENTIALS, "test credentials"),
    20403: (Refusal.CREDENTIALS, "forbidden"),
    20404: (Refusal.CREDENTIALS, "no such account"),
    20429: (Refusal.RATE_EXCEEDED, "too many requests"),
    20500: (Refusal.UNAVAILABLE, "internal error"),
    20503: (Refusal.UNAVAILABLE, "service unavailable"),
    21201: (Refusal.RECIPIENT_INVALID, "no To"),
    21210: (Refusal.CREDENTIALS, "From not verified"),
    21211: (Refusal.RECIPIENT_INVALID, "To is not a phone number"),
    21212: (Refusal.CREDENTIALS, "From is not a phone number"),
    21214: (Refusal.RECIPIENT_INVALID, "To cannot be reached"),
    21217: (Refusal.RECIPIENT_INVALID, "To does not look like a phone number"),
    21219: (Refusal.REJECTED, "To not verified (trial account)"),
    21221: (Refusal.RECIPIENT_INVALID, "To is not valid"),
    21264: (Refusal.UNSUPPORTED, "To and From are of different channels"),
    21265: (Refusal.RECIPIENT_INVALID, "To is a short code"),
    21266: (Refusal.RECIPIENT_INVALID, "To is From"),
    21267: (Refusal.CREDENTIALS, "alphanumeric From on a trial account"),
    21268: (Refusal.RECIPIENT_INVALID, "To is a premium number"),
    # The account's geographic permissions exclude this recipient; others are accepted, and another vendor may do it.
    21408: (Refusal.UNSUPPORTED, "region of To not enabled for this account"),
    21601: (Refusal.CREDENTIALS, "From cannot send SMS"),
    21602: (Refusal.PAYLOAD_REJECTED, "no body"),
    21603: (Refusal.CREDENTIALS, "no From"),
    21604: (Refusal.RECIPIENT_INVALID, "no To"),
    21605: (Refusal.PAYLOAD_REJECTED, "body longer than 160 characters"),
    21606: (Refusal.CREDENTIALS, "From is not a number of this account"),
    21608: (Refusal.REJECTED, "To not verified (trial account)"),
    21609: (Refusal.CREDENTIALS, "StatusCallback is not a valid URL"),
    21610: (Refusal.RECIPIENT_INVALID, "To has unsubscribed"),
    21611: (Refusal.RATE_EXCEEDED, "queue of From is full"),
    21612: (Refusal.UNSUPPORTED, "To cannot be reached from From"),
    21614: (Refusal.RECIPIENT_INVALID, "To is not a mobile number"),
    21617: (Refusal.PAYLOAD_REJECTED, "body longer than 1600 characters"),
    21619: (Refusal.PAYLOAD_REJECTED, "no body"),
    21635: (Refusal.RECIPIENT_INVALID, "To is a landline"),
    21656: (Refusal.REJECTED, "content not valid"),
    21659: (Refusal.CREDENTIALS, "From is not a Twilio number"),
    21660: (Refusal.CREDENTIALS, "From belongs to another account"),
    21661: (Refusal.CREDENTIALS, "From cannot send SMS"),
    21701: (Refusal.CREDENTIALS, "no such messaging service"),
    21703: (Refusal.CREDENTIALS, "messaging service without a sender"),
    21704: (Refusal.CREDENTIALS, "messaging service without a sender"),
    30001: (Refusal.RATE_EXCEEDED, "queue overflow"),
    30002: (Refusal.CREDENTIALS, "account suspended"),
    30003: (Refusal.RECIPIENT_TEMPORARY, "handset unreachable"),
    30004: (Refusal.RECIPIENT_INVALID, "blocked by the carrier or the recipient"),
    30005: (Refusal.RECIPIENT_INVALID, "unknown handset"),
    30006: (Refusal.RECIPIENT_INVALID, "landline or unreachable carrier"),
    30007: (Refusal.REJECTED, "filtered by the carrier"),
    30008: (Refusal.RECIPIENT_TEMPORARY, "unknown error at the carrier"),
    30009: (Refusal.UNAVAILABLE, "segment lost"),
    30010: (Refusal.REJECTED, "price above the given maximum"),
    30011: (Refusal.UNSUPPORTED, "MMS not supported there"),
    30022: (Refusal.RATE_EXCEEDED, "carrier's rate for the campaign exceeded"),
    30023: (Refusal.QUOTA_EXCEEDED, "carrier's daily limit for the brand reached"),
    30024: (Refusal.CREDENTIALS, "From not provisioned by the carrier"),
    30027: (Refusal.QUOTA_EXCEEDED, "carrier's daily limit for the campaign reached"),
    30032: (Refusal.CREDENTIALS, "toll-free From not verified"),
    30033: (Refusal.CREDENTIALS, "campaign suspended"),
    30034: (Refusal.CREDENTIALS, "From not registered (A2P 10DLC)"),
    30035: (Refusal.CREDENTIALS, "From being configured by the carrier"),
    30036: (Refusal.RECIPIENT_TEMPORARY, "validity period over"),
    30044: (Refusal.CREDENTIALS, "body too long for a trial account"),
    30410: (Refusal.UNAVAILABLE, "carrier timed out"),
    30450: (Refusal.REJECTED, "blocked by the pumping protection"),
    30453: (Refusal.REJECTED, "cannot be delivered with this content"),
    30454: (Refusal.THROTTLED, "messages to this destination limited"),
    30500: (Refusal.UNAVAILABLE, "internal error"),
    63038: (Refusal.QUOTA_EXCEEDED, "account's daily limit reached"),
}


def build(url: ProviderUrl, settings: Settings) -> Twilio:
    """Builds the provider. Raises BadSettings if SID, token or ``from`` is missing, or an option is unknown."""
    url.allow("from", "callback", "tls")
    if not url.username or not url.password:
        raise url.problem("must contain SID:TOKEN@")
    endpoint = f"{url.http_base(VENDOR_HOST)}/2010-04-01/Accounts/{quote(url.username, safe='')}/Messages.json"
    credentials = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    return Twilio(
        url.name,
        endpoint,
        url.timeout_s,
        credentials,
        url.required("from"),
        callback=url.options.get("callback", ""),
        region=settings.recipients.phone_region,
        proxy=Proxy.of(settings.providers),
    )


class Twilio:
    """Sends with one account and one sender."""

    connections = CONNECTIONS_PER_ORIGIN

    def __init__(
        self,
        name: str,
        endpoint: str,
        timeout_s: float,
        credentials: str,
        sender: str,
        *,
        callback: str,
        region: str | None,
        proxy: Proxy | None = None,
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._endpoint = endpoint
        self._headers = {
            "authorization": f"Basic {credentials}",
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }
        self._sender = ("MessagingServiceSid" if sender.startswith("MG") else "From", sender)
        self._callback = callback
        self._region = region
        self._http = HttpClient(proxy=proxy)

    async def open(self) -> None:
        await self._http.open()

    def prepare(self, message: Message) -> bytes:
        """Returns the request's form. Raises Refused for a target that is no phone number."""
        form = [("To", number_of(message, self._region)), self._sender, ("Body", message.content.body)]
        if message.life_s is not None:
            form.append(("ValidityPeriod", str(min(message.life_s, LONGEST_LIFE_S))))
        if self._callback:
            joint = "&" if "?" in self._callback else "?"
            form.append(("StatusCallback", f"{self._callback}{joint}{urlencode({'request_id': message.request_id})}"))
        return urlencode(form).encode()

    async def send(self, request: bytes) -> str:
        response = await self._http.post(self._endpoint, request, self._headers, self.timeout_s)
        if response.ok:
            return str(response.json_object().get("sid", ""))
        raise refused(response)

    async def close(self) -> None:
        await self._http.close()


def refused(response: Response) -> Refused:
    """Returns the refusal for an answer that is not 2xx; it has one for every answer."""
    code = response.json_object().get("code")
    row = BY_CODE.get(code) if isinstance(code, int) else None
    refusal, why = row or (by_http_status(response.status), "no known code")
    detail = f"twilio {response.status} {code}: {why}" if row else f"twilio {response.status}: {why}"
    return Refused(refusal, detail, response.retry_after_s, handed_over=response.failed_itself)
