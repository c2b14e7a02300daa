"""Near caches that join and leave one listener, and listeners that take over from one another."""

from __future__ import annotations

from typing import Any

import pytest

from edge_redis._cache.config import NearCache
from edge_redis._cache.entry import decode_entry
from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_entry import MISSING
from edge_redis._cache.near_subscribers import MAX_DRAINING, Subscriber, Subscribers, Subscription
from edge_redis._core import codec
from edge_redis._core.session import Send, SessionEnded
from edge_redis.errors import StoreRefusedError, StoreUnavailableError

LOST = StoreUnavailableError("the connection was lost")


class Listener:
    """A listener with one connection, driven by hand."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.is_retired = False

    def connects(self, *, tracks: bool = True) -> None:
        self.subscription.reset(1)
        self.session = self.subscription.session()
        self.step: Any = self.session.send(None)
        self.answers(7)
        self.tracked: Any = self.step
        if tracks:
            self.answers(b"OK")
        else:
            self.session.send(None)
            self.step = self.session.throw(StoreRefusedError("no such command"))
        while isinstance(self.step, Send):
            self.answers([b"subscribe", b"channel", 1])

    def answers(self, reply: Any) -> None:
        """Let a command be sent, and answer it."""
        self.session.send(None)
        self.step = self.session.send(reply)

    def receives(self, namespace: str, key: str) -> None:
        self.step = self.session.send([b"message", b"__redis__:invalidate", [f"{values(namespace)}{key}".encode()]])

    def drains(self, *messages: tuple[str, str]) -> None:
        """Send what was on the way, then the answer to the PING that follows."""
        assert self.step == Send(("PING",))
        self.session.send(None)
        for message in messages:
            self.receives(*message)
        with pytest.raises(SessionEnded):
            self.session.send([b"pong", b""])
        self.subscription.on_disconnected()

    def fails(self) -> None:
        self.subscription.on_disconnected(LOST)


def keys_of(namespace: str) -> CacheKeys:
    return CacheKeys(namespace)


def values(namespace: str) -> str:
    return keys_of(namespace).values


class Site:
    """Near caches of one process, by their namespaces, and the listeners that were started."""

    def __init__(self) -> None:
        self.listeners: dict[Subscription, Listener] = {}
        self.subscribers = Subscribers(self._start, self._retire, self._forget)
        self.joined: dict[str, Subscriber] = {}

    def _start(self, subscription: Subscription) -> None:
        self.listeners.setdefault(subscription, Listener(subscription))

    def _retire(self, subscription: Subscription) -> None:
        self.listeners[subscription].is_retired = True

    def _forget(self, subscription: Subscription) -> None:
        del self.listeners[subscription]

    def join(self, namespace: str) -> NearEntries:
        near = NearEntries(NearCache(10, 600.0), lambda: 0.0)
        self.joined[namespace] = Subscriber(near, [keys_of(namespace)])
        self.subscribers.add(self.joined[namespace])
        return near

    @property
    def newest(self) -> Listener:
        return list(self.listeners.values())[-1]


def fill(near: NearEntries, key: str = "k") -> None:
    raw = f"{1:010d}{1_700_000_000_000:013d}".encode() + codec.encode("v")
    pending = near.begin_fill(key)
    near.put(key, pending, near.make_entry(key, decode_entry(raw), raw, lambda _: None, 600.0))
    near.end_fill(key, pending)
    assert near.get(key) == "v"


@pytest.fixture
def site() -> Site:
    return Site()


def test_near_caches_that_join_before_the_connection_is_made_share_it(site: Site) -> None:
    nears = {namespace: site.join(namespace) for namespace in ("a", "b", "c")}
    site.newest.connects()
    assert len(site.listeners) == 1
    assert [arg for arg in site.newest.tracked.args if arg.startswith("er:")] == [values(each) for each in "abc"]
    for near in nears.values():
        fill(near)
    site.newest.receives("b", "k")
    assert [near.get("k") for near in nears.values()] == ["v", MISSING, "v"]


def test_one_that_joins_later_empties_none_of_the_others_and_no_message_on_the_way_is_lost(site: Site) -> None:
    first = site.join("a")
    old = site.newest
    old.connects()
    fill(first)
    fill(first, "written")
    second = site.join("b")
    new = site.newest
    assert (new is old, second.is_listening) == (False, False)
    new.connects()
    assert (second.is_listening, old.is_retired) == (True, True)
    assert first.get("k") == "v"
    old.receives("a", "other")  # wakes it
    old.drains(("a", "written"))
    assert (first.get("k"), first.get("written")) == ("v", MISSING)
    assert list(site.listeners.values()) == [new]
    new.receives("a", "k")
    assert first.get("k") is MISSING


def test_an_old_connection_that_is_lost_before_it_is_drained_empties_its_near_caches(site: Site) -> None:
    first = site.join("a")
    old = site.newest
    old.connects()
    fill(first)
    site.join("b")
    site.newest.connects()
    old.fails()
    assert first.get("k") is MISSING
    assert first.is_listening
    fill(first)


def test_while_a_new_connection_fails_the_old_one_serves_on(site: Site) -> None:
    first = site.join("a")
    site.newest.connects()
    fill(first)
    second = site.join("b")
    site.newest.subscription.reset(1)
    site.newest.fails()
    assert (first.get("k"), second.is_listening) == ("v", False)
    site.newest.connects()
    assert (first.get("k"), second.is_listening) == ("v", True)


def test_where_the_old_one_is_lost_first_the_new_one_serves_all(site: Site) -> None:
    first = site.join("a")
    old = site.newest
    old.connects()
    fill(first)
    second = site.join("b")
    old.fails()
    assert first.get("k") is MISSING
    site.newest.connects()
    assert (first.is_listening, second.is_listening) == (True, True)
    assert old.is_retired


def test_a_cache_of_a_namespace_that_is_listened_to_needs_no_new_connection(site: Site) -> None:
    first = site.join("a")
    site.newest.connects()
    fill(first)
    again = site.join("a")
    assert len(site.listeners) == 1
    assert again.is_listening
    fill(again)
    site.newest.receives("a", "k")
    assert (first.get("k"), again.get("k")) == (MISSING, MISSING)


def test_one_that_leaves_is_served_no_more_and_the_last_ends_it(site: Site) -> None:
    first, second = site.join("a"), site.join("b")
    site.newest.connects()
    fill(second)
    assert not site.subscribers.remove(site.joined["a"])
    assert (first.is_listening, second.get("k")) == (False, "v")
    assert site.subscribers.remove(site.joined["b"])
    assert not second.is_listening


def test_those_that_join_while_several_are_drained_share_the_next_connection(site: Site) -> None:
    site.join("first")
    site.newest.connects()
    retired = []
    for at in range(MAX_DRAINING):
        retired.append(site.newest)
        site.join(f"n{at}")
        site.newest.connects()
    late = [site.join(f"late{at}") for at in range(5)]
    assert len(site.listeners) == 1 + MAX_DRAINING
    retired[0].receives("first", "k")
    retired[0].drains()
    assert len(site.listeners) == 1 + MAX_DRAINING
    site.newest.connects()
    assert all(near.is_listening for near in late)


def test_where_the_server_tracks_no_more_writers_are_asked_to_publish(site: Site) -> None:
    first = site.join("a")
    site.newest.connects()
    fill(first)
    second = site.join("b")
    site.newest.connects(tracks=False)
    assert first.get("k") is MISSING
    assert (first.needs_announcements, second.needs_announcements) == (True, True)


def test_a_message_about_all_keys_empties_all(site: Site) -> None:
    nears = [site.join(namespace) for namespace in ("a", "b")]
    site.newest.connects()
    for near in nears:
        fill(near)
    site.newest.session.send([b"message", b"__redis__:invalidate", None])
    assert [len(near) for near in nears] == [0, 0]
