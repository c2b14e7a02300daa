"""The scripts of a shard of a cache, one method each: its keys, its arguments and how its reply is decoded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from edge_redis._cache.access_buffer import AccessBatch
from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.script_replies import (
    ComputeLeaseReply,
    PutResult,
    RawEntry,
    Removal,
    ShardPage,
    config_error,
    decode_incr,
    decode_lease,
    decode_page,
    decode_prefix_removal,
    decode_put,
    decode_raw_entries,
    decode_removal,
    decode_stats,
    decode_ttl,
)
from edge_redis._cache.script_requests import CallId, ComputeLeaseRequest, EncodedEntry, PutOptions
from edge_redis._core.operation import Argument, Operation, command, identity
from edge_redis._core.script import load

PURGE_CHUNK: Final = 300
"""Rows that one call of purge removes, at most (``CHUNK`` in lua/include/index.lua)."""

_COMPARED_BYTES: Final = 64
"""Bytes of a corrupt entry by which ``discard_corrupt`` recognises it, besides its length."""

_acquire_lease = load(__package__, "acquire_lease")
_announce_writes = load(__package__, "announce_writes")
_clear = load(__package__, "clear")
_compare_and_delete = load(__package__, "compare_and_delete")
_delete = load(__package__, "delete")
_discard_corrupt = load(__package__, "discard_corrupt")
_entry = load(__package__, "entry")
_get_counted = load(__package__, "get_counted")
_get_with_ttl = load(__package__, "get_with_ttl")
_incr = load(__package__, "incr")
_invalidate_prefix = load(__package__, "invalidate_prefix")
_invalidate_tag = load(__package__, "invalidate_tag")
_keys = load(__package__, "keys")
_pop = load(__package__, "pop")
_purge = load(__package__, "purge")
_put = load(__package__, "put")
_record_accesses = load(__package__, "record_accesses")
_release_lease = load(__package__, "release_lease")
_renew_lease = load(__package__, "renew_lease")
_repair_index = load(__package__, "repair_index")
_stats = load(__package__, "stats")
_touch = load(__package__, "touch")
_verify_config = load(__package__, "verify_config")


class Scripts:
    """Builds the operations of one shard."""

    def __init__(self, keys: CacheKeys) -> None:
        self.keys = keys
        self._prefix = [keys.prefix]

    def get_counted(self, keys: Sequence[str], call: CallId) -> Operation[list[bytes | None]]:
        """Read entries and count the accesses in the same step."""
        return _get_counted(self._prefix, [*call, *keys], list)

    def get_with_ttl(self, keys: Sequence[str]) -> Operation[list[RawEntry]]:
        """Read entries and their TTLs."""
        return _get_with_ttl([self.keys.value(key) for key in keys], [], decode_raw_entries)

    def verify_config(self, fingerprint: str) -> Operation[None]:
        """Store or compare the options that all caches of the namespace share; raise an error if they differ."""

        def decode(reply: bytes) -> None:
            if reply != fingerprint.encode():
                raise config_error(reply)

        return _verify_config(self._prefix, [fingerprint], decode)

    def forget_config(self) -> Operation[int]:
        """Remove the shared options of a cache of several shards that was cleared."""
        return command(int, "HDEL", self.keys.stats, "config")

    def announce_writes(self, ms: int) -> Operation[int]:
        """Ask writers to publish every write for ``ms``; return since when they publish without a gap, in Unix ms."""
        return _announce_writes([self.keys.stats], [ms], int)

    def record_accesses(self, batch: AccessBatch) -> Operation[int]:
        """Count a batch of accesses."""
        # Two arguments, not three for each key: packing arguments is most of the client's cost of a batch.
        hits: list[Argument] = [part for access in batch.hits_by_entry for part in access]
        encoded = [json.dumps(each, ensure_ascii=False) for each in (hits, batch.missed_keys)]
        arguments: list[Argument] = [batch.client_id, batch.sequence, batch.hits, batch.misses, *encoded]
        return _record_accesses(self._prefix, arguments, int)

    def put(self, entries: Sequence[EncodedEntry], options: PutOptions, call: CallId) -> Operation[PutResult]:
        """Store entries, evicting where the cache is full."""
        arguments: list[Argument] = [*call, *options]
        for entry in entries:
            arguments.extend(entry)
        return _put(self._prefix, arguments, decode_put)

    def incr(self, entry: EncodedEntry, bounds: str, delta: int, call: CallId) -> Operation[PutResult]:
        """Add ``delta`` to the integer of an entry, or store ``entry``, which holds it."""
        high, low = divmod(delta, 1 << 32)
        return _incr(self._prefix, [*call, bounds, "", f"incr {high} {low}", *entry], decode_incr)

    def compare_and_delete(self, key: str, expected: bytes, call: CallId) -> Operation[bool]:
        """Remove an entry if it has this value, in canonical encoding; return whether it was removed."""
        return _compare_and_delete(self._prefix, [*call, key, expected], bool)

    def pop(self, key: str, call: CallId) -> Operation[bytes | None]:
        """Remove an entry and return its bytes."""
        return _pop(self._prefix, [*call, key], identity)

    def ttl(self, key: str) -> Operation[float | None]:
        """Read the TTL of an entry in seconds: infinity if it never expires, None if there is none."""
        return command(decode_ttl, "PTTL", self.keys.value(key))

    def invalidate_prefix(self, prefix: str, cursor: int, call: CallId) -> Operation[tuple[int, int]]:
        """Remove the entries of a part of the index that begin with a prefix; return how many, and the next cursor."""
        return _invalidate_prefix(self._prefix, [*call, prefix, cursor], decode_prefix_removal)

    def acquire_lease(self, key: str, request: ComputeLeaseRequest) -> Operation[ComputeLeaseReply]:
        """Read an entry that was missed, or take the lease to compute it."""
        return _acquire_lease(self._prefix, [key, *request], decode_lease)

    def release_lease(
        self, key: str, token: str, failure: bytes = b"", ms: int = 0, *, for_all: bool = False
    ) -> Operation[bool]:
        """Give a lease up; a ``failure`` is kept for ``ms``, for callers that waited for this lease or for all."""
        return _release_lease([self.keys.lease(key)], [token, failure, ms, int(for_all)], bool)

    def renew_lease(self, key: str, token: str, ms: int) -> Operation[bool]:
        """Extend a lease; return whether the caller still holds it."""
        return _renew_lease([self.keys.lease(key)], [token, ms], bool)

    def invalidate_tag(self, tag: str, call: CallId) -> Operation[Removal]:
        """Remove a chunk of the entries that carry a tag."""
        return _invalidate_tag(self._prefix, [*call, tag], decode_removal)

    def page(self, cursor: int, count: int) -> Operation[ShardPage]:
        """Read about ``count`` keys of live entries."""
        return _keys([self.keys.expiry], [cursor, count], decode_page)

    def delete(self, keys: Sequence[str], call: CallId) -> Operation[int]:
        """Remove entries; return how many were live."""
        return _delete(self._prefix, [*call, *keys], int)

    def discard_corrupt(
        self, key: str, raw: bytes, call: CallId, *, was_counted: bool, was_removed: bool
    ) -> Operation[int]:
        """Remove an entry that does not decode, if it is still the one that was read, and count it."""
        arguments: list[Argument] = [*call, key, len(raw), raw[:_COMPARED_BYTES], int(was_counted), int(was_removed)]
        return _discard_corrupt(self._prefix, arguments, int)

    def clear(self, fingerprint: str, call: CallId) -> Operation[Removal]:
        """Remove a chunk of entries."""
        return _clear(self._prefix, [*call, fingerprint], decode_removal)

    def purge(self, call: CallId) -> Operation[int]:
        """Remove a chunk of expired entries; return how many."""
        return _purge(self._prefix, call, int)

    def repair_index(self, index: int, cursor: int) -> Operation[int]:
        """Repair a part of an index; return the next cursor, 0 at the end."""
        return _repair_index(self._prefix, [index, cursor], int)

    def touch(self, key: str, ttl_ms: int) -> Operation[bool]:
        """Give an entry a new expiry; return whether it exists."""
        return _touch(self._prefix, [key, ttl_ms], bool)

    def entry(self, key: str) -> Operation[list[bytes]]:
        """Read an entry, its expiry and its access count."""
        return _entry(self._prefix, [key], list)

    def stats(self, fields: Sequence[str]) -> Operation[list[int]]:
        """Read the numbers of live and expired entries, then these statistics."""
        return _stats([self.keys.expiry, self.keys.stats], fields, partial(decode_stats, fields))
