"""The near caches of one process that share the messages about writes: one connection to each master of their server.

A *subscription* is what one listener keeps up: the near caches that it serves, and the prefixes of their keys. When a
near cache joins whose keys the current subscription does not cover, a new one begins beside it, with all near caches.
Once that is complete it takes over, and the old one is *drained*: it passes on what the server had sent before, and
ends. So the near caches that were served before keep their entries. Of near caches that join meanwhile one
further subscription takes care.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from edge_redis._cache.invalidation_protocol import InvalidationProtocol
from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.near_entries import NearEntries
from edge_redis._core.session import Session

MAX_DRAINING: Final = 2
"""Subscriptions that are being drained at once, at most: those that join meanwhile wait for the next."""


class Subscriber:
    """A near cache, with the prefixes of its keys, and the channels on which its writers publish."""

    def __init__(self, near: NearEntries, shards: Sequence[CacheKeys]) -> None:
        self.near = near
        self.prefixes = frozenset(keys.values.encode() for keys in shards)
        self.channels = frozenset(keys.written.encode() for keys in shards)


class Subscribers:
    """The near caches of one server. Safe for threads.

    Args:
        start: starts a listener of a subscription, unless it was started; called for each near cache that joins.
        retire: lets a listener end by itself once its session ends.
        forget: drops a listener that has ended.
        new_mutex: returns a lock.

    """

    def __init__(
        self,
        start: Callable[[Any], object],
        retire: Callable[[Any], object],
        forget: Callable[[Any], object],
        new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.mutex = new_mutex()
        self._forget = forget
        self._draining = 0
        self._start = start
        self._retire = retire
        self._members: dict[Subscriber, None] = {}
        self._active: Subscription | None = None
        self._pending: Subscription | None = None
        self.routes: dict[bytes, tuple[NearEntries, ...]] = {}
        """The near caches by the prefixes and channels of their messages; replaced whole."""

    def add(self, member: Subscriber) -> None:
        """Serve a near cache. Adding it again changes nothing."""
        with self.mutex:
            if member not in self._members:
                self._members[member] = None
                self._set_routes()
            for subscription in (self._active, self._pending):
                if subscription is not None and subscription.covers(member):
                    subscription.adopt(member)
                    self._start(subscription)
                    return
            self._start_pending()

    def _start_pending(self) -> None:
        """Start the pending subscription; make one where a near cache has none, unless several are being drained."""
        active = self._active
        covered = () if active is None else active.members
        if (
            self._pending is None
            and self._draining < MAX_DRAINING
            and any(member not in covered for member in self._members)
        ):
            self._pending = Subscription(self, dict.fromkeys(self._members))
        if self._pending is not None:
            self._start(self._pending)

    def on_drained(self, subscription: Subscription) -> None:
        """Drop a subscription that was superseded and has ended; called with the mutex held."""
        self._draining -= 1
        self._start_pending()
        self._forget(subscription)

    def remove(self, member: Subscriber) -> bool:
        """Serve a near cache no more; return whether it was the last."""
        with self.mutex:
            self._members.pop(member, None)
            self._set_routes()
            for subscription in (self._active, self._pending):
                if subscription is not None:
                    subscription.members.pop(member, None)
            member.near.on_disconnected()
            if not self._members:
                self._active = self._pending = None
            return not self._members

    def _set_routes(self) -> None:
        routes: dict[bytes, tuple[NearEntries, ...]] = {}
        for member in self._members:
            for name in member.prefixes | member.channels:
                routes[name] = (*routes.get(name, ()), member.near)
        self.routes = routes

    def is_served_by_other(self, member: Subscriber, subscription: Subscription) -> bool:
        """Return whether another subscription serves a near cache."""
        active = self._active
        return active is not None and active is not subscription and active.is_up and member in active.members

    def activate(self, new: Subscription) -> None:
        """Let a subscription that is complete take over; called with the mutex held."""
        old = self._active
        for member in self._members:
            if new.covers(member):
                new.members[member] = None
        for member in new.members:
            if old is None or not self.is_served_by_other(member, new) or (old.announcing > 0) != (new.announcing > 0):
                new.begin_to_serve(member)
        new.is_up, self._active = True, new
        if self._pending is new:
            self._pending = None
        if old is not None and old is not new:
            old.is_superseded = True
            self._draining += 1
            self._retire(old)
        self._start_pending()


class Subscription:
    """What one listener keeps up; the listener's SessionOwner."""

    def __init__(self, subscribers: Subscribers, members: dict[Subscriber, None]) -> None:
        self.members = members
        self.is_up = False
        """Whether all its connections report writes."""
        self.is_superseded = False
        self.announcing = 0
        """Connections on which writers publish."""
        self._subscribers = subscribers
        self._tracking = 0
        self._expected = 0
        self._drained = 0
        self._has_ended = False
        self._prefixes: frozenset[bytes] | None = None
        self._channels: frozenset[bytes] = frozenset()

    def covers(self, member: Subscriber) -> bool:
        """Return whether it gets messages about a near cache's keys, or will, before its connections are made."""
        return self._prefixes is None or member.prefixes <= self._prefixes

    def adopt(self, member: Subscriber) -> None:
        """Serve a near cache whose keys it covers; called with the mutex held."""
        if member not in self.members:
            self.members[member] = None
            if self.is_up:
                self.begin_to_serve(member)

    def begin_to_serve(self, member: Subscriber) -> None:
        """Tell a near cache which connections are up, so that it serves entries."""
        member.near.reset(self._expected)
        for _ in range(self._tracking):
            member.near.on_connected()
        if self.announcing:
            member.near.on_announcements_needed()

    @property
    def prefixes(self) -> list[str]:
        """The prefixes of the keys of whose writes the server is to report."""
        return sorted(prefix.decode() for prefix in self._prefixes or ())

    @property
    def channels(self) -> list[str]:
        """The channels on which writers publish."""
        return sorted(channel.decode() for channel in self._channels)

    def session(self) -> Session:
        """Return a session of the protocol, for a connection to one node."""
        return InvalidationProtocol(self).run()

    def invalidate(self, name: bytes, keys: Sequence[str] | None) -> None:
        """Drop entries of the near caches of a prefix or channel, all where None."""
        for near in self._subscribers.routes.get(name, ()):
            near.invalidate(keys)

    def invalidate_all(self) -> None:
        """Drop all entries of all near caches."""
        for member in tuple(self.members):
            member.near.invalidate(None)

    def reset(self, connections: int) -> None:
        """Prepare for this number of connections, which are about to be made."""
        with self._subscribers.mutex:
            self._expected, self._tracking, self.announcing, self._drained, self.is_up = connections, 0, 0, 0, False
            self._prefixes = frozenset().union(*(member.prefixes for member in self.members))
            self._channels = frozenset().union(*(member.channels for member in self.members))
            for member in self._own_members():
                member.near.reset(connections)

    def on_tracking(self) -> None:
        """Count a connection on which the server reports writes."""
        with self._subscribers.mutex:
            self._tracking += 1
            self._activate_if_complete()

    def on_announcements_needed(self) -> None:
        """Count a connection on which writers publish."""
        with self._subscribers.mutex:
            self.announcing += 1
            self._activate_if_complete()

    def _activate_if_complete(self) -> None:
        if not self.is_superseded and self._tracking + self.announcing == self._expected:
            self._subscribers.activate(self)

    def count_drained(self) -> None:
        """Count a connection on which everything has arrived that was sent before another took over."""
        self._drained += 1

    @property
    def is_drained(self) -> bool:
        """Whether that is true of all connections."""
        return self._drained >= self._expected

    def on_disconnected(self, error: Exception | None = None) -> None:
        """Handle the end of all connections."""
        with self._subscribers.mutex:
            was_up, self.is_up = self.is_up, False
            if not self.is_superseded:
                for member in self._own_members():
                    member.near.on_disconnected(error)
            elif not self._has_ended:
                self._has_ended = True
                if was_up and not self.is_drained:  # messages about writes may be lost
                    self.invalidate_all()
                self._subscribers.on_drained(self)

    def _own_members(self) -> list[Subscriber]:
        return [member for member in self.members if not self._subscribers.is_served_by_other(member, self)]
