"""Defines what a provider is to the rest of the system: it prepares a request, and one call sends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from shared.message.identity import scoped_id

# Nothing changes these two objects. They are not declared frozen, because each is built once for every message, and to
# build a frozen one takes three times as long.


@dataclass(slots=True)
class Content:
    """Holds the rendered content for a person. ``subject`` falls back to ``title``."""

    body: str
    title: str = ""
    subject: str = ""
    html: str = ""
    link: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Message:
    """Describes one call to a provider. ``target`` is one push token, e-mail address, phone number or user_id."""

    request_id: str
    target: str
    content: Content
    #: high | medium | low, for vendors that have priorities
    priority: str = "medium"
    #: How long the vendor may keep it for a recipient who cannot be reached, whole seconds; None if nothing limits it.
    life_s: int | None = None
    #: The end of that life, whole seconds since the epoch.
    expires_at_s: int | None = None
    #: the sender, '' if it is not known
    client: str = ""
    # The rest is for an inbox, which shows it to its user.
    #: how it is displayed: info | success | warning | error
    type: str = "info"
    category: str | None = None
    metadata: dict[str, Any] | None = None
    #: when it was accepted, milliseconds since the epoch
    accepted_ms: int = 0
    #: ``expires_at``, milliseconds since the epoch; None if its sender named no time, although its life ends then too
    expires_ms: int | None = None

    @property
    def key(self) -> str:
        """Returns the request_id within its sender's namespace, for ids by which a vendor or a device drops repeats."""
        return scoped_id(self.client, self.request_id)


def life_left_s(expires_ms: int, now_ms: int) -> int:
    """Returns ``life_s`` of a message whose life ends at ``expires_ms``.

    It is rounded down, because a vendor must not show what has expired, but never 0, which some take for "no limit".
    """
    return max(1, (expires_ms - now_ms) // 1000)


Request = TypeVar("Request")


class Provider(Protocol[Request]):
    """Calls one vendor. One ``send`` is exactly one request: no redirect, no inner retry, an explicit timeout."""

    @property
    def name(self) -> str:
        """Returns a name unique in the channel: the URL's scheme, numbered from the second one on (smtp, smtp2)."""

    @property
    def timeout_s(self) -> float:
        """Returns the seconds after which an unanswered send is given up (and is ambiguous)."""

    @property
    def connections(self) -> int:
        """Returns how many sends can be in progress at a time; a further one would wait for a connection."""

    async def open(self) -> None:
        """Loads credentials and opens pools. Raises BadSettings."""

    def prepare(self, message: Message) -> Request:
        """Builds the request for a message, without I/O.

        Raises Refused (``RECIPIENT_INVALID``, ``PAYLOAD_REJECTED``, ``UNSUPPORTED``) if no request can be built. It is
        called again if the message had to wait, because less of its life is left then.
        """

    async def send(self, request: Request) -> str:
        """Sends a prepared request within ``timeout_s``; returns the vendor's id for it ('' if it gives none).

        Raises Refused; any other error is a bug.
        """

    async def close(self) -> None:
        """Closes pools; does not raise if the peer has closed already."""
