"""Replies of the scripts of a cache, and how each is decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from edge_redis.errors import CorruptDataError, InvalidArgumentError, InvalidTypeError

_CONFIG_MISMATCH: Final = b"config "


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


class ComputeLeaseReply(NamedTuple):
    """The state of an entry that was missed."""

    raw: bytes | None
    """The entry, if there is one; stale if the lease is granted or held."""
    granted: bool
    epoch: bytes
    """To be sent with the computed value."""
    failure: bytes | None
    """The error of the computation that the caller waited for, or one that is kept for all callers."""
    holder: bytes
    """Token of the caller that computes the entry; empty if there is none."""


class RawEntry(NamedTuple):
    """The bytes of an entry and its TTL in seconds, infinity if it never expires."""

    raw: bytes | None
    ttl: float


class ShardPage(NamedTuple):
    """Some keys of one shard, and the cursor of the next page (0 at the end)."""

    cursor: int
    keys: list[str]


class Removal(NamedTuple):
    """The outcome of one removal step: live entries removed, and whether there are more."""

    removed: int
    has_more: bool


def config_error(config: bytes) -> InvalidArgumentError:
    """Return the error for a cache whose entries are kept under other options."""
    return InvalidArgumentError(
        f"the entries of this cache are kept as: {config.decode()}; use the same eviction, shards and max_bytes"
        " in all its processes, or clear it to change them"
    )


def decode_put(reply: bytes) -> PutResult:
    """Return the outcome of put."""
    if reply == b"verify":
        return PutResult(0, has_more_due=False, must_verify_config=True)
    if reply == b"refused":
        return PutResult(1, has_more_due=False, is_refused=True)
    if reply.startswith(_CONFIG_MISMATCH):
        raise config_error(reply.removeprefix(_CONFIG_MISMATCH))
    done, more = reply.split()
    return PutResult(int(done), more == b"1")


def decode_incr(reply: bytes) -> PutResult:
    """Return the outcome of incr."""
    if reply.startswith(b"="):
        return PutResult(1, has_more_due=False, body=reply[1:])
    if reply == b"type":
        raise InvalidTypeError("only an int can be incremented, and the value of this entry is not an int of 64 bits")
    if reply == b"range":
        raise InvalidArgumentError("the incremented value would exceed 64 bits")
    return decode_put(reply)


def decode_prefix_removal(reply: bytes) -> tuple[int, int]:
    """Return the number of removed entries and the next cursor."""
    removed, cursor = reply.split()
    return int(removed), int(cursor)


def decode_ttl(reply: int) -> float | None:
    """Return the seconds of a PTTL reply: infinity without an expiry, None without a key."""
    if reply == -1:
        return math.inf
    return None if reply < 0 else reply / 1000


def decode_removal(reply: bytes) -> Removal:
    """Return the outcome of a removal step."""
    if reply.startswith(_CONFIG_MISMATCH):
        raise config_error(reply.removeprefix(_CONFIG_MISMATCH))
    removed, more = reply.split()
    return Removal(int(removed), more == b"1")


def decode_lease(reply: Sequence[Any]) -> ComputeLeaseReply:
    """Return the state of an entry that was missed."""
    return ComputeLeaseReply(reply[0], reply[1] == 1, reply[2], reply[3], reply[4])


def decode_raw_entries(reply: Sequence[Any]) -> list[RawEntry]:
    """Return entries with their TTLs."""
    return [
        RawEntry(raw, math.inf if left < 0 else left / 1000) for raw, left in zip(reply[::2], reply[1::2], strict=True)
    ]


def decode_page(reply: Sequence[bytes]) -> ShardPage:
    """Return some keys and the next cursor."""
    return ShardPage(int(reply[0]), [key.decode() for key in reply[1:]])


def decode_stats(fields: Sequence[str], reply: list[int]) -> list[int]:
    """Return the numbers of live and expired entries, then the statistics ``fields``."""
    if len(reply) != len(fields) + 2:  # a reply of Lua ends at its first nil, here a field that is not a number
        raise CorruptDataError("a statistic of the cache is not a number")
    return reply
