"""Defines the errors of the client.

NotifyClientError
├── Closed          the server does not want this device back: the code says why
├── ChangeFailed    a change (read, archive, ...) was not made
├── Refused         the gateway refused a notification: sending it again does not help
└── Unavailable     the gateway could not be reached, or could not store it: send it again, with the same request_id
"""

from __future__ import annotations


class NotifyClientError(Exception):
    """Is the base of all errors of this package."""


class Closed(NotifyClientError):
    """Says that the connection ended with a code after which a device stays away."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class ChangeFailed(NotifyClientError):
    """Says that the server refused a change, or did not answer in time (then ``code`` is ``timeout``)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class Refused(NotifyClientError):
    """Holds the gateway's answer: the HTTP status, its explanation, and the fields that are wrong, with the reasons."""

    def __init__(self, status: int, detail: str, fields: dict[str, str]) -> None:
        super().__init__(f"{status}: {detail}" + "".join(f"; {name}: {why}" for name, why in fields.items()))
        self.status = status
        self.fields = fields


class Unavailable(NotifyClientError):
    """Says that no attempt succeeded. The notification may be stored all the same."""
