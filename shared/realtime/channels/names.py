"""Names channels and their keys in Redis.

::

    notify-channel:<channel>               hash: epoch, seq (the offset of the last message); kept for 7 days
    notify-channel:<channel>:<priority>    stream: one entry per message, with the offset as its id
    notify-channel:<channel>               also the Redis channel on which each message is published
"""

from __future__ import annotations

import re

#: The name of a channel, or of a group of channels. With a colon, the keys of two channels could be the same.
PATTERN = r"[A-Za-z0-9_.@-]{1,128}"
RULE = "must be 1 to 128 characters of A-Z a-z 0-9 _ . @ -"
KEY_PREFIX = "notify-channel:"
_NAME = re.compile(PATTERN)


def is_name(text: object) -> bool:
    """Tells whether this is the name of a channel."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def key_of(channel: str) -> str:
    """Returns the key of the channel's hash; it is also the Redis channel of its messages."""
    return f"{KEY_PREFIX}{channel}"


def is_channel_key(key: str) -> bool:
    """Tells whether this Redis channel is that of a channel, and not of an inbox."""
    return key.startswith(KEY_PREFIX)


def name_of(key: str) -> str:
    """Returns the channel to which a Redis channel belongs."""
    return key.removeprefix(KEY_PREFIX)
