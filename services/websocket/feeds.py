"""Subscribes devices to channels.

A subscription is to the channel what a device is to its inbox: a session of a hub, with a position of its own. So a
message that was lost, a slow device and a Redis that was away are handled by the very code that keeps inboxes right;
only what is read is something else, and a channel is read from Redis.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import structlog

from services.websocket.desk import Unreadable, echo
from services.websocket.hub import Hub
from services.websocket.session import Session
from services.websocket.transport.positions import position_of
from shared.errors import RedisUnavailable, StoreUnavailable
from shared.realtime.channels.names import RULE, is_name, key_of
from shared.realtime.channels.reader import ChannelPull, ChannelReader
from shared.realtime.close_codes import CloseCode
from shared.realtime.tokens import allows
from shared.realtime.wakeup import Wakeup
from shared.redis.subscriber import Subscriber
from shared.store.values import Owner, Position

log = structlog.get_logger(__name__)

#: Most channels of one connection.
MOST_SUBSCRIPTIONS = 100
#: A subscription that could not be read is tried again after a random time in this range, seconds.
AGAIN_S = (1.0, 5.0)


class ChannelDialect(Protocol):
    """Turns what happens in a channel into bytes of the wire, the same for every subscriber."""

    def live(self, owner: Owner, wakeup: Wakeup) -> bytes | None:
        """Returns the messages that were sent just now."""

    def pulled(self, pull: ChannelPull) -> Iterator[bytes]:
        """Returns what a subscriber lacks."""


class Listener(Protocol):
    """Is the connection that subscribes."""

    subscriptions: dict[str, Subscription] | None

    @property
    def full(self) -> bool: ...

    @property
    def channel_dialect(self) -> ChannelDialect: ...

    def write(self, data: bytes) -> None: ...

    def say(self, kind: str, **fields: Any) -> None: ...


class Subscription:
    """Is one channel of one connection, as a device of the hub."""

    __slots__ = ("_feeds", "_listener", "channel", "session", "timer")

    def __init__(self, feeds: Feeds, listener: Listener, channel: str) -> None:
        self._feeds, self._listener = feeds, listener
        self.channel = channel
        self.session: Session | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def dialect(self) -> ChannelDialect:
        return self._listener.channel_dialect

    @property
    def full(self) -> bool:
        return self._listener.full

    def write(self, data: bytes) -> None:
        self._listener.write(data)

    def pulled(self, pull: ChannelPull) -> Iterator[bytes]:
        return self.dialect.pulled(pull)

    def end(self, code: CloseCode, after_ms: int | None = None) -> None:
        """Tries again a little later: the connection stays, because its inbox does not need Redis."""
        if self.session is not None:
            self._feeds.retry(self, self.session.position)


class Feeds:
    """Owns the subscriptions of one node.

    ``channels_of`` returns the channels of a group, and raises StoreUnavailable.
    """

    def __init__(self, hub: Hub, channels_of: Callable[[str], Awaitable[list[str]]]) -> None:
        self._hub = hub
        self._channels_of = channels_of

    @property
    def subscriptions(self) -> int:
        """Returns how many there are."""
        return sum(len(self._hub.sessions_of(owner)) for owner in self._hub.owners)

    async def change(
        self, listener: Listener, allowed: tuple[str, ...] | None, kind: str, frame: Mapping[str, Any]
    ) -> None:
        """Carries out a frame ``subscribe`` or ``unsubscribe`` of a device that may subscribe what is ``allowed``.

        The answer to ``subscribe`` is a ``subscribed`` frame for each channel. Raises Unreadable.
        """
        channels = await self._named(frame)
        if kind == "unsubscribe":
            for channel in channels:
                self.unsubscribe(listener, channel)
            listener.say("done", **echo(frame))
            return
        position = None
        if "epoch" in frame or "offset" in frame:
            position = position_of(frame.get("epoch"), frame.get("offset"))
            if position is None:
                raise Unreadable("invalid", "epoch must be text, and offset a whole number")
        if allowed is not None and not all(allows(allowed, channel) for channel in channels):
            raise Unreadable("forbidden", "the token does not allow this channel", counts=False)
        for channel in channels:
            if not self.subscribe(listener, channel, position):
                detail = f"a connection has at most {MOST_SUBSCRIPTIONS} channels"
                raise Unreadable("too_many_channels", detail, counts=False)

    async def _named(self, frame: Mapping[str, Any]) -> list[str]:
        """Returns the channels that a frame names, by themselves or as a group."""
        channel, group = frame.get("channel"), frame.get("group")
        if (channel is None) == (group is None):
            raise Unreadable("invalid", "channel or group is required, but not both")
        field, name = ("channel", channel) if group is None else ("group", group)
        if not is_name(name):
            raise Unreadable("invalid", f"{field} {RULE}")
        if group is None:
            return [str(channel)]
        try:
            found = await self._channels_of(str(group))
        except StoreUnavailable:
            raise Unreadable("store_unavailable", "the groups cannot be read now; try again", counts=False) from None
        if not found:
            raise Unreadable("no_such_group", "there is no such group", counts=False)
        return found

    def subscribe(self, listener: Listener, channel: str, position: Position | None) -> bool:
        """Subscribes; a second time it begins anew at ``position``. Returns False if there are too many already."""
        subscriptions = listener.subscriptions
        if subscriptions is None:
            subscriptions = listener.subscriptions = {}
        self.unsubscribe(listener, channel)
        if len(subscriptions) >= MOST_SUBSCRIPTIONS:
            return False
        subscription = subscriptions[channel] = Subscription(self, listener, channel)
        subscription.session = self._hub.attach(Owner(channel), subscription, position)
        return True

    def unsubscribe(self, listener: Listener, channel: str) -> None:
        """Ends a subscription, if there is one."""
        subscription = (listener.subscriptions or {}).pop(channel, None)
        if subscription is not None:
            self._forget(subscription)

    def leave(self, listener: Listener) -> None:
        """Ends all subscriptions of a connection that has gone."""
        for subscription in (listener.subscriptions or {}).values():
            self._forget(subscription)
        listener.subscriptions = None

    def drained(self, listener: Listener) -> None:
        """Goes on with a connection whose buffer has room again."""
        for subscription in list((listener.subscriptions or {}).values()):
            if listener.full:
                return
            if subscription.session is not None:
                self._hub.drained(subscription.session)

    def retry(self, subscription: Subscription, position: Position | None) -> None:
        """Reads a subscription again after a while, from the position that it had."""
        self._forget(subscription)

        def attach() -> None:
            subscription.timer = None
            subscription.session = self._hub.attach(Owner(subscription.channel), subscription, position)

        subscription.timer = asyncio.get_running_loop().call_later(random.uniform(*AGAIN_S), attach)

    def _forget(self, subscription: Subscription) -> None:
        if subscription.timer is not None:
            subscription.timer.cancel()
            subscription.timer = None
        if subscription.session is not None:
            self._hub.detach(subscription.session)
            subscription.session = None


class ChannelStore:
    """Reads channels for the hub, which calls them owners."""

    def __init__(self, reader: ChannelReader) -> None:
        self._reader = reader

    async def pull(self, wanted: Sequence[tuple[Owner, Position | None]]) -> list[ChannelPull]:
        try:
            return await self._reader.pull([(owner.user_id, position) for owner, position in wanted])
        except RedisUnavailable as exc:
            raise StoreUnavailable(str(exc)) from exc

    async def positions(self, owners: Sequence[Owner]) -> dict[Owner, Position]:
        try:
            found = await self._reader.positions([owner.user_id for owner in owners])
        except RedisUnavailable as exc:
            raise StoreUnavailable(str(exc)) from exc
        return {Owner(channel): position for channel, position in found.items()}

    async def went_back(self, owner: Owner, seen: Position) -> None:
        """Does nothing: reading has given the channel a fresh epoch already."""


class ChannelSubscriptions:
    """Subscribes the messages of channels with a Subscriber."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber

    async def subscribe(self, owner: Owner) -> None:
        await self._subscriber.subscribe(key_of(owner.user_id).encode())

    def unsubscribe(self, owner: Owner) -> None:
        self._subscriber.unsubscribe(key_of(owner.user_id).encode())
