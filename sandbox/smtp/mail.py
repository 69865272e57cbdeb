"""Reads a mail as the ledger shows it."""

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern

# A long id may be folded: the value then begins on the next line.
_REQUEST_ID = re.compile(rb"^X-Request-ID:(?:[ \t]|\r\n[ \t])*([!-~]+)", re.IGNORECASE | re.MULTILINE)


def request_id(content: bytes) -> str | None:
    """Returns the header X-Request-ID, or None. The body is not looked at."""
    head, _, _ = content.partition(b"\r\n\r\n")
    found = _REQUEST_ID.search(head)
    return found[1].decode("ascii") if found else None


def shown(sender: str, content: bytes) -> dict[str, object]:
    """Returns ``mail_from``, ``headers``, and the ``text`` and ``html`` parts (None if there is
    none; lines end in LF).
    """
    message = message_from_bytes(content, policy=modern)
    assert isinstance(message, EmailMessage)
    return {
        "mail_from": sender,
        "headers": {name: str(value).strip() for name, value in message.items()},
        "text": _part(message, "plain"),
        "html": _part(message, "html"),
    }


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else None
