"""Arguments of the scripts of a cache: entries to store, options and conditions, requests for a lease."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

CallId: TypeAlias = tuple[str, int]
"""Idempotency key of a call: client_id and sequence."""

ANY_ENTRY: Final = -1
"""Instead of a time: accept an entry however stale."""


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


class ComputeLeaseRequest(NamedTuple):
    """A request for the lease to compute an entry: arguments of acquire_lease."""

    token: str
    lease_ms: int
    ahead_ms: int
    """How long before it is stale an entry is computed anew; ``ANY_ENTRY`` to accept stale ones."""
    waited_for: str = ""
    """Token of the lease that the caller has waited for."""
