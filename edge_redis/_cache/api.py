"""What a cache does, as operations and flows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from edge_redis._cache.config import entry_keys, packed_tags, ttl_ms
from edge_redis._cache.near_entry import NOTHING
from edge_redis._cache.routing import Routing
from edge_redis._cache.scripts import Pair, Terms
from edge_redis._cache.shard import ComputeRaisedError, Order, Shard
from edge_redis._core import validation
from edge_redis._core.operation import Invoke, gather
from edge_redis.models import CacheEntry

T = TypeVar("T")

LEASE_SECONDS: Final = 10.0
"""How long one may compute before another does, by default."""

_COUNTED: Final = ("hits", "misses", "evictions", "expirations", "undecodable", "healed", "bytes")


class Place(NamedTuple):
    """Where a walk over the keys goes on."""

    shard: int = 0
    cursor: int = 0


class Keys(NamedTuple):
    """Some keys, and where to go on; None at the end."""

    keys: list[str]
    next: Place | None


def _percent(hits: int, misses: int) -> float:
    return 100.0 * hits / (hits + misses) if hits + misses else 0.0


class Cache(Routing):
    """The cache of one namespace."""

    def get(self, key: str, default: Any = None) -> Awaitable[Any]:
        """Return the value of ``key``, or ``default`` where there is none or its time has passed.

        A hit raises the entry's access count by one. Bytes that do not decode are a miss; they
        are removed and counted in ``stats()["undecodable"]``.

        Raises:
            InvalidKeyError: the key is empty, over 1,024 bytes in UTF-8, or not encodable.
            InvalidTypeError: it is no str.
            StoreUnavailableError: the server is gone (not with ``on_error="miss"``).

        """
        validation.identifier("key", key)
        shard = self._of(key)
        if shard.reads_plainly and self._breaker is None:
            return shard.get_plainly(key, default)
        return self._got(shard, key, default)

    async def _got(self, shard: Shard, key: str, default: Any) -> Any:
        value = await self._or_else([key], lambda: shard.get(key), lambda: self._last_known(key))
        return default if value is NOTHING else value

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found, in one round trip; each counts as in ``get``."""
        wanted = entry_keys(keys)
        found: dict[str, Any] = await self._or_else(
            wanted,
            lambda: self._many(wanted),
            lambda: {key: value for key in wanted if (value := self._last_known(key)) is not NOTHING},
        )
        return found

    async def _many(self, keys: Sequence[str]) -> dict[str, Any]:
        parts = await gather([shard.get_many(part) for shard, part in self._split(keys, str)])
        if len(parts) == 1:
            return parts[0]
        found = {key: value for part in parts for key, value in part.items()}
        return {key: found[key] for key in keys if key in found}

    def contains(self, key: str) -> Awaitable[bool]:
        """Whether there is an entry ``key``. No access is counted."""
        validation.identifier("key", key)
        return self._or_else([key], lambda: self._of(key).contains(key), lambda: self._last_known(key) is not NOTHING)

    def entry(self, key: str) -> Awaitable[CacheEntry | None]:
        """Return what the cache knows of ``key``, or None. No access is counted."""
        validation.identifier("key", key)
        return self._or_else([key], lambda: self._of(key).entry(key), lambda: None)

    async def page(self, place: Place) -> Keys:
        """Return some keys of live entries and where to go on."""
        page = await self._shards[place.shard].page(place.cursor)
        if page.cursor:
            return Keys(page.keys, place._replace(cursor=page.cursor))
        following = place.shard + 1
        return Keys(page.keys, Place(following) if following < len(self._shards) else None)

    def put(
        self,
        key: str,
        value: Any,
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
    ) -> Awaitable[None]:
        """Store ``value`` under ``key`` for ``ttl`` seconds (``default_ttl`` where None).

        A new key in a full cache evicts: expired entries first, then those that the cache's
        ``eviction`` names. Overwriting restarts the entry's count, age and TTL, replaces its tags,
        and evicts nothing (unless it outgrows ``max_bytes``). What ``get_or_compute`` is computing
        for the key meanwhile is not stored over it.

        Raises:
            InvalidKeyError: the key or a tag is empty, over 1,024 bytes in UTF-8, or not encodable.
            InvalidArgumentError: the TTL is not finite, under a millisecond or over a hundred years;
                or the cache has entries that were put under another ``eviction``, number of shards or
                kind of bound.
            UnsupportedTypeError: the value, or one inside it, is of a type that is not carried.
            ValueTooLargeError: the encoded value is over ``max_value_bytes``, or the entry over ``max_bytes``.
            StoreUnavailableError: the server is gone (not with ``on_error="miss"``), or out of memory.

        """
        shard = self._of(validation.identifier("key", key))
        pair, terms = shard.pair(key, value, ttl), shard.terms(packed_tags(tags))
        return self._or_else([key], lambda: shard.store_one(pair, terms), self._owing([key], None))

    def put_many(
        self, mapping: Mapping[str, Any], ttl: float | None = None, *, tags: Iterable[str] = ()
    ) -> Awaitable[None]:
        """Store every value of ``mapping`` under its key, in one round trip, each as in ``put``.

        All are checked before any is sent. They are stored in chunks of 100, each chunk atomic.
        """
        if not isinstance(mapping, Mapping):
            raise validation.type_error("mapping", mapping, "a mapping of str to values")
        values = {validation.identifier("key", key): value for key, value in mapping.items()}
        keys, packed = list(values), packed_tags(tags)
        parts = [
            (shard, [shard.pair(key, values[key], ttl) for key in part], shard.terms(packed))
            for shard, part in self._split(keys, str)
        ]
        return self._or_else(keys, lambda: self._put_parts(parts), self._owing(keys, None))

    async def _put_parts(self, parts: Sequence[tuple[Shard, Sequence[Pair], Terms]]) -> None:
        await gather([shard.store(pairs, terms) for shard, pairs, terms in parts])

    async def touch(self, key: str, ttl: float | None = None) -> bool:
        """Let ``key`` expire ``ttl`` seconds from now (``default_ttl`` where None); whether there is one.

        No access is counted, and ``created_at`` stays.
        """
        validation.identifier("key", key)
        shard = self._of(key)
        shard.lifetime_ms(ttl)
        found: bool = await self._or_else([key], lambda: shard.touch(key, ttl), lambda: False)
        return found

    async def delete(self, key: str) -> bool:
        """Remove ``key``; whether there was one."""
        validation.identifier("key", key)
        removed = await self._or_else([key], lambda: self._delete([key]), self._owing([key], 0))
        return removed == 1

    def delete_many(self, keys: Iterable[str]) -> Awaitable[int]:
        """Remove these keys in one round trip; how many of them there were."""
        unwanted = entry_keys(keys)
        return self._or_else(unwanted, lambda: self._delete(unwanted), self._owing(unwanted, 0))

    async def clear(self) -> int:
        """Remove every entry of the namespace; how many live ones there were. The statistics stay.

        Raises:
            InvalidArgumentError: the cache has another number of shards: it is to be cleared by one that knows them.

        """
        if len(self._shards) == 1:
            return await self._shards[0].clear()
        await self._home.agree(self._layout)
        removed = sum(await self._everywhere(Shard.clear))
        await self._home.forget_layout()
        return removed

    async def invalidate_tag(self, tag: str) -> int:
        """Remove every entry that was put with ``tag``; how many live ones there were.

        What ``get_or_compute`` is computing meanwhile, with any tags, is not stored.
        """
        validation.identifier("tag", tag)
        return sum(await self._everywhere(lambda shard: shard.invalidate_tag(tag)))

    async def purge_expired(self) -> int:
        """Remove the entries whose time has passed; how many, those counted that Redis expired by itself.

        Rows of entries that Redis evicted by itself are removed as well, and counted in
        ``stats()["healed"]``; this walks the whole index, a few hundred entries a call.
        """
        return sum(await self._everywhere(Shard.purge_expired))

    async def get_or_compute(
        self,
        key: str,
        compute: Callable[[], Any],
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
        stale_ttl: float | None = None,
        lease_seconds: float = LEASE_SECONDS,
        early: float = 0.0,
        negative_ttl: float | None = None,
        error_ttl: float | None = None,
    ) -> Any:
        """Return the value of ``key``; where there is none, that of ``compute()``, stored for ``ttl`` seconds.

        Of all processes that miss at once, one computes and the others wait for its value. One
        that dies frees the others when its lease has run out, after ``lease_seconds``; it should
        be longer than ``compute`` takes. An error of ``compute`` is raised, nothing is stored, and
        the next one that waits computes in its turn. None is a value like any other.

        A value is not stored if the key was put or deleted, the cache cleared or (where it has
        tags) any tag invalidated while it was computed; the caller gets it all the same.

        Args:
            key: of the entry.
            compute: a function without arguments; where the API is awaited it may be a coroutine function.
            ttl: seconds; None for ``default_ttl``.
            tags: of the entry, as in ``put``.
            stale_ttl: seconds that the entry lives longer than ``ttl`` (for plain reads, too). In this
                time one caller computes it anew, the others get the old value at once; the one gets it
                as well if its ``compute`` raises an Exception.
            lease_seconds: how long one may compute before another does.
            early: above 0, the value is computed anew before it expires: with a probability that rises
                as its time runs out, the sooner the longer it took to compute (XFetch, Vattani et al.,
                "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015; 1.0 is its optimum).
            negative_ttl: seconds for which a None is stored instead of ``ttl``.
            error_ttl: seconds for which an Exception of ``compute`` is told all that ask, who get a
                ComputeFailedError; the one whose ``compute`` raised gets its own error. None: it is not kept.

        """
        validation.identifier("key", key)
        validation.function("compute", compute)
        shard = self._of(key)
        if negative_ttl is not None:
            ttl_ms("negative_ttl", negative_ttl)
        shard.lifetime_ms(ttl)
        order = Order(
            key,
            compute,
            shard.terms(packed_tags(tags)),
            ttl,
            ttl_ms("lease_seconds", lease_seconds),
            0 if stale_ttl is None else ttl_ms("stale_ttl", stale_ttl),
            validation.non_negative("early", early),
            negative_ttl,
            0 if error_ttl is None else ttl_ms("error_ttl", error_ttl),
            must_store=self._breaker is None,
        )
        try:
            value = await self._or_else([key], lambda: shard.computed(order), lambda: self._last_known(key))
        except ComputeRaisedError as raised:
            raise raised.error from raised.error.__cause__
        return (await Invoke(compute)) if value is NOTHING else value

    async def stats(self) -> dict[str, Any]:
        """Return the statistics of all processes of the namespace; this process's are always included.

        ``size`` (live entries), ``max_size``, ``hits``, ``misses``, ``hit_rate`` (0 to 100),
        ``default_ttl`` (seconds), ``evictions`` (to make room), ``expirations``, ``undecodable``
        (entries whose bytes did not decode), ``healed`` (entries whose value Redis evicted by
        itself) and ``bytes`` (of keys and values; 0 without ``max_bytes``). Other processes' hits
        and misses follow within their ``flush_interval``.

        Of this process: ``near_size`` and ``near_listening`` with a near cache; ``answered_without_store``,
        ``owed`` and ``circuit`` ("closed" or "open") with ``on_error="miss"``.
        """
        live, due, *counted = await self._summed(_COUNTED)
        known = dict(zip(_COUNTED, counted, strict=True))
        known["expirations"] += due
        return {
            "size": live,
            "max_size": self._settings.max_size,
            "hit_rate": _percent(known["hits"], known["misses"]),
            "default_ttl": self._settings.default_ttl,
            **known,
            **self.local_stats(),
        }

    def local_stats(self) -> dict[str, Any]:
        """Return what this process alone knows."""
        local: dict[str, Any] = {}
        if self.near is not None:
            local |= {"near_size": len(self.near), "near_listening": self.near.is_listening}
        if self._breaker is not None:
            local |= {
                "answered_without_store": self._breaker.answered_for,
                "owed": len(self._breaker.owed),
                "circuit": "open" if self._breaker.is_open else "closed",
            }
        return local

    async def size(self) -> int:
        """Live entries."""
        live, *_ = await self._summed(_COUNTED[:1])
        return live

    async def hit_rate(self) -> float:
        """Hits of all requests of all processes, 0 to 100; 0.0 before any request."""
        _, _, hits, misses = await self._summed(_COUNTED[:2])
        return _percent(hits, misses)

    async def _summed(self, fields: Sequence[str]) -> list[int]:
        counted = await self._everywhere(lambda shard: shard.counted(fields))
        return [sum(column) for column in zip(*counted, strict=True)]

    async def flush(self) -> None:
        """Deliver the accesses noted so far, those of all caches of this process and namespace."""
        await self._everywhere(Shard.flush)
