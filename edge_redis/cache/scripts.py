"""The scripts of a cache, as operations: which keys and arguments each takes, and what its reply means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from edge_redis.cache.buffer import Batch
from edge_redis.cache.keys import CacheKeys
from edge_redis.core.operation import Argument, Operation
from edge_redis.core.script import load
from edge_redis.errors import InvalidArgumentError

CHUNK: Final = 100
"""Entries that one call of a script stores, reads or removes."""

PURGED: Final = 300
"""Rows that one call of purge removes, at most (``CHUNK`` in lua/include/index.lua)."""

_HEAD: Final = 64

_scripts = {
    name: load(__package__, name)
    for name in (
        *("claim", "clear", "count", "delete", "discard", "entry", "get", "heal", "invalidate", "keys"),
        *("purge", "put", "release", "stats", "touch"),
    )
}

Pair = tuple[str, bytes]
CallId = tuple[str, int]
"""Slot and number of a call that must not happen twice."""


class Stored(NamedTuple):
    """What a put did: how many pairs it is done with, and whether more rows are due."""

    done: int
    more_due: bool


class Terms(NamedTuple):
    """Under what terms values are stored: the first arguments of put, in their order."""

    max_size: int
    ttl_ms: int
    tags: str = ""
    token: str = ""
    epoch: bytes = b""
    eviction: str = "least_accessed"


class Claim(NamedTuple):
    """Who would compute an entry, for how long, and which entries are stale: arguments of claim."""

    token: str
    lease_ms: int
    stale_ms: int
    tagged: int


class Claimed(NamedTuple):
    """What there is to an entry that was missed: its bytes, or the lease, or neither."""

    raw: bytes | None
    granted: bool
    epoch: bytes


class Page(NamedTuple):
    """Keys, and where to go on; 0 at the end."""

    cursor: int
    keys: list[str]


class Cleared(NamedTuple):
    """What a step of clear did: live entries removed, and whether there are more."""

    removed: int
    more: bool


def _stored(reply: Sequence[int] | bytes) -> Stored:
    if isinstance(reply, bytes):
        raise InvalidArgumentError(
            f"the entries of this cache are evicted by {reply.decode()}; clear it to change that"
        )
    return Stored(reply[0], reply[1] == 1)


def _cleared(reply: bytes) -> Cleared:
    removed, more = reply.split()
    return Cleared(int(removed), more == b"1")


def _claimed(reply: Sequence[Any]) -> Claimed:
    return Claimed(reply[0], reply[1] == 1, reply[2])


def _page(reply: Sequence[bytes]) -> Page:
    return Page(int(reply[0]), [key.decode() for key in reply[1:]])


def chunks(items: Sequence[Any], size: int = CHUNK) -> list[Sequence[Any]]:
    """Return ``items`` in slices of at most ``size``."""
    return [items[at : at + size] for at in range(0, len(items), size)]


class Scripts:
    """Builds the operations of one cache."""

    def __init__(self, keys: CacheKeys) -> None:
        self._keys = keys
        self._index = keys.index
        self._remembered = keys.remembered

    def get(self, keys: Sequence[str], call: CallId) -> Operation[list[bytes | None]]:
        """Read and count in one step."""
        return _scripts["get"](self._remembered, [*call, *keys], list)

    def count(self, batch: Batch) -> Operation[int]:
        """Take in a batch of accesses."""
        hit = [word for note in batch.hit for word in note]
        arguments = [batch.slot, batch.number, batch.hits, batch.misses, len(batch.hit), *hit, *batch.missed]
        return _scripts["count"](self._remembered, arguments, int)

    def put(self, pairs: Sequence[Pair], terms: Terms) -> Operation[Stored]:
        """Store encoded values, and make room for them."""
        words = [word for pair in pairs for word in pair]
        return _scripts["put"](self._index, [*terms, *words], _stored)

    def claim(self, key: str, claim: Claim) -> Operation[Claimed]:
        """Read an entry that was missed, or take the lease to compute it."""
        return _scripts["claim"](self._index, [key, *claim], _claimed)

    def release(self, key: str, token: str) -> Operation[bool]:
        """Give up a lease."""
        return _scripts["release"]([self._keys.lease(key)], [token], bool)

    def invalidate(self, tag: str, call: CallId) -> Operation[Cleared]:
        """Remove a chunk of the entries that carry a tag."""
        return _scripts["invalidate"](self._remembered, [*call, tag], _cleared)

    def keys(self, cursor: int, count: int) -> Operation[Page]:
        """Read a part of the keys of live entries."""
        return _scripts["keys"]([self._keys.expiry], [cursor, count], _page)

    def delete(self, keys: Sequence[str], call: CallId) -> Operation[int]:
        """Remove entries; how many there were."""
        return _scripts["delete"](self._remembered, [*call, *keys], int)

    def discard(self, key: str, raw: bytes, call: CallId, *, counted: bool) -> Operation[int]:
        """Remove an entry that does not decode."""
        arguments: list[Argument] = [*call, key, len(raw), raw[:_HEAD], int(counted)]
        return _scripts["discard"](self._remembered, arguments, int)

    def clear(self, call: CallId) -> Operation[Cleared]:
        """Remove a chunk of entries."""
        return _scripts["clear"](self._remembered, call, _cleared)

    def purge(self, call: CallId) -> Operation[int]:
        """Remove a chunk of the entries whose time has come; how many."""
        return _scripts["purge"](self._remembered, call, int)

    def heal(self, index: int, cursor: int) -> Operation[int]:
        """Walk a part of an index; where to go on, 0 at its end."""
        return _scripts["heal"](self._index, [index, cursor], int)

    def touch(self, key: str, ttl_ms: int) -> Operation[bool]:
        """Give an entry a new expiry; whether there is one."""
        return _scripts["touch"](self._index, [key, ttl_ms], bool)

    def entry(self, key: str) -> Operation[list[bytes]]:
        """Read an entry, its expiry and its count."""
        return _scripts["entry"](self._index, [key], list)

    def stats(self, fields: Sequence[str]) -> Operation[list[int]]:
        """Read the live entries, the due ones and these statistics."""
        return _scripts["stats"]([self._keys.expiry, self._keys.stats], fields, list)
