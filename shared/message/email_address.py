"""Reads e-mail addresses and mailboxes: the one place that decides what an address is and how it is written.

The domain is written in ASCII, by IDNA 2008 (RFC 5891) with the mapping of UTS 46, not transitional: ``faß.de`` is
``xn--fa-hia.de``. The part before the @ is written as it was given; outside ASCII it needs SMTPUTF8 (RFC 6531).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from shared.message.text import address as without_invisible
from shared.message.text import one_line

#: Longest part before the @, and longest address, bytes (RFC 5321, 4.5.3.1; a path has two more for its brackets).
LOCAL_BYTES, ADDRESS_BYTES = 64, 254

# A dot-atom (RFC 5322, 3.2.3; RFC 6531, 3.3): quoted parts, comments and address literals are refused.
_ATOM = r"""[^\s<>()\[\]\\,;:@"\x00-\x1f\x7f-\x9f]"""
_ADDRESS = re.compile(f"({_ATOM}+)@({_ATOM}+)")
_LOCAL = re.compile(f"{_ATOM}+")
_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_JOINER = re.compile(r"[\u200c\u200d]")

#: The same rule for the OpenAPI document, as far as a pattern can state it.
PATTERN = "^{0}+@{0}+$".format(_ATOM.replace(r"\x", r"\u00"))

NOT_AN_ADDRESS = "must be one e-mail address"
LOOKS_LIKE_ANOTHER = "must be an e-mail address without characters that some servers read as others"
NOT_A_DOMAIN = "must be an e-mail address with a valid domain name"
TOO_LONG = f"must be an e-mail address with at most {LOCAL_BYTES} bytes before the @ and {ADDRESS_BYTES} in all"


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """Holds a checked address; ``str`` writes it as it stands in headers and SMTP commands."""

    local: str
    #: In ASCII: its labels are LDH labels or A-labels.
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"

    @property
    def is_ascii(self) -> bool:
        return self.local.isascii()


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Holds a display name ('' if there is none) and an address."""

    name: str
    address: EmailAddress


def parse_address(text: str) -> EmailAddress:
    """Reads one address, without invisible characters. Raises ValueError, whose text does not quote the address."""
    found = _ADDRESS.fullmatch(without_invisible(text))
    if found is None:
        raise ValueError(LOOKS_LIKE_ANOTHER if _ADDRESS.fullmatch(text) else NOT_AN_ADDRESS)
    local, domain = found[1], _ascii_domain(found[2])
    # A server may normalise the part before the @ (RFC 6532, 3.1), so it must be one in that form, too. Nobody's
    # address has =?, with which an encoded word of RFC 2047 begins.
    normal = unicodedata.normalize("NFKC", local)
    if not _LOCAL.fullmatch(normal) or "=?" in normal or _JOINER.search(local):
        raise ValueError(LOOKS_LIKE_ANOTHER)
    if len(local.encode()) > LOCAL_BYTES or len(local.encode()) + 1 + len(domain) > ADDRESS_BYTES:
        raise ValueError(TOO_LONG)
    return EmailAddress(local, domain)


def parse_mailbox(text: str) -> Mailbox:
    """Reads ``address`` or ``name <address>``; the name may be quoted. Raises ValueError."""
    text = text.strip()
    if not text.endswith(">"):
        return Mailbox("", parse_address(text))
    name, _, address = text[:-1].rpartition("<")
    name = one_line(name.strip())
    if len(name) >= 2 and name[0] == name[-1] == '"':
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    if "=?" in name:
        raise ValueError("must have the display name as it is read, not as an encoded word of RFC 2047")
    return Mailbox(name, parse_address(address))


def _ascii_domain(domain: str) -> str:
    """Returns the domain in ASCII, checked after the conversion: a full-width > would become a real one."""
    if not domain.isascii():
        # It is imported here, because most processes never see such a domain.
        import idna

        try:
            domain = idna.encode(domain, uts46=True, std3_rules=True, transitional=False).decode("ascii")
        except UnicodeError as exc:
            raise ValueError(NOT_A_DOMAIN) from exc
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(NOT_A_DOMAIN)
    return domain
