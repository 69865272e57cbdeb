"""A message as e-mail: MIME with text and, if there is one, html beside it. Seven-bit safe, lines end in CRLF."""

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
    """The bytes for DATA, not yet dot-stuffed. UTF-8 in headers only if ``recipient`` cannot be written without it.

    ``Message-ID`` is the same at every attempt, so that a second send can be recognised. Raises Refused
    (``PAYLOAD_REJECTED``) if a header would break: somebody's variable held a line break.
    """
    content = message.content
    mail = EmailMessage(policy=_ASCII if recipient.isascii() else _UTF8)
    try:
        mail["From"] = sender
        mail["To"] = recipient
        mail["Subject"] = content.subject or content.title
        mail["Date"] = formatdate(usegmt=True)
        mail["Message-ID"] = f"<{hashlib.sha256(message.request_id.encode()).hexdigest()[:32]}@{domain}>"
        mail["X-Request-ID"] = message.request_id
        # No out-of-office replies, please (RFC 3834).
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(content.body)
        if content.html:
            mail.add_alternative(content.html, subtype="html")
        return mail.as_bytes()
    except ValueError as exc:
        detail = "a header holds a line break, or the text cannot be encoded"
        raise Refused(Refusal.PAYLOAD_REJECTED, detail) from exc
