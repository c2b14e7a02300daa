"""What writes a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from edge_redis.cache.limits import entry_keys, packed_tags, ttl_ms
from edge_redis.cache.reading import Reading
from edge_redis.cache.scripts import PURGED, CallId, Cleared, Pair, Terms, chunks
from edge_redis.core import check, codec
from edge_redis.core.operation import Flow, Operation


class Writing(Reading):
    """The part of a cache that writes."""

    def put(
        self,
        key: str,
        value: Any,  # noqa: ANN401 -- any value
        ttl: float | None = None,
        *,
        tags: Iterable[str] = (),
    ) -> Flow[None]:
        """Store ``value`` under ``key`` for ``ttl`` seconds (``default_ttl`` where None).

        A new key in a full cache evicts: expired entries first, then the least accessed, the
        oldest where counts tie (under ``eviction="lru"`` the one not read for longest). Overwriting
        restarts the entry's count, age and TTL, replaces its tags, and evicts nothing. What
        ``get_or_compute`` is computing for the key meanwhile is not stored over it.

        Raises:
            InvalidKeyError: the key or a tag is empty, over 1,024 bytes in UTF-8, or not encodable.
            InvalidArgumentError: the TTL is not finite, under a millisecond or over a hundred years;
                or the cache has entries that were put under another ``eviction``.
            UnsupportedTypeError: the value, or one inside it, is of a type that is not carried.
            ValueTooLargeError: the encoded value is over ``max_value_bytes``.

        """
        yield from self._store([self._pair(key, value)], self._terms(ttl, tags))

    def put_many(self, mapping: Mapping[str, Any], ttl: float | None = None, *, tags: Iterable[str] = ()) -> Flow[None]:
        """Store every value of ``mapping`` under its key, in one round trip, each as in ``put``.

        All are checked before any is sent. They are stored in chunks of 100, each chunk atomic.
        """
        if not isinstance(mapping, Mapping):
            raise check.type_error("mapping", mapping, "a mapping of str to values")
        pairs = [self._pair(key, value) for key, value in mapping.items()]
        yield from self._store(pairs, self._terms(ttl, tags))

    def _pair(self, key: str, value: object) -> Pair:
        return check.identifier("key", key), codec.encode(value, limit=self._settings.max_value_bytes)

    def _ttl_ms(self, ttl: float | None) -> int:
        return ttl_ms("default_ttl", self._settings.default_ttl) if ttl is None else ttl_ms("ttl", ttl)

    def _terms(self, ttl: float | None, tags: Iterable[str]) -> Terms:
        settings = self._settings
        return Terms(settings.max_size, self._ttl_ms(ttl), packed_tags(tags), eviction=settings.eviction)

    def _store(self, pairs: Sequence[Pair], terms: Terms) -> Flow[None]:
        """Store pairs; the counts noted so far go before them, since they decide who is evicted."""
        waiting, more_due = chunks(pairs), False
        while waiting:
            results = yield from self._all_after_flush([self._scripts.put(chunk, terms) for chunk in waiting])
            more_due = any(result.more_due for result in results)
            rests = (chunk[result.done :] for chunk, result in zip(waiting, results, strict=True))
            waiting = [rest for rest in rests if rest]
        if more_due:
            yield from self._sweep()

    def touch(self, key: str, ttl: float | None = None) -> Operation[bool]:
        """Let ``key`` expire ``ttl`` seconds from now (``default_ttl`` where None); whether there is one.

        No access is counted, and ``created_at`` stays.
        """
        check.identifier("key", key)
        return self._scripts.touch(key, self._ttl_ms(ttl))

    def delete(self, key: str) -> Flow[bool]:
        """Remove ``key``; whether there was one."""
        check.identifier("key", key)
        with self._slots.hold() as call:
            removed = yield from self._scripts.delete([key], call)
        return removed == 1

    def delete_many(self, keys: Iterable[str]) -> Flow[int]:
        """Remove these keys in one round trip; how many of them there were."""
        removed = yield from self._remembered(entry_keys(keys), self._scripts.delete)
        return sum(removed)

    def clear(self) -> Flow[int]:
        """Remove every entry of the namespace; how many live ones there were. The statistics stay."""
        yield from self.flush()
        return (yield from self._until_empty(self._scripts.clear))

    def invalidate_tag(self, tag: str) -> Flow[int]:
        """Remove every entry that was put with ``tag``; how many live ones there were.

        What ``get_or_compute`` is computing meanwhile, with any tags, is not stored.
        """
        check.identifier("tag", tag)
        return (yield from self._until_empty(lambda call: self._scripts.invalidate(tag, call)))

    def _until_empty(self, build: Callable[[CallId], Operation[Cleared]]) -> Flow[int]:
        removed, more = 0, True
        while more:
            with self._slots.hold() as call:
                step = yield from build(call)
            removed, more = removed + step.removed, step.more
        return removed

    def purge_expired(self) -> Flow[int]:
        """Remove the entries whose time has passed; how many, those counted that Redis expired by itself.

        Rows of entries that Redis evicted by itself are removed as well, and counted in
        ``stats()["healed"]``; this walks the whole index, a few hundred entries a call.
        """
        yield from self.flush()
        removed = yield from self._sweep()
        for index in (1, 2):
            cursor = yield from self._scripts.heal(index, 0)
            while cursor:
                cursor = yield from self._scripts.heal(index, cursor)
        return removed

    def _sweep(self) -> Flow[int]:
        removed, last = 0, PURGED
        while last == PURGED:
            with self._slots.hold() as call:
                last = yield from self._scripts.purge(call)
            removed += last
        return removed
