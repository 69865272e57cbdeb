"""Writes a message as MIME: the text and, if there is one, the HTML version. It is 7-bit safe; lines end in CRLF."""

from __future__ import annotations

import hashlib
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import formatdate

from shared.errors import Refusal, Refused
from shared.providers.provider import Message

_ASCII = SMTP.clone(cte_type="7bit")
_UTF8 = SMTPUTF8.clone(cte_type="7bit")


def compose(message: Message, sender: str, domain: str, recipient: str) -> bytes:
    """Returns the bytes for DATA, not yet dot-stuffed. Headers use UTF-8 only if ``recipient`` needs it.

    ``Message-ID`` is the same at every attempt, so that a second send can be recognised. Raises Refused
    (``PAYLOAD_REJECTED``) if a header contains a line break, for example from a variable.
    """
    content = message.content
    mail = EmailMessage(policy=_ASCII if recipient.isascii() else _UTF8)
    try:
        mail["From"] = sender
        mail["To"] = recipient
        mail["Subject"] = content.subject or content.title
        mail["Date"] = formatdate(usegmt=True)
        mail["Message-ID"] = f"<{hashlib.sha256(message.key.encode()).hexdigest()[:32]}@{domain}>"
        mail["X-Request-ID"] = message.request_id
        # This asks for no out-of-office replies (RFC 3834).
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(content.body)
        if content.html:
            mail.add_alternative(content.html, subtype="html")
        return mail.as_bytes()
    except ValueError as exc:
        detail = "a header contains a line break, or the text cannot be encoded"
        raise Refused(Refusal.PAYLOAD_REJECTED, detail) from exc
