"""The scripts of a shard of a cache, one method each: keys, arguments, and how to decode the reply."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from edge_redis._cache.access_buffer import AccessBatch
from edge_redis._cache.keys import CacheKeys
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Argument, Batch, Operation, command, identity
from edge_redis._core.script import load
from edge_redis.errors import CorruptDataError, InvalidArgumentError, InvalidTypeError

T = TypeVar("T")

CHUNK: Final = 100
"""Entries that one call of a script stores, reads or removes."""

PURGE_CHUNK: Final = 300
"""Rows that one call of purge removes, at most (``CHUNK`` in lua/include/index.lua)."""

ANY_ENTRY: Final = -1
"""Instead of a time: accept an entry however stale."""

_COMPARED_BYTES: Final = 64
_CONFIG_MISMATCH: Final = b"config "

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

CallId: TypeAlias = tuple[str, int]
"""Idempotency key of a call: client_id and sequence."""


class EncodedEntry(NamedTuple):
    """An entry to store: its key, its TTL in ms, and its encoded value."""

    key: str
    ttl_ms: int
    body: bytes


class PutOptions(NamedTuple):
    """How entries are stored: arguments of put, in their order (see lua/put.lua)."""

    bounds: str
    tags: str = ""
    """A JSON array, the empty string for no tags."""
    condition: str | bytes = ""
    """When the one entry is stored: see ``compute_lease_condition``, ``ABSENT`` and ``equal_condition``."""


ABSENT: Final = "absent"
"""Condition: there is no such entry."""


def compute_lease_condition(token: str, epoch: bytes) -> str:
    """Return the condition that the lease under which a value was computed still counts."""
    return f"lease {token} {epoch.decode()}"


def equal_condition(canonical: bytes) -> bytes:
    """Return the condition that there is an entry with this value, in canonical encoding."""
    return b"equal " + canonical


class PutResult(NamedTuple):
    """The outcome of a put."""

    done: int
    """Entries handled, in their order; the rest is sent again."""
    has_more_due: bool
    """Whether more expired rows are left to purge."""
    must_verify_config: bool = False
    """Whether nothing was stored, because the config shard has not confirmed the number of shards."""
    is_refused: bool = False
    """Whether the condition was not met."""
    body: bytes | None = None
    """The encoded new value of an incremented entry."""


class ComputeLeaseRequest(NamedTuple):
    """A request for the lease to compute an entry: arguments of acquire_lease."""

    token: str
    lease_ms: int
    ahead_ms: int
    """How long before it is stale an entry is computed anew; ``ANY_ENTRY`` to accept stale ones."""
    waited_for: str = ""
    """Token of the lease that the caller has waited for."""


class ComputeLeaseReply(NamedTuple):
    """The state of an entry that was missed."""

    raw: bytes | None
    """The entry, if there is one; stale if the lease is granted or held."""
    granted: bool
    epoch: bytes
    """To be sent with the computed value."""
    failure: bytes | None
    """The error of the computation that the caller waited for, or of one whose error is kept."""
    holder: bytes
    """Token of the caller that computes the entry, empty for none."""


class RawEntry(NamedTuple):
    """The bytes of an entry and its TTL in seconds, infinity if it never expires."""

    raw: bytes | None
    ttl: float


class KeyPage(NamedTuple):
    """Some keys, and the cursor of the next page (0 at the end)."""

    cursor: int
    keys: list[str]


class Removal(NamedTuple):
    """The outcome of one removal step: live entries removed, and whether there are more."""

    removed: int
    has_more: bool


def _config_mismatch(config: bytes) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"the entries of this cache are kept as: {config.decode()}; use the same eviction, shards and max_bytes"
        " in all its processes, or clear it to change them"
    )


def _decode_put(reply: bytes) -> PutResult:
    if reply == b"verify":
        return PutResult(0, has_more_due=False, must_verify_config=True)
    if reply == b"refused":
        return PutResult(1, has_more_due=False, is_refused=True)
    if reply.startswith(_CONFIG_MISMATCH):
        raise _config_mismatch(reply.removeprefix(_CONFIG_MISMATCH))
    done, more = reply.split()
    return PutResult(int(done), more == b"1")


def _decode_incr(reply: bytes) -> PutResult:
    if reply.startswith(b"="):
        return PutResult(1, has_more_due=False, body=reply[1:])
    if reply == b"type":
        raise InvalidTypeError("only an int can be incremented, and the value of this entry is none within 64 bits")
    if reply == b"range":
        raise InvalidArgumentError("the incremented value would exceed 64 bits")
    return _decode_put(reply)


def _decode_prefix_removal(reply: bytes) -> tuple[int, int]:
    removed, cursor = reply.split()
    return int(removed), int(cursor)


def _decode_ttl(reply: int) -> float | None:
    if reply == -1:
        return math.inf
    return None if reply < 0 else reply / 1000


def _decode_removal(reply: bytes) -> Removal:
    if reply.startswith(_CONFIG_MISMATCH):
        raise _config_mismatch(reply.removeprefix(_CONFIG_MISMATCH))
    removed, more = reply.split()
    return Removal(int(removed), more == b"1")


def _decode_lease(reply: Sequence[Any]) -> ComputeLeaseReply:
    return ComputeLeaseReply(reply[0], reply[1] == 1, reply[2], reply[3], reply[4])


def _decode_raw_entries(reply: Sequence[Any]) -> list[RawEntry]:
    return [
        RawEntry(raw, math.inf if left < 0 else left / 1000) for raw, left in zip(reply[::2], reply[1::2], strict=True)
    ]


def _decode_page(reply: Sequence[bytes]) -> KeyPage:
    return KeyPage(int(reply[0]), [key.decode() for key in reply[1:]])


def chunks(items: Sequence[T], size: int = CHUNK) -> list[Sequence[T]]:
    """Return ``items`` in slices of at most ``size``."""
    return [items[at : at + size] for at in range(0, len(items), size)]


async def run_together(operations: Sequence[Operation[T]]) -> list[T]:
    """Run operations in one round trip; a single one without a pipeline, which costs more."""
    if len(operations) == 1:
        return [await operations[0]]
    return (await Batch(operations)) if operations else []


async def run_chunks(
    keys: Sequence[str],
    build: Callable[[Sequence[str], CallId], Operation[T]],
    idempotency: IdempotencyKeys,
) -> list[T]:
    """Run the operation that ``build`` makes of each chunk of keys, in one round trip."""
    with ExitStack() as calls:
        operations = [build(chunk, calls.enter_context(idempotency.acquire())) for chunk in chunks(keys)]
        return await run_together(operations)


def _decode_stats(fields: Sequence[str], reply: list[int]) -> list[int]:
    if len(reply) != len(fields) + 2:  # it ends at the first that is no number
        raise CorruptDataError("a statistic of the cache is no number")
    return reply


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
        return _get_with_ttl([self.keys.value(key) for key in keys], [], _decode_raw_entries)

    def verify_config(self, fingerprint: str) -> Operation[None]:
        """Store or compare the options that all caches of the namespace share; a mismatch is an error."""

        def decode(reply: bytes) -> None:
            if reply != fingerprint.encode():
                raise _config_mismatch(reply)

        return _verify_config(self._prefix, [fingerprint], decode)

    def forget_config(self) -> Operation[int]:
        """Remove the shared options of a cache of several shards, which was cleared."""
        return command(int, "HDEL", self.keys.stats, "config")

    def announce_writes(self, ms: int) -> Operation[int]:
        """Ask writers to publish every write for ``ms``; the time since when they do without a gap."""
        return _announce_writes([self.keys.stats], [ms], int)

    def record_accesses(self, batch: AccessBatch) -> Operation[int]:
        """Count a batch of accesses."""
        # Two arguments, not three a key: packing arguments is most of a batch's cost on the client.
        hits: list[Argument] = [part for access in batch.hits_by_entry for part in access]
        encoded = [json.dumps(each, ensure_ascii=False) for each in (hits, batch.missed_keys)]
        arguments: list[Argument] = [batch.client_id, batch.sequence, batch.hits, batch.misses, *encoded]
        return _record_accesses(self._prefix, arguments, int)

    def put(self, entries: Sequence[EncodedEntry], options: PutOptions, call: CallId) -> Operation[PutResult]:
        """Store entries, evicting where the cache is full."""
        arguments: list[Argument] = [*call, *options]
        for entry in entries:
            arguments.extend(entry)
        return _put(self._prefix, arguments, _decode_put)

    def incr(self, entry: EncodedEntry, bounds: str, delta: int, call: CallId) -> Operation[PutResult]:
        """Add ``delta`` to the integer of an entry, or store ``entry``, which holds it."""
        high, low = divmod(delta, 1 << 32)
        return _incr(self._prefix, [*call, bounds, "", f"incr {high} {low}", *entry], _decode_incr)

    def compare_and_delete(self, key: str, expected: bytes, call: CallId) -> Operation[bool]:
        """Remove an entry if it has this value, in canonical encoding; return whether it was removed."""
        return _compare_and_delete(self._prefix, [*call, key, expected], bool)

    def pop(self, key: str, call: CallId) -> Operation[bytes | None]:
        """Remove an entry and return its bytes."""
        return _pop(self._prefix, [*call, key], identity)

    def ttl(self, key: str) -> Operation[float | None]:
        """Read the TTL of an entry in seconds: infinity if it never expires, None if there is none."""
        return command(_decode_ttl, "PTTL", self.keys.value(key))

    def invalidate_prefix(self, prefix: str, cursor: int, call: CallId) -> Operation[tuple[int, int]]:
        """Remove the entries of a part of the index that begin with a prefix; how many, and the next cursor."""
        return _invalidate_prefix(self._prefix, [*call, prefix, cursor], _decode_prefix_removal)

    def acquire_lease(self, key: str, request: ComputeLeaseRequest) -> Operation[ComputeLeaseReply]:
        """Read an entry that was missed, or take the lease to compute it."""
        return _acquire_lease(self._prefix, [key, *request], _decode_lease)

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
        return _invalidate_tag(self._prefix, [*call, tag], _decode_removal)

    def page(self, cursor: int, count: int) -> Operation[KeyPage]:
        """Read about ``count`` keys of live entries."""
        return _keys([self.keys.expiry], [cursor, count], _decode_page)

    def delete(self, keys: Sequence[str], call: CallId) -> Operation[int]:
        """Remove entries; the number of live ones."""
        return _delete(self._prefix, [*call, *keys], int)

    def discard_corrupt(self, key: str, raw: bytes, call: CallId, *, was_counted: bool) -> Operation[int]:
        """Remove an entry that does not decode, if it is still the one that was read."""
        arguments: list[Argument] = [*call, key, len(raw), raw[:_COMPARED_BYTES], int(was_counted)]
        return _discard_corrupt(self._prefix, arguments, int)

    def clear(self, fingerprint: str, call: CallId) -> Operation[Removal]:
        """Remove a chunk of entries."""
        return _clear(self._prefix, [*call, fingerprint], _decode_removal)

    def purge(self, call: CallId) -> Operation[int]:
        """Remove a chunk of expired entries; how many."""
        return _purge(self._prefix, call, int)

    def repair_index(self, index: int, cursor: int) -> Operation[int]:
        """Repair a part of an index; the next cursor, 0 at the end."""
        return _repair_index(self._prefix, [index, cursor], int)

    def touch(self, key: str, ttl_ms: int) -> Operation[bool]:
        """Give an entry a new expiry; return whether it exists."""
        return _touch(self._prefix, [key, ttl_ms], bool)

    def entry(self, key: str) -> Operation[list[bytes]]:
        """Read an entry, its expiry and its access count."""
        return _entry(self._prefix, [key], list)

    def stats(self, fields: Sequence[str]) -> Operation[list[int]]:
        """Read the numbers of live and expired entries, then these statistics."""
        return _stats([self.keys.expiry, self.keys.stats], fields, partial(_decode_stats, fields))
