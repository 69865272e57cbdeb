"""Sends through the Vonage SMS API: ``vonage://KEY:SECRET@[host[:port]]?from=Notify&tls=0&timeout=10``.

A long message is sent in parts. ``messages`` has an entry for each part, and its ``status`` says whether the part was
accepted; the HTTP status is nearly always 200.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import urlencode

from services.sms.recipient import number_of
from shared.errors import Refusal, Refused
from shared.http.client import CONNECTIONS_PER_ORIGIN, HttpClient, Response
from shared.http.proxy import Proxy
from shared.providers.provider import Message
from shared.providers.refusal import by_http_status
from shared.providers.urls import ProviderUrl
from shared.settings.settings import Settings

VENDOR_HOST = "rest.nexmo.com"
#: Longest ``client-ref`` that the vendor accepts, characters.
CLIENT_REF_CHARS = 100
#: Shortest and longest ``ttl``, milliseconds: https://developer.vonage.com/en/api/sms#send-an-sms
SHORTEST_LIFE_MS, LONGEST_LIFE_MS = 20_000, 604_800_000

_ACCEPTED = "0"
#: ``status`` of a part -> (refusal, why): https://developer.vonage.com/en/api-errors/sms
#: (13, 16, 17, 19 and 20 are from older editions). 2 and 3 depend on the parameter that the text names: see
#: ``BY_PARAMETER``.
BY_STATUS = {
    "1": (Refusal.RATE_EXCEEDED, "throttled"),
    "2": (Refusal.REJECTED, "parameter missing"),
    "3": (Refusal.REJECTED, "parameter not valid"),
    "4": (Refusal.CREDENTIALS, "key or secret refused"),
    "5": (Refusal.UNAVAILABLE, "internal error"),
    "6": (Refusal.RECIPIENT_INVALID, "unroutable number"),
    "7": (Refusal.RECIPIENT_INVALID, "number barred"),
    "8": (Refusal.CREDENTIALS, "account barred"),
    "9": (Refusal.CREDENTIALS, "no credit left"),
    "10": (Refusal.RATE_EXCEEDED, "too many connections"),
    "11": (Refusal.CREDENTIALS, "account not enabled for HTTP"),
    "12": (Refusal.PAYLOAD_REJECTED, "message too long"),
    "13": (Refusal.UNAVAILABLE, "communication failed"),
    "14": (Refusal.CREDENTIALS, "signature refused"),
    # It depends on the destination's country; other recipients are accepted, and another vendor may accept this one.
    "15": (Refusal.UNSUPPORTED, "sender not allowed at this destination"),
    "16": (Refusal.PAYLOAD_REJECTED, "TTL not valid"),
    "17": (Refusal.RECIPIENT_INVALID, "number cannot be reached"),
    "19": (Refusal.REJECTED, "facility not allowed"),
    "20": (Refusal.PAYLOAD_REJECTED, "message class not valid"),
    "22": (Refusal.RECIPIENT_INVALID, "network code not valid"),
    "23": (Refusal.CREDENTIALS, "callback URL not valid"),
    "29": (Refusal.REJECTED, "number not on the account's list (trial account)"),
    "32": (Refusal.CREDENTIALS, "secret not allowed beside a signature"),
    "33": (Refusal.RECIPIENT_INVALID, "number de-activated"),
}

#: The parameter that is missing or not valid -> refusal. The others are the account's part of each request.
BY_PARAMETER = {
    "to": Refusal.RECIPIENT_INVALID,
    "text": Refusal.PAYLOAD_REJECTED,
    "type": Refusal.PAYLOAD_REJECTED,
    "from": Refusal.CREDENTIALS,
    "api_key": Refusal.CREDENTIALS,
    "api_secret": Refusal.CREDENTIALS,
}
_NAMES_A_PARAMETER = frozenset(("2", "3"))
#: The last word of a text such as "Invalid value for parameter: to" or "Missing from".
_LAST_WORD = re.compile(r"([\w-]+)\W*\Z")

# GSM 03.38, basic and extension: the characters that can go as text. A message with any other character must be sent as
# unicode, or that character arrives as a question mark.
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà\f^{}\\[~]|€"
)


def build(url: ProviderUrl, settings: Settings) -> Vonage:
    """Builds the provider. Raises BadSettings if key, secret or ``from`` is missing, or an option is unknown."""
    url.allow("from", "tls")
    if not url.username or not url.password:
        raise url.problem("must contain KEY:SECRET@")
    account = {"api_key": url.username, "api_secret": url.password, "from": url.required("from")}
    return Vonage(
        url.name,
        f"{url.http_base(VENDOR_HOST)}/sms/json",
        url.timeout_s,
        account,
        region=settings.recipients.phone_region,
        proxy=Proxy.of(settings.providers),
    )


class Vonage:
    """Sends with one account and one sender."""

    connections = CONNECTIONS_PER_ORIGIN

    def __init__(
        self,
        name: str,
        endpoint: str,
        timeout_s: float,
        account: dict[str, str],
        *,
        region: str | None,
        proxy: Proxy | None = None,
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._endpoint = endpoint
        self._account = account
        self._region = region
        self._headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        self._http = HttpClient(proxy=proxy)

    async def open(self) -> None:
        await self._http.open()

    def prepare(self, message: Message) -> bytes:
        """Returns the request's form. Raises Refused for a target that is no phone number."""
        form = self._account | {
            "to": number_of(message, self._region).removeprefix("+"),
            "text": message.content.body,
            "type": "text" if _GSM.issuperset(message.content.body) else "unicode",
            "client-ref": client_ref(message.request_id),
        }
        if message.life_s is not None:
            form["ttl"] = str(min(max(message.life_s * 1000, SHORTEST_LIFE_MS), LONGEST_LIFE_MS))
        return urlencode(form).encode()

    async def send(self, request: bytes) -> str:
        response = await self._http.post(self._endpoint, request, self._headers, self.timeout_s)
        parts = _parts(response)
        if all(part.get("status") == _ACCEPTED for part in parts):
            return str(parts[0].get("message-id", ""))
        raise refused(response)

    async def close(self) -> None:
        await self._http.close()


def client_ref(request_id: str) -> str:
    """Returns the request_id, or 32 hex digits of its SHA-256 if the vendor would refuse it as too long."""
    if len(request_id) <= CLIENT_REF_CHARS:
        return request_id
    return hashlib.sha256(request_id.encode()).hexdigest()[:32]


def refused(response: Response) -> Refused:
    """Returns the refusal for an answer in which not every part is accepted; it has one for every answer.

    It is ambiguous if some parts were accepted: the recipient may get a piece of the message, and a retry sends all.
    """
    parts = _parts(response)
    not_accepted = [part for part in parts if part.get("status") != _ACCEPTED]
    failed = not_accepted[0] if not_accepted else {}
    partly = len(not_accepted) < len(parts)
    status = failed.get("status")
    if isinstance(status, str) and status in BY_STATUS:
        refusal, why = BY_STATUS[status]
        if status in _NAMES_A_PARAMETER and (found := _LAST_WORD.search(str(failed.get("error-text", "")))):
            refusal = BY_PARAMETER.get(found[1], refusal)
        if partly:
            why = f"{why}; {len(parts) - len(not_accepted)} of {len(parts)} parts were accepted"
        return Refused(
            refusal,
            f"vonage status {status}: {why}",
            response.retry_after_s,
            ambiguous=partly,
            handed_over=refusal is Refusal.UNAVAILABLE,
        )
    if response.ok:
        # Only the body says whether the message was accepted, and it cannot be read.
        return Refused(Refusal.UNAVAILABLE, "vonage: an answer without a known status", ambiguous=True)
    detail = f"vonage {response.status}: no known status"
    refusal = by_http_status(response.status)
    return Refused(refusal, detail, response.retry_after_s, handed_over=response.failed_itself)


def _parts(response: Response) -> list[dict[str, Any]]:
    """Returns an entry for each part, at least one; an empty one stands for a part about which nothing can be read."""
    answer = response.json_object()
    messages = answer.get("messages")
    parts = [part if isinstance(part, dict) else {} for part in messages] if isinstance(messages, list) else []
    count = str(answer.get("message-count", ""))
    missing = int(count) - len(parts) if count.isascii() and count.isdigit() and len(count) < 4 else 0
    unread: list[dict[str, Any]] = [{}]
    return parts + unread * missing or unread
