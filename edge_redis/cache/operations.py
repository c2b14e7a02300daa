"""What a cache does, as operations and flows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final, TypeVar

from edge_redis.cache.accounting import Accounting
from edge_redis.cache.envelope import opened
from edge_redis.cache.limits import entry_keys, ttl_ms
from edge_redis.cache.scripts import PURGED, Call, Pair, chunks
from edge_redis.core import check, codec
from edge_redis.core.operation import Batch, Flow, Operation, command, identity
from edge_redis.errors import CorruptDataError
from edge_redis.models import CacheEntry, from_timestamp

T = TypeVar("T")

_MGET: Final = 500
_MISSING: Final = object()


class Cache(Accounting):
    """The cache of one namespace."""

    # Reading

    def get(self, key: str, default: Any = None) -> Flow[Any]:  # noqa: ANN401 -- any value
        """Return the value of ``key``, or ``default`` where there is none or its time has passed.

        A hit raises the entry's access count by one. Bytes that do not decode are a miss; they
        are removed and counted in ``stats()["undecodable"]``.
        """
        check.identifier("key", key)
        if self._exact:
            return (yield from self._read_exactly([key])).get(key, default)
        raw = yield from command(identity, "GET", self._keys.value(key))
        value = yield from self._noted(key, raw)
        yield from self._flush_if_full()
        return default if value is _MISSING else value

    def get_many(self, keys: Iterable[str]) -> Flow[dict[str, Any]]:
        """Return the values of those ``keys`` that are found, in one round trip; each counts as in ``get``."""
        wanted = entry_keys(keys)
        if self._exact:
            return (yield from self._read_exactly(wanted))
        reads = [command(list, "MGET", *map(self._keys.value, chunk)) for chunk in chunks(wanted, _MGET)]
        replies = yield from Batch(reads)
        found = {}
        for key, raw in zip(wanted, (raw for reply in replies for raw in reply), strict=True):
            value = yield from self._noted(key, raw)
            if value is not _MISSING:
                found[key] = value
        yield from self._flush_if_full()
        return found

    def contains(self, key: str) -> Operation[bool]:
        """Whether there is an entry ``key``. No access is counted."""
        check.identifier("key", key)
        return command(bool, "STRLEN", self._keys.value(key))

    def entry(self, key: str) -> Flow[CacheEntry | None]:
        """Return what the cache knows of ``key``, or None. No access is counted."""
        check.identifier("key", key)
        found = yield from self._after_flush(self._scripts.entry(key))
        if not found:
            return None
        raw, expiry, count = found
        try:
            entry = opened(raw)
        except CorruptDataError:
            yield from self._discard(key, raw, counted=False)
            return None
        return CacheEntry(
            key=key,
            value=entry.value,
            created_at=from_timestamp(entry.created_ms / 1000),
            ttl_seconds=(int(expiry) - entry.created_ms) / 1000,
            access_count=int(count),
        )

    def _noted(self, key: str, raw: bytes | None) -> Flow[Any]:
        """Note a read in the buffer; return the value, or the mark of a missing one."""
        if raw is None:
            self.buffer.miss(key)
            return _MISSING
        try:
            entry = opened(raw)
        except CorruptDataError:
            self.buffer.miss(key)
            yield from self._discard(key, raw, counted=False)
            return _MISSING
        self.buffer.hit(key, entry.generation)
        return entry.value

    def _read_exactly(self, keys: Sequence[str]) -> Flow[dict[str, Any]]:
        replies = yield from self._remembered(keys, self._scripts.get)
        found = {}
        for key, raw in zip(keys, (raw for reply in replies for raw in reply), strict=True):
            if raw is None:
                continue
            try:
                found[key] = opened(raw).value
            except CorruptDataError:
                yield from self._discard(key, raw, counted=True)
        return found

    def _discard(self, key: str, raw: bytes, *, counted: bool) -> Flow[None]:
        with self._slots.hold() as call:
            yield from self._scripts.discard(key, raw, call, counted=counted)

    # Writing

    def put(self, key: str, value: Any, ttl: float | None = None) -> Flow[None]:  # noqa: ANN401 -- any value
        """Store ``value`` under ``key`` for ``ttl`` seconds (``default_ttl`` where None).

        A new key in a full cache evicts: expired entries first, then the least accessed, the
        oldest where counts tie. Overwriting restarts the entry's count, age and TTL, and evicts
        nothing.

        Raises:
            InvalidKeyError: the key is empty, over 1,024 bytes in UTF-8, or not encodable.
            InvalidArgumentError: the TTL is not finite, under a millisecond or over a hundred years.
            UnsupportedTypeError: the value, or one inside it, is of a type that is not carried.
            ValueTooLargeError: the encoded value is over ``max_value_bytes``.

        """
        yield from self._store([self._pair(key, value)], self._ttl_ms(ttl))

    def put_many(self, mapping: Mapping[str, Any], ttl: float | None = None) -> Flow[None]:
        """Store every value of ``mapping`` under its key, in one round trip, each as in ``put``.

        All are checked before any is sent. They are stored in chunks of 100, each chunk atomic.
        """
        if not isinstance(mapping, Mapping):
            raise check.type_error("mapping", mapping, "a mapping of str to values")
        pairs = [self._pair(key, value) for key, value in mapping.items()]
        yield from self._store(pairs, self._ttl_ms(ttl))

    def _pair(self, key: str, value: object) -> Pair:
        return check.identifier("key", key), codec.encode(value, limit=self._settings.max_value_bytes)

    def _ttl_ms(self, ttl: float | None) -> int:
        return ttl_ms("default_ttl", self._settings.default_ttl) if ttl is None else ttl_ms("ttl", ttl)

    def _store(self, pairs: Sequence[Pair], ttl: int) -> Flow[None]:
        """Store pairs; the counts noted so far go before them, since they decide who is evicted."""
        waiting, more_due = chunks(pairs), False
        while waiting:
            calls = [self._scripts.put(chunk, max_size=self._settings.max_size, ttl_ms=ttl) for chunk in waiting]
            results = yield from self._all_after_flush(calls)
            more_due = any(result.more_due for result in results)
            rests = (chunk[result.stored :] for chunk, result in zip(waiting, results, strict=True))
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
        removed, more = 0, True
        while more:
            with self._slots.hold() as call:
                step = yield from self._scripts.clear(call)
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

    def _remembered(self, keys: Sequence[str], build: Callable[[Sequence[str], Call], Operation[T]]) -> Flow[list[T]]:
        """Perform ``build`` for chunks of keys in one round trip, each under an id of its own."""
        with ExitStack() as held:
            calls = [build(chunk, held.enter_context(self._slots.hold())) for chunk in chunks(keys)]
            return (yield from Batch(calls))
