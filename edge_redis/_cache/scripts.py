"""The scripts of a shard of a cache, as operations: which keys and arguments each takes, and what its reply means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from edge_redis._cache.buffer import Batch
from edge_redis._cache.keys import CacheKeys
from edge_redis._core.operation import Argument, Operation, command
from edge_redis._core.script import load
from edge_redis.errors import InvalidArgumentError

CHUNK: Final = 100
"""Entries that one call of a script stores, reads or removes."""

PURGED: Final = 300
"""Rows that one call of purge removes, at most (``CHUNK`` in lua/include/index.lua)."""

_HEAD: Final = 64
_OTHER_LAYOUT: Final = b"layout "

_scripts = {
    name: load(__package__, name)
    for name in (
        *("agree", "announce", "claim", "clear", "count", "delete", "discard", "entry", "get", "heal", "invalidate"),
        *("keys", "purge", "put", "read", "release", "stats", "touch"),
    )
}

CallId = tuple[str, int]
"""Slot and number of a call that must not happen twice."""


class Pair(NamedTuple):
    """An entry to store: its key, the milliseconds it is to live, and its encoded value."""

    key: str
    ttl_ms: int
    body: bytes


class Stored(NamedTuple):
    """What a put did: how many pairs it is done with, and whether more rows are due."""

    done: int
    more_due: bool
    must_agree: bool = False
    """Nothing was stored, since it is not known that all caches of the namespace have these shards."""


class Terms(NamedTuple):
    """Under what terms values are stored: arguments of put, in their order (see lua/put.lua)."""

    bounds: str
    tags: str = ""
    lease: str = ""


class Claim(NamedTuple):
    """Who would compute an entry, for how long, and which entries are stale: arguments of claim."""

    token: str
    lease_ms: int
    stale_ms: int
    tagged: int


class Claimed(NamedTuple):
    """What there is to an entry that was missed: its bytes, or the lease, or how computing failed, or nothing yet."""

    raw: bytes | None
    granted: bool
    epoch: bytes
    failure: bytes | None


class Timed(NamedTuple):
    """An entry's bytes and the milliseconds it has to live."""

    raw: bytes | None
    left_ms: int


class Page(NamedTuple):
    """Keys, and where to go on; 0 at the end."""

    cursor: int
    keys: list[str]


class Cleared(NamedTuple):
    """What a step of clear did: live entries removed, and whether there are more."""

    removed: int
    more: bool


def _other_layout(layout: bytes) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the entries of this cache are kept as: {layout.decode()}; use the same eviction, shards and max_bytes"
        " in all its processes, or clear it to change them"
    )


def _stored(reply: bytes) -> Stored:
    if reply == b"agree":
        return Stored(0, more_due=False, must_agree=True)
    if reply.startswith(_OTHER_LAYOUT):
        raise _other_layout(reply.removeprefix(_OTHER_LAYOUT))
    done, more = reply.split()
    return Stored(int(done), more == b"1")


def _cleared(reply: bytes) -> Cleared:
    if reply.startswith(_OTHER_LAYOUT):
        raise _other_layout(reply.removeprefix(_OTHER_LAYOUT))
    removed, more = reply.split()
    return Cleared(int(removed), more == b"1")


def _claimed(reply: Sequence[Any]) -> Claimed:
    return Claimed(reply[0], reply[1] == 1, reply[2], reply[3])


def _timed(reply: Sequence[Any]) -> list[Timed]:
    return [Timed(raw, left) for raw, left in zip(reply[::2], reply[1::2], strict=True)]


def _page(reply: Sequence[bytes]) -> Page:
    return Page(int(reply[0]), [key.decode() for key in reply[1:]])


def chunks(items: Sequence[Any], size: int = CHUNK) -> list[Sequence[Any]]:
    """Return ``items`` in slices of at most ``size``."""
    return [items[at : at + size] for at in range(0, len(items), size)]


class Scripts:
    """Builds the operations of one shard."""

    def __init__(self, keys: CacheKeys) -> None:
        self._keys = keys
        self._component = [keys.tag]

    def get(self, keys: Sequence[str], call: CallId) -> Operation[list[bytes | None]]:
        """Read and count in one step."""
        return _scripts["get"](self._component, [*call, *keys], list)

    def read(self, keys: Sequence[str]) -> Operation[list[Timed]]:
        """Read entries with the time they have to live."""
        return _scripts["read"]([self._keys.value(key) for key in keys], [], _timed)

    def agree(self, layout: str) -> Operation[None]:
        """Say how a cache of several shards is kept."""

        def agreed(reply: bytes) -> None:
            if reply != layout.encode():
                raise _other_layout(reply)

        return _scripts["agree"](self._component, [layout], agreed)

    def forget_layout(self) -> Operation[int]:
        """Let a cache of several shards that was cleared be kept otherwise."""
        return command(int, "HDEL", self._keys.stats, "layout")

    def announce(self, ms: int) -> Operation[int]:
        """Ask for word of every write."""
        return _scripts["announce"]([self._keys.stats], [ms], int)

    def count(self, batch: Batch) -> Operation[int]:
        """Take in a batch of accesses."""
        # Two words, not three a key: packing words is most of what a batch costs the client.
        hit: list[Argument] = [part for note in batch.hit for part in note]
        noted = [json.dumps(each, ensure_ascii=False) for each in (hit, batch.missed)]
        arguments: list[Argument] = [batch.slot, batch.number, batch.hits, batch.misses, *noted]
        return _scripts["count"](self._component, arguments, int)

    def put(self, pairs: Sequence[Pair], terms: Terms, call: CallId) -> Operation[Stored]:
        """Store encoded values, and make room for them."""
        words = [word for pair in pairs for word in pair]
        return _scripts["put"](self._component, [*call, *terms, *words], _stored)

    def claim(self, key: str, claim: Claim) -> Operation[Claimed]:
        """Read an entry that was missed, or take the lease to compute it."""
        return _scripts["claim"](self._component, [key, *claim], _claimed)

    def release(self, key: str, token: str, failure: bytes = b"", ms: int = 0) -> Operation[bool]:
        """Give up a lease, leaving word of how computing failed where there is any to leave."""
        return _scripts["release"]([self._keys.lease(key)], [token, failure, ms], bool)

    def invalidate(self, tag: str, call: CallId) -> Operation[Cleared]:
        """Remove a chunk of the entries that carry a tag."""
        return _scripts["invalidate"](self._component, [*call, tag], _cleared)

    def keys(self, cursor: int, count: int) -> Operation[Page]:
        """Read a part of the keys of live entries."""
        return _scripts["keys"]([self._keys.expiry], [cursor, count], _page)

    def delete(self, keys: Sequence[str], call: CallId) -> Operation[int]:
        """Remove entries; how many there were."""
        return _scripts["delete"](self._component, [*call, *keys], int)

    def discard(self, key: str, raw: bytes, call: CallId, *, counted: bool) -> Operation[int]:
        """Remove an entry that does not decode."""
        arguments: list[Argument] = [*call, key, len(raw), raw[:_HEAD], int(counted)]
        return _scripts["discard"](self._component, arguments, int)

    def clear(self, layout: str, call: CallId) -> Operation[Cleared]:
        """Remove a chunk of entries."""
        return _scripts["clear"](self._component, [*call, layout], _cleared)

    def purge(self, call: CallId) -> Operation[int]:
        """Remove a chunk of the entries whose time has come; how many."""
        return _scripts["purge"](self._component, call, int)

    def heal(self, index: int, cursor: int) -> Operation[int]:
        """Walk a part of an index; where to go on, 0 at its end."""
        return _scripts["heal"](self._component, [index, cursor], int)

    def touch(self, key: str, ttl_ms: int) -> Operation[bool]:
        """Give an entry a new expiry; whether there is one."""
        return _scripts["touch"](self._component, [key, ttl_ms], bool)

    def entry(self, key: str) -> Operation[list[bytes]]:
        """Read an entry, its expiry and its count."""
        return _scripts["entry"](self._component, [key], list)

    def stats(self, fields: Sequence[str]) -> Operation[list[int]]:
        """Read the live entries, the due ones and these statistics."""
        return _scripts["stats"]([self._keys.expiry, self._keys.stats], fields, list)
