"""Shared by the tests of near caches: waiting while an asyncio cache listens, and a writer as in another process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from edge_redis._cache.api import Cache
from edge_redis._cache.flights import Flights
from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.near_cache_group import NearCacheGroup
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_entry import MISSING
from edge_redis._cache.near_subscribers import Subscriber, Subscribers, Subscription
from edge_redis._cache.scripts import Scripts
from edge_redis._core.session import Session
from edge_redis._io.threads import new_future
from support.deadline import eventually
from support.portal import Blocking

T = TypeVar("T")


def component_of(cache: Any) -> Cache:
    """Return the component of a cache, blocking or asyncio."""
    component: Cache = getattr(cache, "_target", cache)._component
    return component


def start_session(near: NearEntries, shards: Sequence[CacheKeys]) -> Session:
    """Return a session of a connection that serves one near cache."""
    begun: list[Subscription] = []
    Subscribers(begun.append, begun.append, begun.append).add(Subscriber(near, shards))
    begun[0].reset(1)
    return begun[0].session()


def near_of(cache: Any) -> NearEntries:
    near = component_of(cache).near
    assert near is not None
    return near


def let_it_listen(cache: Any) -> None:
    """Let the listener run: where a portal drives the loop it runs only during calls."""
    if isinstance(cache, Blocking):
        cache._portal.run(asyncio.sleep(0.002))
    else:
        time.sleep(0.002)


def eventually_received(cache: Any, condition: Callable[[], T], *, seconds: float = 10.0) -> T:
    """Return the first true result of ``condition``, which is tried while ``cache`` listens."""

    def tried() -> T:
        let_it_listen(cache)
        return condition()

    return eventually(tried, seconds=seconds)


def listening(cache: Any) -> Any:
    """Return ``cache`` when it listens."""
    cache.contains("begins")
    eventually_received(cache, lambda: near_of(cache).is_listening)
    return cache


def is_held(cache: Any, key: str) -> bool:
    """Whether the near cache answers for ``key``; this counts a hit."""
    return near_of(cache).get(key) is not MISSING


def has_entry(cache: Any, key: str) -> bool:
    """Whether the near cache has an entry ``key``; this counts no hit."""
    return near_of(cache).has_entry(key)


def read_until_held(cache: Any, *keys: str) -> int:
    """Read ``keys`` until the near cache has all; return the number of reads.

    Messages about the writes that put them there may arrive late.
    """
    reads = 0

    def all_held() -> bool:
        nonlocal reads
        for key in keys:
            assert cache.get(key) is not None
            reads += 1
        let_it_listen(cache)
        return all(has_entry(cache, key) for key in keys)

    eventually_received(cache, all_held)
    return reads


def as_in_another_process(cache: Any) -> Any:
    """Make ``cache`` share no near cache and no computation with others of this process; return it."""
    for shard in component_of(cache).shards.all:
        shard.copies.near_caches = NearCacheGroup()
        shard.copies.flights = shard.computation.flights = Flights(new_future)
    return cache


@contextmanager
def reads_sent(patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the keys that caches of this process request from the server meanwhile."""
    asked: list[str] = []
    get_with_ttl, acquire_lease = Scripts.get_with_ttl, Scripts.acquire_lease

    def reading(scripts: Scripts, keys: Iterable[str]) -> Any:
        keys = list(keys)
        asked.extend(keys)
        return get_with_ttl(scripts, keys)

    def acquiring(scripts: Scripts, key: str, request: Any) -> Any:
        asked.append(key)
        return acquire_lease(scripts, key, request)

    with patch.context() as patched:
        patched.setattr(Scripts, "get_with_ttl", reading)
        patched.setattr(Scripts, "acquire_lease", acquiring)
        yield asked
