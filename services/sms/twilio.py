"""Twilio: ``twilio://SID:TOKEN@[host[:port]]?from=+15005550006&callback=https://...&tls=0&timeout=10``.

``from`` is a number, an alphanumeric sender or a messaging service (``MG...``). The outcome is decided by the HTTP
status. Twilio has no idempotency key: an unanswered call stays ambiguous.
"""

from __future__ import annotations

import base64
from urllib.parse import quote, urlencode

from shared.errors import DeliveryError
from shared.http.client import HttpClient, Response
from shared.providers.provider import Message
from shared.providers.refusal import Refusal, by_http_status
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

VENDOR_HOST = "api.twilio.com"

#: ``code`` in Twilio's answer -> what it means for us, and why: https://www.twilio.com/docs/api/errors
#: The 30xxx ones usually come by status callback; they mean the same here.
BY_CODE = {
    10001: (Refusal.OURS, "account not active"),
    14107: (Refusal.QUOTA, "message rate exceeded"),
    20003: (Refusal.OURS, "SID or token refused"),
    20005: (Refusal.OURS, "account not active"),
    20006: (Refusal.OURS, "access denied"),
    20008: (Refusal.OURS, "test credentials"),
    20403: (Refusal.OURS, "forbidden"),
    20404: (Refusal.OURS, "no such account"),
    20429: (Refusal.QUOTA, "too many requests"),
    20500: (Refusal.DOWN, "internal error"),
    20503: (Refusal.DOWN, "service unavailable"),
    21201: (Refusal.RECIPIENT, "no To"),
    21210: (Refusal.OURS, "From not verified"),
    21211: (Refusal.RECIPIENT, "To is not a phone number"),
    21212: (Refusal.OURS, "From is not a phone number"),
    21214: (Refusal.RECIPIENT, "To cannot be reached"),
    21217: (Refusal.RECIPIENT, "To does not look like a phone number"),
    21219: (Refusal.RECIPIENT, "To not verified (trial account)"),
    21221: (Refusal.RECIPIENT, "To is not valid"),
    21264: (Refusal.RECIPIENT, "To and From are of different channels"),
    21265: (Refusal.RECIPIENT, "To is a short code"),
    21266: (Refusal.RECIPIENT, "To is From"),
    21267: (Refusal.OURS, "alphanumeric From on a trial account"),
    21268: (Refusal.RECIPIENT, "To is a premium number"),
    # The account's geographic permissions: the other recipients pass, so the breaker must not open.
    21408: (Refusal.RECIPIENT, "region of To not enabled for this account"),
    21601: (Refusal.OURS, "From cannot send SMS"),
    21602: (Refusal.PAYLOAD, "no body"),
    21603: (Refusal.OURS, "no From"),
    21604: (Refusal.RECIPIENT, "no To"),
    21605: (Refusal.PAYLOAD, "body longer than 160 characters"),
    21606: (Refusal.OURS, "From is not a number of this account"),
    21608: (Refusal.RECIPIENT, "To not verified (trial account)"),
    21609: (Refusal.OURS, "StatusCallback is not a valid URL"),
    21610: (Refusal.RECIPIENT, "To has unsubscribed"),
    21611: (Refusal.QUOTA, "queue of From is full"),
    21612: (Refusal.RECIPIENT, "To cannot be reached from From"),
    21614: (Refusal.RECIPIENT, "To is not a mobile number"),
    21617: (Refusal.PAYLOAD, "body longer than 1600 characters"),
    21619: (Refusal.PAYLOAD, "no body"),
    21635: (Refusal.RECIPIENT, "To is a landline"),
    21656: (Refusal.PAYLOAD, "content not valid"),
    21659: (Refusal.OURS, "From is not a Twilio number"),
    21660: (Refusal.OURS, "From belongs to another account"),
    21661: (Refusal.OURS, "From cannot send SMS"),
    21701: (Refusal.OURS, "no such messaging service"),
    21703: (Refusal.OURS, "messaging service without a sender"),
    21704: (Refusal.OURS, "messaging service without a sender"),
    30001: (Refusal.QUOTA, "queue overflow"),
    30002: (Refusal.OURS, "account suspended"),
    30003: (Refusal.BEYOND, "handset unreachable"),
    30004: (Refusal.RECIPIENT, "blocked by the carrier or the recipient"),
    30005: (Refusal.RECIPIENT, "unknown handset"),
    30006: (Refusal.RECIPIENT, "landline or unreachable carrier"),
    30007: (Refusal.PAYLOAD, "filtered by the carrier"),
    30008: (Refusal.BEYOND, "unknown error at the carrier"),
    30009: (Refusal.DOWN, "segment lost"),
    30010: (Refusal.PAYLOAD, "price above the given maximum"),
    30011: (Refusal.PAYLOAD, "MMS not supported there"),
    30022: (Refusal.QUOTA, "carrier's rate for the campaign exceeded"),
    30023: (Refusal.QUOTA, "carrier's daily limit for the brand reached"),
    30024: (Refusal.OURS, "From not provisioned by the carrier"),
    30027: (Refusal.QUOTA, "carrier's daily limit for the campaign reached"),
    30032: (Refusal.OURS, "toll-free From not verified"),
    30033: (Refusal.OURS, "campaign suspended"),
    30034: (Refusal.OURS, "From not registered (A2P 10DLC)"),
    30035: (Refusal.OURS, "From being configured by the carrier"),
    30036: (Refusal.BEYOND, "validity period over"),
    30044: (Refusal.PAYLOAD, "body too long for a trial account"),
    30410: (Refusal.DOWN, "carrier timed out"),
    30450: (Refusal.RECIPIENT, "blocked by the pumping protection"),
    30453: (Refusal.PAYLOAD, "couldn't be delivered as written"),
    30454: (Refusal.QUOTA, "messages to this destination limited"),
    30500: (Refusal.DOWN, "internal error"),
    63038: (Refusal.QUOTA, "account's daily limit reached"),
}


def build(url: ProviderUrl, settings: Settings) -> Twilio:
    """Raises BadSettings: SID, token or ``from`` missing, or an unknown option."""
    url.allow("from", "callback", "tls")
    if not url.username or not url.password:
        raise url.problem("must hold SID:TOKEN@")
    endpoint = f"{url.http_base(VENDOR_HOST)}/2010-04-01/Accounts/{quote(url.username, safe='')}/Messages.json"
    credentials = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    return Twilio(url.name, endpoint, url.timeout_s, credentials, url.required("from"), url.options.get("callback", ""))


class Twilio:
    """One account and sender."""

    def __init__(
        self, name: str, endpoint: str, timeout_s: float, credentials: str, sender: str, callback: str
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
        self._http = HttpClient()

    async def open(self) -> None:
        await self._http.open()

    async def send(self, message: Message) -> str:
        form = [("To", message.target), self._sender, ("Body", message.content.body)]
        if self._callback:
            joint = "&" if "?" in self._callback else "?"
            form.append(("StatusCallback", f"{self._callback}{joint}{urlencode({'request_id': message.request_id})}"))
        body = urlencode(form).encode()
        response = await self._http.post(self._endpoint, body, self._headers, self.timeout_s)
        if response.ok:
            return str(response.json_object().get("sid", ""))
        raise refused(response)

    async def close(self) -> None:
        await self._http.close()


def refused(response: Response) -> DeliveryError:
    """Our error for an answer that is no 2xx; total."""
    code = response.json_object().get("code")
    row = BY_CODE.get(code) if isinstance(code, int) else None
    refusal, why = row or (by_http_status(response.status), "no known code")
    detail = f"twilio {response.status} {code}: {why}" if row else f"twilio {response.status}: {why}"
    return refusal.error(detail, response.retry_after_s)
