"""Writes the header of a mail, and proves that a reader finds in it what was meant, and nothing else.

Every value of a header comes from outside: from variables, from a user's record, from settings. So each field is
written by the rules of its kind, and before a mail is sent its header is parsed again and compared, field by field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from email.policy import compat32
from email.utils import getaddresses

from services.email.mail.header_text import LINE_CHARACTERS, phrase, read_text, text, unfolded
from shared.message.email_address import EmailAddress, Mailbox
from shared.message.text import has_control

#: What the writer of the body adds.
_OF_THE_BODY = frozenset({"content-type", "content-transfer-encoding", "mime-version"})


class NotAsMeant(Exception):
    """Says that a reader would find something else in the header than what was meant; it names the field."""


@dataclass(frozen=True, slots=True)
class Field:
    """Holds one header field: what is written, the texts that a reader must find in it, and how it is read."""

    name: str
    written: str
    meant: tuple[str, ...]
    read: Callable[[str], tuple[str, ...]]


def text_field(name: str, value: str) -> Field:
    """Returns a field of free text, such as a subject."""
    return Field(name, text(value), (value,), lambda written: (read_text(written),))


def token_field(name: str, value: str) -> Field:
    """Returns a field whose value is written as it is: ASCII without spaces or quotes, such as an id or a date."""
    return Field(name, value, (value,), lambda written: (unfolded(written),))


def mailbox_field(name: str, mailbox: Mailbox) -> Field:
    """Returns a field with one address and perhaps a display name."""
    address = f"<{mailbox.address}>" if mailbox.name else str(mailbox.address)
    written = phrase(mailbox.name)
    space = " " if len(f"{name}: {written} {address}") <= LINE_CHARACTERS else "\r\n "
    return Field(
        name,
        f"{written}{space}{address}" if mailbox.name else address,
        (mailbox.name, str(mailbox.address)),
        _read_mailboxes,
    )


def address_field(name: str, address: EmailAddress) -> Field:
    return mailbox_field(name, Mailbox("", address))


def header_block(fields: Sequence[Field]) -> bytes:
    """Returns the fields as they are sent; UTF-8 only if an address needs it."""
    return "".join(f"{field.name}: {field.written}\r\n" for field in fields).encode()


def check_header(mail: bytes, fields: Sequence[Field]) -> None:
    """Parses the header of ``mail`` and compares it with ``fields``; the body's own fields follow them.

    Raises NotAsMeant if a field is missing, added, or reads differently.
    """
    head = mail.partition(b"\r\n\r\n")[0].decode()
    found = HeaderParser(policy=compat32).parsestr(head).items()
    names = [name for name, _ in found]
    if names[: len(fields)] != [field.name for field in fields]:
        raise NotAsMeant("the header has other fields than it should have")
    if strange := {name.lower() for name in names[len(fields) :]} - _OF_THE_BODY:
        raise NotAsMeant(f"the header has a field that it should not have: {', '.join(sorted(strange))[:100]}")
    for field, (_, value) in zip(fields, found, strict=False):
        try:
            read = field.read(str(value))
        except (ValueError, LookupError) as exc:
            raise NotAsMeant(f"the header {field.name} cannot be read back") from exc
        if read != field.meant or any(map(has_control, field.meant)):
            raise NotAsMeant(f"the header {field.name} does not read as it was meant")


def _read_mailboxes(written: str) -> tuple[str, ...]:
    """Returns the display name and the address of each mailbox, one after the other."""
    mailboxes = getaddresses([unfolded(written)])
    return tuple(part for name, address in mailboxes for part in (read_text(name), address))
