"""Is the Python client of Notify: it listens to the inbox of a user, and sends notifications.

It imports nothing of the server. Start reading with ``listener`` (asyncio) and ``sender`` (no asyncio); ``inbox`` keeps
the rules by which every device stays equal to the server, ``reconnect`` those by which it comes back.
"""

from notify_client.errors import ChangeFailed, Closed, NotifyClientError, Refused, Unavailable
from notify_client.events import Arrived, Changed, Connected, Disconnected, Event, Missed
from notify_client.inbox import Inbox, Position, Row
from notify_client.listener import Listener
from notify_client.sender import Accepted, Sender

__all__ = [
    "Accepted",
    "Arrived",
    "ChangeFailed",
    "Changed",
    "Closed",
    "Connected",
    "Disconnected",
    "Event",
    "Inbox",
    "Listener",
    "Missed",
    "NotifyClientError",
    "Position",
    "Refused",
    "Row",
    "Sender",
    "Unavailable",
]
