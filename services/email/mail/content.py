"""Decides what a mail says: its subject, its text and its HTML, the same for every provider."""

from __future__ import annotations

from dataclasses import dataclass

from services.email.mail.html_text import text_of_html
from shared.providers.provider import Content


@dataclass(frozen=True, slots=True)
class MailContent:
    """Holds what a mail says. ``text`` and ``html`` are '' if the mail does not have that part; one of them is there,
    unless all of the content is empty.
    """

    subject: str
    text: str
    html: str


def mail_content(content: Content) -> MailContent:
    """Returns the mail for this content: the subject defaults to the title, a missing text is made from the HTML."""
    text = content.body if content.body.strip() else ""
    html = content.html if content.html.strip() else ""
    return MailContent(content.subject or content.title, text or (text_of_html(html) if html else ""), html)
