"""Reads whose fault a negative SMTP reply names in words, because servers use the same codes for different causes.

The words are those of Postfix, Exim, Exchange, Gmail, Amazon SES, SendGrid, Zoho and the like. What a reply quotes is
removed first: addresses, and what another server has said. A recipient could choose both.
"""

from __future__ import annotations

import re

from shared.errors import Refusal

#: The cause stands at the beginning of a reply, characters.
_MOST_CHARS = 500

_QUOTED = re.compile(
    r"<[^<>]*>|\S*@\S*|\b(?:said|response|responded|returned|answered)\s*:.*|\(in reply to.*", re.IGNORECASE | re.DOTALL
)


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


def _up_to(words: int) -> str:
    """Returns a pattern for the gap between two words, with at most this many others in it."""
    return rf"(?:\W+\w+){{0,{words}}}?\W+"


_NO = r"(?:denied|rejected|refused|prohibited|disallowed|forbidden|blocked|suspended|disabled|deactivated)\b"
_NOT = r"(?:\b(?:not|cannot|unable|no)|n't)\b"
_NOT_ALLOWED = rf"{_NOT}{_up_to(3)}(?:allow|permit|authori[sz]|permission|entitle|accept)\w*"
_SENDER = r"\b(?:sender|from)(?:'s)?(?: e-?mail)?(?: address| domain| identity| header| account)?\b"

#: A limit of a mailbox or of a single message is none of the account's.
_OTHER_LIMIT = _any_of(
    r"\bmailbox\b",
    r"\bstorage\b",
    r"\bsize\b",
    r"\btoo (?:large|big|long)\b",
    r"\bover ?quota\b",
    r"\brecipient'?s? (?:quota|inbox)\b",
    r"\breceiv(?:e|ing)\b",
)
_RATE = _any_of(
    r"\bthrottl",
    r"\brate\b",
    r"\bslow(?:ing)? down\b",
    r"\btoo (?:fast|quickly|frequent)",
    r"\btoo (?:many|much) (?:e-?mails?|mails?|messages?|connections?|sessions?|requests?|commands?|transactions?)\b",
    r"\bper (?:second|minute)\b",
)
_AMOUNT = r"(?:quotas?|limits?|limitation|credits?|allowance)\b"
_QUOTA = _any_of(
    r"\b(?:daily|hourly|monthly|sending|send|outgoing|outbound|messaging|submission|relay|smtp|plan|e-?mails?)\b"
    rf"{_up_to(3)}{_AMOUNT}",
    rf"\b{_AMOUNT}{_up_to(6)}(?:per|a|each) (?:hour|day|month)\b",
    r"\bcredits? (?:is |are |was |were )?(?:exceeded|used up|exhausted)\b",
    r"\bunusual (?:sending|mail|account) activity\b",
)
_RELAY = _any_of(
    rf"\brelay\w*\b{_up_to(4)}(?:{_NO}|{_NOT_ALLOWED})",
    rf"(?:{_NO}|{_NOT_ALLOWED}|\brefus\w+|{_NOT}){_up_to(4)}relay\w*\b",
)
_ACCOUNT = _any_of(
    r"\bsend[ _-]?as",
    rf"(?:{_NOT_ALLOWED}|\bpermissions?\b){_up_to(2)}send\b",
    rf"{_SENDER}{_up_to(3)}(?:{_NO}|(?:invalid|unverified|unauthenticated|unauthori[sz]ed)\b)",
    rf"{_SENDER}{_up_to(3)}(?:{_NOT_ALLOWED}|{_NOT} (?:owned|verified|match|registered|authenticated))",
    rf"{_SENDER}\W+verif\w+ failed\b",
    r"\bnot owned by\b",
    r"\b(?:un|not )authenticated\b",
    r"\bnot (?:yet )?verified\b",
    r"\bauthentication (?:is )?(?:required|needed)\b",
    r"\bmust (?:be |first )?(?:authenticate|log ?in|logged)",
    rf"\b(?:your|sending) (?:account|domain|ip|host|server|mail ?server|user)\b{_up_to(4)}{_NO}",
    r"\b(?:sending|outgoing mail|outbound mail|smtp access)(?: is| has been| was| currently| temporarily){0,3} "
    rf"{_NO}",
)
#: These speak of the recipient's account, which is none of ours.
_RECIPIENTS_ACCOUNT = _any_of(r"\brecipient\b", r"\bmailbox\b", r"\btried to reach\b")
_RECIPIENT = _any_of(
    r"\b(?:no such|unknown|invalid|non-?existent|bad|undeliverable) (?:local )?"
    r"(?:user|recipient|mailbox|address|destination)\b",
    r"\b(?:user|recipient|mailbox|address)(?: address)?(?: here)?(?: is| was| has been)?\W{1,3}"
    r"(?:unknown|not found|invalid|inactive|unavailable|nonexistent|does not exist|doesn't exist|not exist)\b",
    r"\bno (?:such account|mailbox)\b",
    r"\bnot a (?:valid|known) (?:user|recipient|mailbox|address)\b",
)
_GREYLISTED = _any_of(r"\bgr[ae]y-?list")
_TOO_BIG = _any_of(r"\bsize\b", r"\btoo (?:large|big)\b")


class Words:
    """Answers questions about the words of one reply."""

    def __init__(self, text: str) -> None:
        self._words = _QUOTED.sub(" ", text[:_MOST_CHARS])

    def limit(self) -> Refusal | None:
        """Returns RATE_EXCEEDED or QUOTA_EXCEEDED if they name a limit of the account, else None."""
        words = self._words
        if _OTHER_LIMIT.search(words):
            return None
        if _QUOTA.search(words) and not re.search(r"\brate\b", words, re.IGNORECASE):
            return Refusal.QUOTA_EXCEEDED
        return Refusal.RATE_EXCEEDED if _RATE.search(words) else None

    def blame_account(self) -> bool:
        """Tells whether they name the account, its sender, or its right to relay."""
        words = self._words
        return bool(_RELAY.search(words) or (_ACCOUNT.search(words) and not _RECIPIENTS_ACCOUNT.search(words)))

    def blame_recipient(self) -> bool:
        return bool(_RECIPIENT.search(self._words))

    def blame_size(self) -> bool:
        return bool(_TOO_BIG.search(self._words))

    def greylist(self) -> bool:
        """Tells whether this recipient's server asks every new sender to come again later."""
        return bool(_GREYLISTED.search(self._words))
