"""What reads a cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

from edge_redis.cache.accounting import Accounting, together
from edge_redis.cache.envelope import Opened, created_ms, opened
from edge_redis.cache.limits import entry_keys
from edge_redis.cache.scripts import Page, chunks
from edge_redis.core import check
from edge_redis.core.operation import Flow, Operation, command, identity
from edge_redis.errors import CorruptDataError
from edge_redis.models import CacheEntry, from_timestamp

T = TypeVar("T")

_MGET: Final = 500
_PAGE: Final = 500


class Reading(Accounting):
    """The part of a cache that reads."""

    def get(self, key: str, default: Any = None) -> Flow[Any]:  # noqa: ANN401 -- any value
        """Return the value of ``key``, or ``default`` where there is none or its time has passed.

        A hit raises the entry's access count by one. Bytes that do not decode are a miss; they
        are removed and counted in ``stats()["undecodable"]``.
        """
        check.identifier("key", key)
        if self._exact:
            return (yield from self._read_exactly([key])).get(key, default)
        raw: bytes | None = yield command(identity, "GET", self._keys.value(key))
        entry = self._noted(key, raw)
        if entry is None and raw is not None:
            yield from self._discard(key, raw, counted=False)
        if self._is_full():
            yield from self._flush_or_keep()
        return default if entry is None else entry[1]

    def get_many(self, keys: Iterable[str]) -> Flow[dict[str, Any]]:
        """Return the values of those ``keys`` that are found, in one round trip; each counts as in ``get``."""
        wanted = entry_keys(keys)
        if self._exact:
            return (yield from self._read_exactly(wanted))
        names = [self._keys.values + key for key in wanted]
        replies = yield from together([command(list, "MGET", *chunk) for chunk in chunks(names, _MGET)])
        found = {}
        for key, raw in zip(wanted, chain.from_iterable(replies), strict=True):
            entry = self._noted(key, raw)
            if entry is not None:
                found[key] = entry[1]
            elif raw is not None:
                yield from self._discard(key, raw, counted=False)
        if self._is_full():
            yield from self._flush_or_keep()
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
            _, value = opened(raw)
        except CorruptDataError:
            yield from self._discard(key, raw, counted=False)
            return None
        created = created_ms(raw)
        return CacheEntry(
            key=key,
            value=value,
            created_at=from_timestamp(created / 1000),
            ttl_seconds=(int(expiry) - created) / 1000,
            access_count=int(count),
        )

    def page(self, cursor: int) -> Operation[Page]:
        """Return some keys of live entries and where to go on: 0 to begin, and 0 at the end."""
        return self._scripts.keys(cursor, _PAGE)

    def _noted(self, key: str, raw: bytes | None) -> Opened | None:
        """Note a read in the buffer; return the entry, or None for a miss."""
        if raw is not None:
            try:
                entry = opened(raw)
            except CorruptDataError:
                """A miss; the caller has it removed."""
            else:
                self.buffer.hit(key, entry[0])
                return entry
        self.buffer.miss(key)
        return None

    def _read_exactly(self, keys: Sequence[str]) -> Flow[dict[str, Any]]:
        replies = yield from self._remembered(keys, self._scripts.get)
        found = {}
        for key, raw in zip(keys, chain.from_iterable(replies), strict=True):
            if raw is None:
                continue
            try:
                _, found[key] = opened(raw)
            except CorruptDataError:
                yield from self._discard(key, raw, counted=True)
        return found

    def _discard(self, key: str, raw: bytes, *, counted: bool) -> Flow[None]:
        with self._slots.hold() as call:
            yield from self._scripts.discard(key, raw, call, counted=counted)
