"""Vonage SMS API: ``vonage://KEY:SECRET@[host[:port]]?from=Notify&tls=0&timeout=10``.

The outcome is in ``messages[0].status``; HTTP says 200 to nearly everything.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlencode

from shared.errors import DeliveryError, Unavailable
from shared.http.client import HttpClient, Response
from shared.providers.provider import Message
from shared.providers.refusal import Refusal, by_http_status
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

VENDOR_HOST = "rest.nexmo.com"
#: longest ``client-ref`` that the vendor takes, characters
CLIENT_REF_CHARS = 100

_ACCEPTED = "0"
#: ``messages[0].status`` -> what it means for us, and why: https://developer.vonage.com/en/api-errors/sms
#: (13, 16, 17, 19 and 20 are of older editions). 3 is RECIPIENT if the text names ``to``: see ``refused``.
BY_STATUS = {
    "1": (Refusal.QUOTA, "throttled"),
    "2": (Refusal.PAYLOAD, "parameter missing"),
    "3": (Refusal.PAYLOAD, "parameter not valid"),
    "4": (Refusal.OURS, "key or secret refused"),
    "5": (Refusal.DOWN, "internal error"),
    "6": (Refusal.RECIPIENT, "unroutable number"),
    "7": (Refusal.RECIPIENT, "number barred"),
    "8": (Refusal.OURS, "account barred"),
    "9": (Refusal.OURS, "no credit left"),
    "10": (Refusal.QUOTA, "too many connections"),
    "11": (Refusal.OURS, "account not enabled for HTTP"),
    "12": (Refusal.PAYLOAD, "message too long"),
    "13": (Refusal.DOWN, "communication failed"),
    "14": (Refusal.OURS, "signature refused"),
    # A matter of the destination's country: the other recipients pass, so the breaker must not open.
    "15": (Refusal.PAYLOAD, "sender not allowed at this destination"),
    "16": (Refusal.PAYLOAD, "TTL not valid"),
    "17": (Refusal.RECIPIENT, "number cannot be reached"),
    "19": (Refusal.PAYLOAD, "facility not allowed"),
    "20": (Refusal.PAYLOAD, "message class not valid"),
    "22": (Refusal.RECIPIENT, "network code not valid"),
    "23": (Refusal.OURS, "callback URL not valid"),
    "29": (Refusal.RECIPIENT, "number not on the account's list (trial account)"),
    "32": (Refusal.OURS, "secret not allowed beside a signature"),
    "33": (Refusal.RECIPIENT, "number de-activated"),
}

# GSM 03.38, basic and extension: what goes as text; anything else must be sent as unicode or arrives as question marks.
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà\f^{}\\[~]|€"
)


def build(url: ProviderUrl, settings: Settings) -> Vonage:
    """Raises BadSettings: key, secret or ``from`` missing, or an unknown option."""
    url.allow("from", "tls")
    if not url.username or not url.password:
        raise url.problem("must hold KEY:SECRET@")
    account = {"api_key": url.username, "api_secret": url.password, "from": url.required("from")}
    return Vonage(url.name, f"{url.http_base(VENDOR_HOST)}/sms/json", url.timeout_s, account)


class Vonage:
    """One account and sender."""

    def __init__(self, name: str, endpoint: str, timeout_s: float, account: dict[str, str]) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._endpoint = endpoint
        self._account = account
        self._headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        self._http = HttpClient()

    async def open(self) -> None:
        await self._http.open()

    async def send(self, message: Message) -> str:
        form = self._account | {
            "to": message.target.removeprefix("+"),
            "text": message.content.body,
            "type": "text" if _GSM.issuperset(message.content.body) else "unicode",
            "client-ref": client_ref(message.request_id),
        }
        response = await self._http.post(self._endpoint, urlencode(form).encode(), self._headers, self.timeout_s)
        first = _first_message(response)
        if first.get("status") == _ACCEPTED:
            return str(first.get("message-id", ""))
        raise refused(response)

    async def close(self) -> None:
        await self._http.close()


def client_ref(request_id: str) -> str:
    """The request_id, or 32 hex of its SHA-256 if the vendor would refuse it as too long."""
    if len(request_id) <= CLIENT_REF_CHARS:
        return request_id
    return hashlib.sha256(request_id.encode()).hexdigest()[:32]


def refused(response: Response) -> DeliveryError:
    """Our error for an answer whose first status is not 0; total."""
    first = _first_message(response)
    status = first.get("status")
    if isinstance(status, str) and status in BY_STATUS:
        refusal, why = BY_STATUS[status]
        if status == "3" and str(first.get("error-text", "")).rstrip().endswith(": to"):
            refusal = Refusal.RECIPIENT
        return refusal.error(f"vonage status {status}: {why}", response.retry_after_s)
    if response.ok:
        # Only the body says yes or no, and it cannot be read.
        return Unavailable("vonage: an answer without a known status", ambiguous=True)
    return by_http_status(response.status).error(f"vonage {response.status}: no known status", response.retry_after_s)


def _first_message(response: Response) -> dict[str, Any]:
    messages = response.json_object().get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    return first if isinstance(first, dict) else {}
