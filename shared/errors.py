"""Defines every error of the product, by what the caller does next.

NotifyError
├── BadSettings              names every bad variable: exit 2
│   └── SchemaMismatch       the database is older or newer than the code: exit 2
├── InvalidEnvelope          the message is invalid: 422, or dead-letter
├── PublishFailed            not confirmed: 503, or publish again
│   ├── PublishUnroutable    returned by the broker: no queue is bound there
│   ├── PublishRejected      nacked: the queue is over its limit or has no leader
│   └── PublishUnknown       the answer never came: it may be stored
├── TopologyMismatch         a queue exists with other arguments: stop, let a human look
├── RedisUnavailable         Redis did not answer, is full or read-only: wait, do not count an attempt
├── StoreUnavailable         the database did not answer, is busy, full or read-only: wait, do not count an attempt
├── DataRejected             no database can hold this value: 422
├── BrokerUnavailable        RabbitMQ did not answer: 503, come back later
├── Locked                   another operation on failed.queue is in progress: come back later
├── InvalidSelection         the selection of failed messages is invalid: 422, or exit 2
├── SourceError              a user or a template could not be found or used
│   ├── SourceNotFound       no such user or template: dead-letter
│   ├── SourceUnreadable     the service's record of this user or template cannot be read: dead-letter
│   ├── SourceUnavailable    the service is unavailable: pause, keep the message
│   └── TemplateInvalid      cannot be rendered with these variables: dead-letter
└── Refused                  the provider did not accept the message; its ``refusal`` says what follows
    └── Unavailable          no answer came
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto


class NotifyError(Exception):
    """Is the base class of the tree above."""


class BadSettings(NotifyError):
    """Says that settings are invalid. ``problems`` holds one (variable, what is wrong) per bad variable."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{name}: {why}" for name, why in self.problems))


class SchemaMismatch(BadSettings):
    """Says that the tables of the database are older or newer than this version, or cannot be used, and what to do.

    ``empty``: there are no tables at all.
    """

    def __init__(self, problem: str, *, empty: bool = False) -> None:
        self.empty = empty
        super().__init__([("DATABASE_URL", problem)])


class InvalidEnvelope(NotifyError):
    """Says that an envelope is invalid.

    ``reason`` is a ``DeadReason``; ``problems`` holds one (field path, what is wrong) per bad field.
    """

    def __init__(self, reason: str, problems: Sequence[tuple[str, str]]) -> None:
        self.reason = reason
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{field}: {why}" if field else why for field, why in self.problems))


class PublishFailed(NotifyError):
    """Says that the broker did not confirm the message."""


class PublishUnroutable(PublishFailed):
    """Says that the broker returned the message, because no queue is bound for it."""


class PublishRejected(PublishFailed):
    """Says that the broker refused the message: the queue is over its limit, or has no leader."""


class PublishUnknown(PublishFailed):
    """Says that the broker did not answer within the deadline; the message may be stored."""


class TopologyMismatch(NotifyError):
    """Says that a queue or exchange exists with other arguments; this system never deletes it."""


class RedisUnavailable(NotifyError):
    """Says that Redis did not answer, or could not write."""


class StoreUnavailable(NotifyError):
    """Says that the database of the inboxes did not answer in time, or could not write.

    What was to be written may have been committed all the same: write it again.
    """


class DataRejected(NotifyError):
    """Says that the database refuses a value, and always will. The text shows no content."""


class BrokerUnavailable(NotifyError):
    """Says that RabbitMQ could not be reached, or stopped answering during an operation."""


class Locked(NotifyError):
    """Says that another operation on failed.queue is in progress."""


class InvalidSelection(NotifyError):
    """Says that a selection of failed messages is invalid. ``problems``: one (field, what is wrong) per bad field."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{field}: {why}" if field else why for field, why in self.problems))


class SourceError(NotifyError):
    """Says that a user or a template could not be found or used; ``source`` is ``users`` or ``templates``."""

    def __init__(self, source: str, detail: str) -> None:
        self.source = source
        super().__init__(detail)


class SourceNotFound(SourceError):
    """Says that the service has no such user or template."""


class SourceUnreadable(SourceError):
    """Says that the service answered with a record that cannot be read, which is the fault of this record alone."""


class SourceUnavailable(SourceError):
    """Says that the service did not answer, or that its breaker is open."""


class TemplateInvalid(SourceError):
    """Says that the template cannot be rendered: a variable is missing (the text names it), or its text is invalid."""


class Refusal(Enum):
    """Says what a provider's refusal means.

    An answer that no table knows is ``UNAVAILABLE``: a message is given up only if a retry certainly cannot help.
    The first four are permanent. Only those that are ``proven`` end a message at the first provider.
    """

    #: This recipient can never be reached, by any provider.
    RECIPIENT_INVALID = auto()
    #: This content will never be accepted, by any provider.
    PAYLOAD_REJECTED = auto()
    #: This provider cannot serve this recipient or content, although it works and accepts others. Another one may.
    UNSUPPORTED = auto()
    #: The provider will not accept this message, and does not prove whether recipient, content or account is at fault.
    REJECTED = auto()
    #: The rate is too high, perhaps only for this recipient.
    THROTTLED = auto()
    #: The rate of the whole account is too high: it must send more slowly.
    RATE_EXCEEDED = auto()
    #: An amount that the whole account may send, per day for example, is used up.
    QUOTA_EXCEEDED = auto()
    #: The provider is down, or did not answer.
    UNAVAILABLE = auto()
    #: Something behind the provider fails for this recipient only, so the provider's breaker must not count it.
    RECIPIENT_TEMPORARY = auto()
    #: The account, its sender or its credentials were refused, so no message of this process would be accepted.
    CREDENTIALS = auto()

    @property
    def proven(self) -> bool:
        """Tells whether this proves that the recipient or the content is at fault."""
        return self in (Refusal.RECIPIENT_INVALID, Refusal.PAYLOAD_REJECTED)


class Refused(NotifyError):
    """Says that the provider did not accept the message.

    ``detail`` is for operators: it names codes, never a recipient, a title or a body. ``retry_after_s`` is the wait
    that the provider named, seconds, else None. ``ambiguous``: the request may have been accepted although no answer
    came (it was cut off or timed out after its first byte was written). ``handed_over``: the provider refused it
    after it had received the whole text (over HTTP: by a failure of its own), so it may deliver it all the same.
    """

    def __init__(
        self,
        refusal: Refusal,
        detail: str,
        retry_after_s: float | None = None,
        *,
        ambiguous: bool = False,
        handed_over: bool = False,
    ) -> None:
        self.refusal = refusal
        self.retry_after_s = retry_after_s
        self.ambiguous = ambiguous
        self.handed_over = handed_over
        super().__init__(detail)


class Unavailable(Refused):
    """Says that no answer came. The HTTP client and the SMTP session raise it: they do not know vendors' codes."""

    def __init__(self, detail: str, *, ambiguous: bool = False) -> None:
        super().__init__(Refusal.UNAVAILABLE, detail, ambiguous=ambiguous)
