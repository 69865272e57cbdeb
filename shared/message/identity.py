"""Decides which deliveries are the same message: by sender, request_id and content, never by the bytes of the body.

A caller may write one JSON document in many ways (white space, order of keys, escapes), and may send it by HTTP once
and by AMQP the next time. So what is compared is the hash of a canonical form. The form follows from the document
alone, not from the model that validates it: a later version with other fields or corrections computes the same hash.
**These rules never change**, because records of earlier messages hold their hashes; a new rule needs a new form, with
today's among the ``older`` ones.

The request_id belongs to its sender: two clients may use the same one. The sender is the client whose API key was used,
or what an AMQP publisher writes into the header ``notify-client``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

#: The name of a client, in an entry of API_KEYS and in the header ``notify-client``.
CLIENT_PATTERN = r"[A-Za-z0-9_.-]{1,64}"
CLIENT_RULE = "must be 1 to 64 characters of A-Z a-z 0-9 _ . -"

#: The members whose own members may be null, which counts as absent.
_PARTS = ("content", "recipient")
#: JSON has one kind of number: 7.0 and 1e16 are integers. Only then is there something like this in orjson's output.
_MAYBE_WHOLE = re.compile(rb"(?:\.0|e\+1\d)[,\]}]")
_INTEGERS_BELOW = 2.0**63

_SEARCHED_BYTES = 1024 * 1024
_REQUEST_ID_IN_TEXT = re.compile(rb'"request_id"\s*:\s*"([A-Za-z0-9_.:-]{1,128})"')


@dataclass(slots=True)
class Identity:
    """Holds what tells one message of a channel from another. ``client`` is '' if the sender is not known.

    ``older`` returns the hashes by which earlier versions may have recorded the same message.
    """

    request_id: str
    client: str
    hash: str
    older: Callable[[], Iterable[str]]

    @property
    def key(self) -> str:
        return scoped_id(self.client, self.request_id)

    @property
    def names(self) -> dict[str, str]:
        """Returns the fields that name the message in a log line."""
        return {"request_id": self.request_id, **({"client": self.client} if self.client else {})}


def scoped_id(client: str, request_id: str) -> str:
    """Returns the request_id within its sender's namespace: ``@<client>:<request_id>``; without a client, the bare id.

    A request_id contains no ``@``, so no id of one sender can look like an id of another.
    """
    return f"@{client}:{request_id}" if client else request_id


def body_hash(body: bytes) -> str:
    """Returns the first 8 bytes of the SHA-256 of these bytes, in hex."""
    return hashlib.sha256(body).hexdigest()[:16]


def published_body(document: dict[str, Any], channel: str) -> bytes:
    """Returns the bytes that the gateway publishes for one channel: what the caller wrote, in one form.

    It is the form by which messages are compared, except that numbers and the offset of ``expires_at`` stay as they
    were written. The bytes never change after publishing. Raises orjson.JSONEncodeError if the document is nested
    deeper than 254 levels.
    """
    return _bytes_of(_for_channel(document, channel))


def canonical_form(document: dict[str, Any], channel: str) -> bytes:
    """Returns the bytes by which a message of ``channel`` is compared with others of the same request_id.

    Keys are sorted; the channel is written in one way; null counts as absent in the envelope, its content and its
    recipient; a whole number is an integer; a number as user_id is a string; ``expires_at`` is in UTC. Raises
    orjson.JSONEncodeError if the document is nested deeper than 254 levels.
    """
    return both_forms(document, channel)[1]


def both_forms(document: dict[str, Any], channel: str) -> tuple[bytes, bytes]:
    """Returns the bytes to publish and the canonical form, which are usually the same; cheaper than one by one."""
    form = _for_channel(document, channel)
    published = text = _bytes_of(form)
    if "expires_at" in form:
        form = {**form, "expires_at": _time(form["expires_at"], in_utc=True)}
        text = _bytes_of(form)
    # The two searches for bytes cost a twentieth of the one with the pattern.
    if (b".0" in text or b"e+1" in text) and _MAYBE_WHOLE.search(text):
        text = _bytes_of(_with_integers(form))
    return published, text


def message_hash(body: bytes, document: dict[str, Any], channel: str) -> str:
    """Returns the hash of a message: of its canonical form, or of its bytes if it is nested too deeply to have one."""
    try:
        return body_hash(both_forms(document, channel)[1])
    except orjson.JSONEncodeError:
        return body_hash(body)


def readable_request_id(body: bytes) -> str:
    """Returns the request_id of a body that cannot be used, so that its sender can be found; '' if none can be read.

    It searches the bytes (the first mebibyte), because such a body may be no JSON or too large to decode.
    """
    found = _REQUEST_ID_IN_TEXT.search(body[:_SEARCHED_BYTES])
    return found[1].decode() if found else ""


def _bytes_of(form: Any) -> bytes:
    return orjson.dumps(form, option=orjson.OPT_SORT_KEYS)


def _for_channel(document: dict[str, Any], channel: str) -> dict[str, Any]:
    if not _names_only(document, channel):
        document = _restated(document, channel)
    for name in _PARTS:
        part = document.get(name)
        if isinstance(part, dict) and None in part.values():
            document = {**document, name: _given(part)}
    return document


def _names_only(document: dict[str, Any], channel: str) -> bool:
    """Tells whether ``_restated`` would change nothing, as with all that the gateway has published; it is cheaper."""
    return (
        document.get("notification_type") == channel
        and isinstance(document.get("user_id", ""), str)
        and "channels" not in document
        and "expires_at" not in document
        and None not in document.values()
    )


def _restated(document: dict[str, Any], channel: str) -> dict[str, Any]:
    form = {**document, "notification_type": channel}
    form.pop("channels", None)
    user_id = form.get("user_id")
    if isinstance(user_id, float) and user_id.is_integer() and abs(user_id) < _INTEGERS_BELOW:
        user_id = int(user_id)
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        form["user_id"] = str(user_id)
    if "expires_at" in form:
        form["expires_at"] = _time(form["expires_at"], in_utc=False)
    return _given(form)


def _given(part: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if value is not None}


def _time(value: Any, *, in_utc: bool) -> Any:
    """Returns a time with an offset in one form; anything else unchanged, because such a message is refused."""
    if not isinstance(value, str):
        return value
    try:
        at = datetime.fromisoformat(value.upper())
        return value if at.tzinfo is None else (at.astimezone(UTC) if in_utc else at).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return value


def _with_integers(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _INTEGERS_BELOW else value
    if isinstance(value, dict):
        return {name: _with_integers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_integers(inner) for inner in value]
    return value
