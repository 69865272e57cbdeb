"""Writes a message as MIME: the text and, if there is one, the HTML version. It is 7-bit safe; lines end in CRLF."""

from __future__ import annotations

import hashlib
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from services.email.mail.content import MailContent, mail_content
from services.email.mail.headers import (
    NotAsMeant,
    address_field,
    check_header,
    header_block,
    mailbox_field,
    text_field,
    token_field,
)
from shared.errors import Refusal, Refused
from shared.message.email_address import EmailAddress, Mailbox
from shared.providers.provider import Message

_ASCII = SMTP.clone(cte_type="7bit")


def compose(message: Message, sender: Mailbox, recipient: EmailAddress) -> bytes:
    """Returns the bytes for DATA, not yet dot-stuffed. Headers use UTF-8 only if ``recipient`` needs it.

    ``Message-ID`` is the same at every attempt, so that a second send can be recognised. Raises Refused
    (``PAYLOAD_REJECTED``) if a reader would find something else in a header than what was meant, for example because it
    contains a line break, or if the text cannot be encoded.
    """
    content = mail_content(message.content)
    digest = hashlib.sha256(message.key.encode()).hexdigest()[:32]
    try:
        fields = [
            mailbox_field("From", sender),
            address_field("To", recipient),
            text_field("Subject", content.subject),
            token_field("Date", formatdate(usegmt=True)),
            token_field("Message-ID", f"<{digest}@{sender.address.domain}>"),
            token_field("X-Request-ID", message.request_id),
            # This asks for no out-of-office replies (RFC 3834).
            token_field("Auto-Submitted", "auto-generated"),
        ]
        mail = header_block(fields) + _body(content)
        check_header(mail, fields)
    except NotAsMeant as exc:
        raise Refused(Refusal.PAYLOAD_REJECTED, str(exc)) from exc
    except UnicodeError as exc:
        raise Refused(Refusal.PAYLOAD_REJECTED, "the text cannot be encoded") from exc
    return mail


def _body(content: MailContent) -> bytes:
    """Returns the body with its own header fields."""
    mail = EmailMessage(policy=_ASCII)
    if content.html and not content.text:
        mail.set_content(content.html, subtype="html")
        return mail.as_bytes()
    mail.set_content(content.text)
    if content.html:
        mail.add_alternative(content.html, subtype="html")
    return mail.as_bytes()
