"""Lists every code with which a connection of a device can end, and what the device does then.

The rule in short: after 4000 to 4499 a device comes back by itself, after 4500 to 4999 it does not, until something has
changed. docs/realtime.md has the same table, and a test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CloseCode:
    """Describes one code.

    ``reason`` is the word in a ``disconnect`` frame and in the close frame. ``reconnect`` tells whether the device
    comes back by itself; ``device`` says how.
    """

    code: int
    reason: str
    reconnect: bool
    meaning: str
    device: str


NORMAL = CloseCode(1000, "closed", False, "the device closed the connection", "stays away")
PROTOCOL_ERROR = CloseCode(1002, "protocol_error", False, "the bytes are no WebSocket frames", "stays away")
BINARY = CloseCode(1003, "binary", False, "a binary message came; only text is allowed", "stays away")
ABNORMAL = CloseCode(1006, "lost", True, "the connection was cut; this code is never sent", "backs off, then resumes")
NOT_UTF8 = CloseCode(1007, "not_utf8", False, "a text message is not UTF-8", "stays away")
TOO_BIG = CloseCode(1009, "too_big", False, "a message is larger than 16 KiB", "stays away")
INTERNAL = CloseCode(1011, "internal_error", True, "an internal error; see the log", "backs off, then resumes")
RESTART = CloseCode(1012, "restart", True, "the process stops", "resumes after after_ms")
OVERLOADED = CloseCode(1013, "overloaded", True, "overloaded, or the store is unavailable", "resumes after after_ms")
TOKEN_EXPIRED = CloseCode(4401, "token_expired", True, "the token has expired", "resumes with a fresh token")
TOO_SLOW = CloseCode(4413, "too_slow", True, "the device does not read fast enough", "backs off, then resumes")
TOO_FAST = CloseCode(4429, "too_many_frames", True, "the device sends too many frames", "resumes after 10 s or more")
MALFORMED = CloseCode(4500, "malformed", False, "three frames could not be understood", "stays away and says so")
BAD_TOKEN = CloseCode(4501, "bad_token", False, "the token or ticket is not valid", "stays away and says so")
WRONG_USER = CloseCode(4503, "wrong_user", False, "the token belongs to another user", "stays away and says so")
NO_AUTH = CloseCode(4504, "no_auth", False, "no auth frame came within 5 s", "stays away and says so")
EVICTED = CloseCode(
    4505, "evicted", False, "the user opened more connections than allowed; the oldest ends", "waits for its user"
)
REVOKED = CloseCode(4506, "revoked", False, "the user was erased, or the token was revoked", "stays away for good")

#: all of them, in ascending order
CLOSE_CODES: tuple[CloseCode, ...] = (
    NORMAL,
    PROTOCOL_ERROR,
    BINARY,
    ABNORMAL,
    NOT_UTF8,
    TOO_BIG,
    INTERNAL,
    RESTART,
    OVERLOADED,
    TOKEN_EXPIRED,
    TOO_SLOW,
    TOO_FAST,
    MALFORMED,
    BAD_TOKEN,
    WRONG_USER,
    NO_AUTH,
    EVICTED,
    REVOKED,
)
