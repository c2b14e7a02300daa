"""The shards of a cache as one, and what is done where the store is gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar
from zlib import crc32

from edge_redis._cache.breaker import Breaker
from edge_redis._cache.buffer import AccessBuffer
from edge_redis._cache.config import Settings
from edge_redis._cache.invalidation_protocol import Conversation, Ear
from edge_redis._cache.keys import CacheKeys, shard_names
from edge_redis._cache.near import Copies, Near
from edge_redis._cache.near_entry import NOTHING
from edge_redis._cache.scripts import Scripts
from edge_redis._cache.shard import Shard
from edge_redis._core.component import Component
from edge_redis._core.keys import namespace_name
from edge_redis._core.operation import gather
from edge_redis.errors import StoreError, StoreOutOfMemoryError, StoreReadOnlyError, StoreUnavailableError

T = TypeVar("T")

_ANNOUNCED_MS: Final = 10_000
_ANNOUNCED_SECONDS: Final = _ANNOUNCED_MS / 1000
_RENEWED_SECONDS: Final = 2.0
_REFUSED_WRITES: Final = (StoreOutOfMemoryError, StoreReadOnlyError)


class Routing(Component):
    """The part of a cache that knows its shards, and goes on without them where it is told to."""

    def __init__(
        self, namespace: str, settings: Settings, clock: Callable[[], float], near: Near | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.near = near
        self._breaker = Breaker(clock) if settings.on_error == "miss" else None
        names = shard_names(namespace_name(namespace), settings.shards)
        self._shards = [
            Shard(CacheKeys(namespace, name), settings.share(number), clock, near) for number, name in enumerate(names)
        ]
        self._announced_at = float("-inf")
        self._layout = settings.layout
        # One shard says in its own keys how it is kept; several say it where a single one would look, too.
        self._home = Scripts(CacheKeys(namespace))
        for shard in self._shards:
            shard.layout, shard.home = self._layout, self._home
        if near is not None:
            self.tick_seconds = min(settings.flush_interval, 1.0)
        elif settings.flush_every > 1 or self._breaker is not None:
            self.tick_seconds = settings.flush_interval

    def share(self, buffers: Callable[[str], AccessBuffer], copies: Copies) -> None:
        """Use buffers by the name of a shard's tag, and tell copies, that others of this process use too."""
        for shard in self._shards:
            shard.buffer, shard.copies = buffers(shard.keys.tag), copies
        if self.near is not None:
            copies.add(self.near)

    def conversation(self) -> Conversation:
        """Return what is to be said on each connection that listens for the near cache."""
        assert self.near is not None
        return Ear(self.near, [shard.keys for shard in self._shards]).conversation()

    def _of(self, key: str) -> Shard:
        shards = self._shards
        return shards[0] if len(shards) == 1 else shards[self._number(key)]

    def _number(self, key: str) -> int:
        return crc32(key.encode()) % len(self._shards)

    def _split(self, items: Iterable[T], key_of: Callable[[T], str]) -> list[tuple[Shard, list[T]]]:
        items = list(items)
        if len(self._shards) == 1:
            return [(self._shards[0], items)]
        parts: defaultdict[int, list[T]] = defaultdict(list)
        for item in items:
            parts[self._number(key_of(item))].append(item)
        return [(self._shards[number], part) for number, part in parts.items()]

    async def _everywhere(self, steps: Callable[[Shard], Awaitable[T]]) -> list[T]:
        return await gather([steps(shard) for shard in self._shards])

    def _or_else(
        self, keys: Sequence[str], steps: Callable[[], Awaitable[T]], otherwise: Callable[[], T]
    ) -> Awaitable[T]:
        """Perform steps on keys; where misses are preferred to errors, answer otherwise for a store that is gone."""
        breaker = self._breaker
        if breaker is None:
            return steps()

        def counted() -> T:
            breaker.answered_for += 1
            return otherwise()

        return self._answered(breaker, keys, steps, counted)

    async def _answered(
        self, breaker: Breaker, keys: Sequence[str], steps: Callable[[], Awaitable[T]], otherwise: Callable[[], T]
    ) -> T:
        if not breaker.admits():
            return otherwise()
        try:
            await self._paid(breaker, keys)
            result = await steps()
        except _REFUSED_WRITES:  # it answers, so it is no reason to ask it no more
            return otherwise()
        except StoreUnavailableError:
            breaker.failed()
            return otherwise()
        breaker.succeeded()
        return result

    async def _paid(self, breaker: Breaker, keys: Sequence[str]) -> None:
        """Remove what is owed before anything else is asked; a store that only reads may be asked of other keys."""
        owed = dict(breaker.owed)
        if not owed:
            return
        is_concerned = not owed.keys().isdisjoint(keys)
        if breaker.was_refused and not is_concerned:
            return
        try:
            await self._delete(list(owed))
        except _REFUSED_WRITES:
            breaker.refused()
            if is_concerned:
                raise
        else:
            breaker.paid(owed)

    async def _delete(self, keys: Sequence[str]) -> int:
        return sum(await gather([shard.delete(part) for shard, part in self._split(keys, str)]))

    def _owing(self, keys: Sequence[str], result: T) -> Callable[[], T]:
        def otherwise() -> T:
            breaker = self._breaker
            assert breaker is not None
            if not breaker.has_room_for(keys):
                raise StoreUnavailableError("the store is gone, and too many writes are owed to it already")
            breaker.owe(keys)
            self._shards[0].copies.forget(keys)
            return result

        return otherwise

    def _last_known(self, key: str) -> Any:
        return NOTHING if self.near is None else self.near.last_known(key)

    async def flush(self) -> None:
        """Deliver the accesses noted so far, those of all caches of this process and namespace."""
        await self._everywhere(Shard.flush)

    async def tick(self) -> None:
        """Deliver the accesses noted so far; ask for word of writes and remove what is owed, where that is due."""
        if self.near is not None and self.near.needs_announcing:
            await self._announced(self.near)
        if self._breaker is None:
            await self.flush()
        else:
            await self._answered(self._breaker, (), self.flush, lambda: None)

    async def closing(self) -> None:
        """Deliver what is noted; with ``on_error="miss"``, if that can be."""
        if self._breaker is None:
            return await self.flush()
        return await self._answered(self._breaker, (), self.flush, lambda: None)

    def after_fork(self) -> None:
        """Forget what the parent has noted, which it delivers itself, and hold nothing at hand."""
        for shard in self._shards:
            shard.after_fork()
        if self.near is not None:
            self.near.reset()

    async def _announced(self, near: Near) -> None:
        now = self._clock()
        if near.announced_since is not None and now - self._announced_at < _RENEWED_SECONDS:
            return
        try:
            since = await self._everywhere(lambda shard: shard.announced(_ANNOUNCED_MS))
        except StoreError:
            if now - self._announced_at > _ANNOUNCED_SECONDS:
                near.doubt()
            raise
        self._announced_at = now
        near.announced(since)
