"""The scripts of a cache, as operations: which keys and arguments each takes, and what its reply means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from edge_redis.cache.buffer import Batch
from edge_redis.cache.keys import CacheKeys
from edge_redis.core.operation import Argument, Operation
from edge_redis.core.script import load

CHUNK: Final = 100
"""Entries that one call of a script stores, reads or removes."""

PURGED: Final = 300
"""Rows that one call of purge removes, at most (``CHUNK`` in lua/include/index.lua)."""

_HEAD: Final = 64

_clear, _count, _delete, _discard, _entry, _get, _heal, _purge, _put, _stats, _touch = (
    load(__package__, name)
    for name in ("clear", "count", "delete", "discard", "entry", "get", "heal", "purge", "put", "stats", "touch")
)

Pair = tuple[str, bytes]
Call = tuple[str, int]
"""Slot and number of a call that must not happen twice."""


class Stored(NamedTuple):
    """What a put did: how many pairs were stored, and whether more rows are due."""

    stored: int
    more_due: bool


class Cleared(NamedTuple):
    """What a step of clear did: live entries removed, and whether there are more."""

    removed: int
    more: bool


def _cleared(reply: bytes) -> Cleared:
    removed, more = reply.split()
    return Cleared(int(removed), more == b"1")


def chunks(items: Sequence[Any], size: int = CHUNK) -> list[Sequence[Any]]:
    """Return ``items`` in slices of at most ``size``."""
    return [items[at : at + size] for at in range(0, len(items), size)]


class Scripts:
    """Builds the operations of one cache."""

    def __init__(self, keys: CacheKeys) -> None:
        self._keys = keys
        self._index = keys.index
        self._remembered = [*keys.index, keys.repeats]

    def get(self, keys: Sequence[str], call: Call) -> Operation[list[bytes | None]]:
        """Read and count in one step."""
        return _get(self._remembered, [*call, *keys], list)

    def count(self, batch: Batch) -> Operation[int]:
        """Take in a batch of accesses."""
        hit = [word for note in batch.hit for word in note]
        arguments = [batch.slot, batch.number, batch.hits, batch.misses, len(batch.hit), *hit, *batch.missed]
        return _count(self._remembered, arguments, int)

    def put(self, pairs: Sequence[Pair], *, max_size: int, ttl_ms: int) -> Operation[Stored]:
        """Store encoded values, and make room for them."""
        words = [word for pair in pairs for word in pair]
        return _put(self._index, [max_size, ttl_ms, *words], lambda reply: Stored(reply[0], reply[1] == 1))

    def delete(self, keys: Sequence[str], call: Call) -> Operation[int]:
        """Remove entries; how many there were."""
        return _delete(self._remembered, [*call, *keys], int)

    def discard(self, key: str, raw: bytes, call: Call, *, counted: bool) -> Operation[int]:
        """Remove an entry that does not decode."""
        arguments: list[Argument] = [*call, key, len(raw), raw[:_HEAD], int(counted)]
        return _discard(self._remembered, arguments, int)

    def clear(self, call: Call) -> Operation[Cleared]:
        """Remove a chunk of entries."""
        return _clear(self._remembered, call, _cleared)

    def purge(self, call: Call) -> Operation[int]:
        """Remove a chunk of the entries whose time has come; how many."""
        return _purge(self._remembered, call, int)

    def heal(self, index: int, cursor: int) -> Operation[int]:
        """Walk a part of an index; where to go on, 0 at its end."""
        return _heal(self._index, [index, cursor], int)

    def touch(self, key: str, ttl_ms: int) -> Operation[bool]:
        """Give an entry a new expiry; whether there is one."""
        return _touch(self._index, [key, ttl_ms], bool)

    def entry(self, key: str) -> Operation[list[bytes]]:
        """Read an entry, its expiry and its count."""
        return _entry(self._index, [key], list)

    def stats(self, fields: Sequence[str]) -> Operation[list[int]]:
        """Read the live entries, the due ones and these statistics."""
        return _stats([self._keys.expiry, self._keys.stats], fields, list)
