"""Translates the negative replies of SMTP servers into refusals: by the words that name the account, then by the codes.

Only codes and words that leave no doubt prove the fault of the recipient or the content. Every other permanent refusal
is REJECTED, and the rule book decides what it means (``shared/delivery/sender``).
"""

from __future__ import annotations

import re

from services.email.smtp_session import Stage
from services.email.smtp_words import Words
from shared.errors import Refusal, Refused

#: Permanent (5.x.y) enhanced codes, without the 5: https://www.iana.org/assignments/smtp-enhanced-status-codes
#: For every unlisted code the basic code decides.
BY_ENHANCED = {
    **dict.fromkeys(("1.1", "1.2", "1.3", "1.4", "1.6", "1.10", "2.1", "4.1", "4.4"), Refusal.RECIPIENT_INVALID),
    **dict.fromkeys(("7.2", "7.17", "7.18"), Refusal.RECIPIENT_INVALID),
    **dict.fromkeys(("2.3", "3.4", "6.0", "6.1", "6.2", "6.3", "6.4", "6.5", "6.6"), Refusal.PAYLOAD_REJECTED),
    # This server lacks a feature that the message or the address needs.
    **dict.fromkeys(("3.3", "6.7", "6.9"), Refusal.UNSUPPORTED),
    **dict.fromkeys(("1.7", "1.8", "7.8", "7.9", "7.11", "7.12", "7.13", "7.14"), Refusal.CREDENTIALS),
    # The mailbox or a mail system on the way is full, which is temporary.
    **dict.fromkeys(("2.2", "2.4", "3.1", "4.6", "4.7"), Refusal.RECIPIENT_TEMPORARY),
    # This recipient's domain does not trust the sender's (DKIM, SPF, reverse DNS); other domains may.
    **dict.fromkeys(("7.20", "7.21", "7.22", "7.23", "7.24", "7.25", "7.26", "7.27"), Refusal.RECIPIENT_TEMPORARY),
    **dict.fromkeys(("3.2", "3.5", "4.3", "5.0", "5.1", "5.2", "5.3", "5.4", "5.5"), Refusal.UNAVAILABLE),
    # These are used for everything that a server does not permit, 2.0 by Exchange.
    **dict.fromkeys(("2.0", "7.0", "7.1", "7.3"), Refusal.REJECTED),
    # Gmail's and Exchange's limits per day and flood protection.
    **dict.fromkeys(("4.5", "7.28", "7.232", "7.233"), Refusal.QUOTA_EXCEEDED),
}
#: Basic codes, by the stage that they answer: https://www.rfc-editor.org/rfc/rfc5321#section-4.2, RFC 4954, RFC 7504.
BY_CODE: dict[Stage, dict[int, Refusal]] = {
    "connect": {},
    "auth": dict.fromkeys((500, 501, 502, 503, 504, 525, 530, 534, 535, 538, 550, 554), Refusal.CREDENTIALS),
    "mail": {
        530: Refusal.CREDENTIALS,
        550: Refusal.CREDENTIALS,
        552: Refusal.PAYLOAD_REJECTED,
        553: Refusal.CREDENTIALS,
    },
    "rcpt": {
        **dict.fromkeys((500, 501, 513, 551, 553, 555, 556), Refusal.RECIPIENT_INVALID),
        **dict.fromkeys((521, 550, 554), Refusal.REJECTED),
        530: Refusal.CREDENTIALS,
        552: Refusal.RECIPIENT_TEMPORARY,
    },
    "data": {530: Refusal.CREDENTIALS, **dict.fromkeys((550, 552, 553, 554), Refusal.REJECTED)},
}
#: With these meanings of its enhanced code, the words of a reply may say more.
_VAGUE = (None, Refusal.REJECTED, Refusal.UNAVAILABLE, Refusal.QUOTA_EXCEEDED)
#: Exchange refuses unknown recipients with 5.4.1, and also the right to relay; Zoho a day's limit with 5.4.6.
_VAGUE_CODES = frozenset(("4.1", "4.4", "4.6"))
#: These refuse the syntax of a command. At RCPT it is that of the address: nothing else in the command varies.
_SYNTAX = frozenset((500, 501, 553, 555))
#: Before RCPT no recipient is known, so what blames one at MAIL blames the sender.
_SENDERS_AT_MAIL = (Refusal.RECIPIENT_INVALID, Refusal.RECIPIENT_TEMPORARY, Refusal.REJECTED)

#: Temporary enhanced codes of an address or its mailbox (RFC 3463, 3.2 and 3.3), and of the mail system (3.4).
_OF_THE_RECIPIENT, _OF_THE_SYSTEM = ("1.", "2."), "3."
#: Not permitted now: greylisted, mostly.
_POLICY = "7.1"
#: Temporary enhanced codes of the account's limits: congestion, flood protection.
_LIMITS = frozenset(("4.5", "7.28"))
_CLOSING, _MAILBOX_BUSY = 421, 450

_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\b")


def classify(stage: Stage, code: int, text: str, *, written: bool = False) -> Refused:
    """Returns the refusal for a reply that is not positive; it has one for every reply.

    ``text`` is the text of the reply, without the basic code. ``written``: the reply came after the whole message.
    """
    found = _ENHANCED.match(text)
    shown = f"smtp {stage} {code}" + (f" {found[0]}" if found else "")
    # By RFC 5321, section 4.2.5, the server has not taken the message; some deliver it anyway.
    return Refused(_refusal(stage, code, found[1] if found else "", Words(text)), shown, handed_over=written)


def _refusal(stage: Stage, code: int, enhanced: str, words: Words) -> Refusal:
    if stage in ("connect", "auth"):
        # A server that has no room for one more connection accepts mails on those that exist.
        limit = words.limit() if 400 <= code < 500 else None
        return limit or BY_CODE[stage].get(code, Refusal.UNAVAILABLE)
    if 400 <= code < 500:
        return _temporary(stage, code, enhanced, words)
    if 500 <= code < 600:
        refusal = _permanent(stage, code, enhanced, words)
        return Refusal.CREDENTIALS if stage == "mail" and refusal in _SENDERS_AT_MAIL else refusal
    return Refusal.UNAVAILABLE


def _temporary(stage: Stage, code: int, enhanced: str, words: Words) -> Refusal:
    has_recipient = stage != "mail"
    if has_recipient and (enhanced.startswith(_OF_THE_RECIPIENT) or words.greylist()):
        return Refusal.RECIPIENT_TEMPORARY
    limit = words.limit() or (Refusal.RATE_EXCEEDED if enhanced in _LIMITS else None)
    if limit is not None:
        return limit
    if code == _CLOSING:
        return Refusal.THROTTLED
    if has_recipient and (code == _MAILBOX_BUSY or enhanced == _POLICY):
        return Refusal.RECIPIENT_TEMPORARY
    if stage == "rcpt" and not enhanced.startswith(_OF_THE_SYSTEM):
        # The server works: it has accepted the sender, and hesitates at this recipient.
        return Refusal.RECIPIENT_TEMPORARY
    return Refusal.UNAVAILABLE


def _permanent(stage: Stage, code: int, enhanced: str, words: Words) -> Refusal:
    if code in (530, 534, 535, 538):
        return Refusal.CREDENTIALS
    by_enhanced = BY_ENHANCED.get(enhanced)
    if by_enhanced in _VAGUE or enhanced in _VAGUE_CODES:
        limit = words.limit()
        if limit is not None:
            return limit
        if words.blame_account():
            return Refusal.CREDENTIALS
    if stage == "rcpt" and code in _SYNTAX and by_enhanced is Refusal.UNAVAILABLE:
        by_enhanced = None
    refusal = by_enhanced or BY_CODE[stage].get(code, Refusal.UNAVAILABLE)
    if refusal is Refusal.REJECTED and words.blame_recipient():
        return Refusal.RECIPIENT_INVALID
    if refusal is Refusal.REJECTED and code == 552 and words.blame_size():
        return Refusal.PAYLOAD_REJECTED
    return refusal
