"""Every error of our own, named for what the caller does next.

NotifyError
├── BadSettings              names every bad variable: exit 2
├── InvalidEnvelope          the message is wrong: 422, or dead-letter
├── PublishFailed            not confirmed: 503, or publish again
│   ├── PublishUnroutable    returned by the broker: no queue is bound there
│   ├── PublishRejected      nacked: the queue is over its limit or has no leader
│   └── PublishUnknown       the answer never came: it may be stored
├── TopologyMismatch         a queue exists with other arguments: stop, let a human look
├── RedisUnavailable         Redis did not answer, is full or read-only: wait, do not count an attempt
├── BrokerUnavailable        RabbitMQ did not answer: 503, come back later
├── Locked                   another operator works on failed.queue: come back later
├── InvalidSelection         it does not say which failed messages: 422, or exit 2
├── SourceError              what a message needs could not be had
│   ├── SourceNotFound       no such user or template: dead-letter
│   ├── SourceUnavailable    the service is away: pause, keep the message
│   └── TemplateInvalid      cannot be rendered with these variables: dead-letter
└── Refused                  the provider did not accept; its ``refusal`` says what follows
    └── Unavailable          no answer came
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto


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


class RedisUnavailable(NotifyError):
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


class Refusal(Enum):
    """What a provider's refusal means. An answer that no table knows is ``UNAVAILABLE``: only what is surely hopeless
    is given up.
    """

    #: this recipient can never be reached
    RECIPIENT_INVALID = auto()
    #: this content will never be accepted
    PAYLOAD_REJECTED = auto()
    #: too fast, perhaps only for this recipient
    THROTTLED = auto()
    #: the quota of our whole account is used up
    QUOTA_EXCEEDED = auto()
    #: the provider is down, or did not answer
    UNAVAILABLE = auto()
    #: something behind the provider fails for this recipient only: the provider's breaker must not count it
    RECIPIENT_TEMPORARY = auto()
    #: our account or credentials were refused: no message of this process would be accepted
    CREDENTIALS = auto()


class Refused(NotifyError):
    """The provider did not accept the message.

    ``detail`` is for operators: it names codes, never a recipient, a title or a body. ``retry_after_s`` is what the
    provider named, seconds, else None. ``ambiguous``: the request may have been accepted although no answer came (cut
    or timed out after its first byte was written).
    """

    def __init__(
        self, refusal: Refusal, detail: str, retry_after_s: float | None = None, *, ambiguous: bool = False
    ) -> None:
        self.refusal = refusal
        self.retry_after_s = retry_after_s
        self.ambiguous = ambiguous
        super().__init__(detail)


class Unavailable(Refused):
    """No answer came at all. The HTTP client and the SMTP session raise it: they know no vendor's codes."""

    def __init__(self, detail: str, *, ambiguous: bool = False) -> None:
        super().__init__(Refusal.UNAVAILABLE, detail, ambiguous=ambiguous)
