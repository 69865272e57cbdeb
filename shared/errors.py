"""Every error of our own, named for what the caller does next.

NotifyError
├── BadSettings              names every bad variable: exit 2
├── InvalidEnvelope          the message is wrong: 422, or dead-letter
├── PublishFailed            not confirmed: 503, or publish again
│   ├── PublishUnroutable    returned by the broker: no queue is bound there
│   ├── PublishRejected      nacked: the queue is over its limit or has no leader
│   └── PublishUnknown       the answer never came: it may be stored
├── TopologyMismatch         a queue exists with other arguments: stop, let a human look
├── StoreUnavailable         Redis did not answer, is full or read-only: wait, do not count an attempt
├── BrokerUnavailable        RabbitMQ did not answer: 503, come back later
├── Locked                   another operator works on failed.queue: come back later
├── InvalidSelection         it does not say which failed messages: 422, or exit 2
├── SourceError              what a message needs could not be had
│   ├── SourceNotFound       no such user or template: dead-letter
│   ├── SourceUnavailable    the service is away: pause, keep the message
│   └── TemplateInvalid      cannot be rendered with these variables: dead-letter
└── DeliveryError            the provider did not accept
    ├── Impossible           trying again cannot help: dead-letter now
    ├── Throttled            the provider named a time: come back then
    ├── Unavailable          trying again may help: back off
    └── Misconfigured        our credentials: open the breaker, keep the message
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


class NotifyError(Exception):
    """Root of the tree above."""


class BadSettings(NotifyError):
    """``problems`` holds one (variable, what is wrong) a bad variable."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{name}: {why}" for name, why in self.problems))


class InvalidEnvelope(NotifyError):
    """``reason`` is a ``DeadReason``; ``problems`` holds one (field path, what is wrong) per bad field."""

    def __init__(self, reason: str, problems: Sequence[tuple[str, str]]) -> None:
        self.reason = reason
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{field}: {why}" if field else why for field, why in self.problems))


class PublishFailed(NotifyError):
    """Not confirmed by the broker."""


class PublishUnroutable(PublishFailed):
    """The broker returned the message: no queue took it."""


class PublishRejected(PublishFailed):
    """The broker refused the message: over a limit, or no leader."""


class PublishUnknown(PublishFailed):
    """The answer never came within the deadline; the message may be stored."""


class TopologyMismatch(NotifyError):
    """A queue or exchange exists with other arguments than ours; it is never deleted by us."""


class StoreUnavailable(NotifyError):
    """Redis did not answer, or could not write."""


class BrokerUnavailable(NotifyError):
    """RabbitMQ could not be reached, or stopped answering in the middle."""


class Locked(NotifyError):
    """Another operation on failed.queue is under way."""


class InvalidSelection(NotifyError):
    """Which failed messages are meant cannot be told; ``problems`` holds one (field, what is wrong) a bad field."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{field}: {why}" if field else why for field, why in self.problems))


class SourceError(NotifyError):
    """A user or a template could not be had; ``source`` is ``users`` or ``templates``."""

    def __init__(self, source: str, detail: str) -> None:
        self.source = source
        super().__init__(detail)


class SourceNotFound(SourceError):
    """The service says that there is no such thing."""


class SourceUnavailable(SourceError):
    """The service did not answer, or its breaker is open."""


class TemplateInvalid(SourceError):
    """The template cannot be rendered: a variable is missing (it is named), or its text is not a valid template."""


class DeliveryError(NotifyError):
    """The provider did not accept the message. The text is for operators: never a recipient, title or body in it."""


class Impossible(DeliveryError):
    """Trying again cannot help. ``reason`` goes to failed.queue."""

    def __init__(self, reason: Literal["recipient_invalid", "payload_rejected"], detail: str) -> None:
        self.reason: Literal["recipient_invalid", "payload_rejected"] = reason
        super().__init__(detail)


class Throttled(DeliveryError):
    """Too fast. ``retry_after_s`` is what the provider named, else None.

    ``scope`` is ``provider`` if the quota is the whole project's, ``recipient`` if it may be only this one's.
    """

    def __init__(
        self, detail: str, retry_after_s: float | None = None, scope: Literal["provider", "recipient"] = "recipient"
    ) -> None:
        self.retry_after_s = retry_after_s
        self.scope: Literal["provider", "recipient"] = scope
        super().__init__(detail)


class Unavailable(DeliveryError):
    """Trying again may help.

    ``ambiguous``: the request may have been accepted although no answer came (cut or timed out after the socket was
    opened). ``blames_provider``: the breaker counts it as a failure.
    ``retry_after_s``: named by the provider, else None.
    """

    def __init__(
        self,
        detail: str,
        *,
        ambiguous: bool = False,
        blames_provider: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        self.ambiguous = ambiguous
        self.blames_provider = blames_provider
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class Misconfigured(DeliveryError):
    """Our own credentials were refused: not the message's fault."""
