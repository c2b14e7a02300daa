"""What the tests of near caches share: waiting while an awaited cache listens, and a writer as in another process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from edge_redis._cache.near import Copies, Near
from edge_redis._cache.near_entry import NOTHING
from edge_redis._cache.scripts import Scripts
from support.deadline import eventually
from support.portal import Blocking

T = TypeVar("T")


def near_of(cache: Any) -> Near:
    return cache._near


def let_it_listen(cache: Any) -> None:
    """Give what listens its turn: where a portal drives the loop it runs only during calls."""
    if isinstance(cache, Blocking):
        cache._portal.run(asyncio.sleep(0.002))
    else:
        time.sleep(0.002)


def eventually_heard(cache: Any, condition: Callable[[], T], *, seconds: float = 10.0) -> T:
    """Return the first true result of ``condition``, which is tried while ``cache`` listens."""

    def tried() -> T:
        let_it_listen(cache)
        return condition()

    return eventually(tried, seconds=seconds)


def listening(cache: Any) -> Any:
    """Return ``cache`` when it listens."""
    cache.contains("begins")
    eventually_heard(cache, lambda: near_of(cache).is_listening)
    return cache


def is_held(cache: Any, key: str) -> bool:
    return near_of(cache).held(key) is not NOTHING


def read_until_held(cache: Any, *keys: str) -> int:
    """Read ``keys`` until all are at hand; return how many reads it took. Word of their own writing may come late."""
    reads = 0

    def all_held() -> bool:
        nonlocal reads
        for key in keys:
            assert cache.get(key) is not None
            reads += 1
        let_it_listen(cache)
        return near_of(cache)._entries.keys() >= set(keys)

    eventually_heard(cache, all_held)
    return reads


def as_in_another_process(cache: Any) -> Any:
    """Have what ``cache`` writes forgotten by no near cache of this process; return it."""
    room = getattr(cache, "_target", cache)._component
    for shard in room._shards:
        shard.copies = Copies()
    return cache


@contextmanager
def reads_sent(patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the keys that caches of this process ask the server for meanwhile."""
    asked: list[str] = []
    read, claim = Scripts.read, Scripts.claim

    def reading(scripts: Scripts, keys: Iterable[str]) -> Any:
        keys = list(keys)
        asked.extend(keys)
        return read(scripts, keys)

    def claiming(scripts: Scripts, key: str, claimed: Any) -> Any:
        asked.append(key)
        return claim(scripts, key, claimed)

    with patch.context() as patched:
        patched.setattr(Scripts, "read", reading)
        patched.setattr(Scripts, "claim", claiming)
        yield asked
