"""What a provider is to the rest of the system: a request that is prepared, and one call that sends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Content:
    """What a person gets to read, already rendered. ``subject`` falls back to ``title``."""

    body: str
    title: str = ""
    subject: str = ""
    html: str = ""
    link: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """One call to a provider. ``target`` is one push token, e-mail address or phone number."""

    request_id: str
    target: str
    content: Content
    #: high | medium | low, for vendors that know a priority
    priority: str = "medium"


Request = TypeVar("Request")


class Provider(Protocol[Request]):
    """A vendor. One ``send`` is exactly one request: no redirect, no inner retry, an explicit timeout."""

    @property
    def name(self) -> str:
        """Unique in its channel: the URL's scheme, with a number from the second of a kind on (smtp, smtp2)."""

    @property
    def timeout_s(self) -> float:
        """After this many seconds an unanswered send is given up (and is ambiguous)."""

    @property
    def connections(self) -> int:
        """How many sends can be at work at the same time; a further one would have to wait for a connection."""

    async def open(self) -> None:
        """Load credentials and open pools. Raises BadSettings."""

    def prepare(self, message: Message) -> Request:
        """Build the request for a message, without I/O.

        Raises Refused (``RECIPIENT_INVALID``, ``PAYLOAD_REJECTED``) if there can be none.
        """

    async def send(self, request: Request) -> str:
        """Send a prepared request; return the vendor's id for it ('' if it gives none). Ends within ``timeout_s``.

        Raises Refused, and nothing else that is foreseen.
        """

    async def close(self) -> None:
        """Close pools; never raises for a peer that is gone already."""
