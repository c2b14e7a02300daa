"""Replies of the scripts, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple, Self, cast

from edge_redis._core.packing import unpack_rows
from edge_redis._sync import wire
from edge_redis._sync.change import TOMBSTONE, Change, Outcome, check_body, visible_data
from edge_redis._sync.origin import lineage_of
from edge_redis._sync.version_guard import version_mismatch
from edge_redis._sync.wire import LeasedEntry
from edge_redis.errors import (
    AuthorityConflictError,
    CorruptDataError,
    EdgeRedisError,
    InvalidArgumentError,
    PendingFullError,
    StoreTimeoutError,
    StrategyMismatchError,
)
from edge_redis.models import SyncState
from edge_redis.types import ScopeSummary

_DELIVERIES: Final = attrgetter("deliveries")
_OUTCOMES: Final = {"accepted", "duplicate", "rejected"}


class Written(NamedTuple):
    """The result of an update: its version, its clock and its origin with the incarnation."""

    version: int
    clock: str
    origin: str


class CurrentState(NamedTuple):
    """The present state of a scope, as far as the next write depends on it.

    ``latest_clock`` is the latest clock that the scope has seen: the next write has a later one. ``stamp`` is "" where
    there is no state; ``version`` and ``latest_clock`` are then those of the newest delete that was purged.
    """

    stamp: str
    body: bytes
    version: int = 0
    latest_clock: str = ""
    origin: str = ""

    @property
    def clock(self) -> str:
        """The clock in the stamp, "" where there is no state."""
        return self.stamp.partition("-")[0]

    @classmethod
    def of(cls, state: Change) -> Self:
        """Return a change as the present state."""
        return cls(state.stamp, state.body, state.version, state.clock, state.origin)


@dataclass(frozen=True, slots=True)
class OtherState:
    """The reply to a state that was given as the difference from another one than the document, or merged with it."""

    checksum: str
    """That of the document, "" where there is none."""


@dataclass(frozen=True, slots=True)
class OutboxLease:
    """Entries leased to a worker, oldest first, and the settings of their scope."""

    settings: str
    entries: list[LeasedEntry]

    @property
    def deliveries(self) -> int:
        """How often the most tried entry has been tried, this try included."""
        most: int = max(map(_DELIVERIES, self.entries))
        return most


@dataclass(frozen=True, slots=True)
class PendingPage:
    """Entries of an outbox, oldest first, and how many bytes the server sent for them."""

    entries: list[LeasedEntry]
    size: int


def authority_conflict(holder: str) -> AuthorityConflictError:
    """Return the error for a scope that is LOCAL_WINS at two edges."""
    return AuthorityConflictError(
        f"the scope is LOCAL_WINS at another edge, {holder!r}: let one of the two be REMOTE_WINS, "
        "or release_authority() where that edge was removed"
    )


def clone_conflict(name: str) -> AuthorityConflictError:
    """Return the error for an edge whose LOCAL_WINS scope belongs to a later copy of the edge."""
    return AuthorityConflictError(
        f"another edge with the identity of this one, {name!r}, is LOCAL_WINS: one is a clone of the other, so give it "
        "an identity of its own (new_identity) and another strategy, or stop it and release_authority()"
    )


_REFUSALS: Final[dict[str, tuple[type[EdgeRedisError], str]]] = {
    "STALE": (StoreTimeoutError, "the call was given up before it arrived; nothing was written"),
    "FULL": (PendingFullError, "the outbox is full: confirm changes, or let old ones coalesce"),
    "STRATEGY": (
        StrategyMismatchError,
        "the scope's strategy at this edge is {}: write with that one, or call change_strategy()",
    ),
    "REUSED": (
        CorruptDataError,
        "the edge has lost data since, and given this version out again: nothing is confirmed",
    ),
    "ABOVE": (InvalidArgumentError, "up_to_version is above the local version, which is {}"),
    "RESOLVED": (
        InvalidArgumentError,
        "conflict_id must be the id of a conflict of this scope: it was resolved meanwhile",
    ),
    "LAST": (InvalidArgumentError, "the scope is at the last version there is"),
    "TOO_HIGH": (CorruptDataError, "version {} is higher than any that is ever written"),
    "CORRUPT": (CorruptDataError, "{}"),
}
"""For the first word of a refusing reply: the error, and its message, which takes the rest of the reply."""


def refusal(reply: bytes) -> EdgeRedisError:
    """Return the error for a reply by which a script refused; nothing was written."""
    word, _, rest = reply.decode(errors="replace").partition(" ")
    if word == "AUTHORITY":
        return authority_conflict(rest)
    if word == "CLONE":
        return clone_conflict(rest)
    if word == "VERSION":
        if_version, version = map(int, rest.split())
        return version_mismatch(if_version, version)
    if word not in _REFUSALS:
        return CorruptDataError(f"unexpected reply {reply!r}")
    kind, message = _REFUSALS[word]
    return kind(message.format(rest))


def from_update(replies: list[Any]) -> Written | CurrentState:
    """Return the written version, or the present state where the update was made of another one."""
    (reply,) = replies
    if isinstance(reply, list):
        return _current_state(reply)
    if not reply.startswith(b"OK "):
        raise refusal(reply)
    _, version, clock, origin = reply.decode().split(" ", 3)
    return Written(int(version), clock, origin)


def from_updates(replies: list[Any], count: int) -> list[Written | EdgeRedisError | None]:
    """Return for each of so many scopes the written version, why it was refused, or None where it is to be asked alone.

    Raises:
        StoreTimeoutError: the whole call was given up.

    """
    if len(replies) != count:
        raise refusal(replies[0])
    results: list[Written | EdgeRedisError | None] = []
    for reply in replies:
        if reply == b"ALONE" or isinstance(reply, list):  # a list is the present state: of the only scope of a call
            results.append(None)
        elif reply.startswith(b"OK "):
            _, version, clock, origin = reply.decode().split(" ", 3)
            results.append(Written(int(version), clock, origin))
        else:
            results.append(refusal(reply))
    return results


def _current_state(reply: list[bytes]) -> CurrentState:
    stamp = reply[0].decode()
    if stamp == wire.NONE:
        return CurrentState("", b"", int(reply[2]), reply[3].decode())
    body = check_body(reply[1], stamp.rpartition("-")[2], "the present state")
    return CurrentState(stamp, body, int(reply[2]), reply[3].decode(), reply[4].decode())


def from_apply(reply: bytes) -> list[Outcome]:
    """Return the outcome of each state; none of any where the scope's fields are to be merged instead."""
    outcomes = reply.decode().split()
    if not _OUTCOMES.issuperset(outcomes):
        if reply == b"MERGE":
            return []
        raise refusal(reply)
    return cast("list[Outcome]", outcomes)


def from_encoded_apply(reply: bytes) -> list[Outcome] | OtherState:
    """Return what ``from_apply`` does, or the state that the document has where a splice was made of another one."""
    outcomes = reply.decode(errors="replace").split()
    if _OUTCOMES.issuperset(outcomes):
        return cast("list[Outcome]", outcomes)
    if outcomes[0] == "BASE":
        return OtherState(" ".join(outcomes[1:]))
    return from_apply(reply)


def from_integer(reply: int | bytes) -> int:
    """Return an integer reply; raise where the script refused."""
    if isinstance(reply, bytes):
        raise refusal(reply)
    return reply


def from_count(reply: bytes) -> int:
    """Return how many things a call has changed, which it says again when it is repeated."""
    if not reply.isdigit():
        raise refusal(reply)
    return int(reply)


def from_confirm(reply: bytes) -> int:
    """Return how many entries were removed."""
    if not reply.startswith(b"OK "):
        raise refusal(reply)
    return int(reply[3:])


def from_ok(reply: bytes) -> None:
    """Raise where the call was refused."""
    if reply != b"OK":
        raise refusal(reply)


def from_lease(reply: list[Any], body: bytes = b"") -> OutboxLease:
    """Return the leased entries, each spliced one made of the one before; ``body`` is that before the first."""
    settings, *texts = reply
    entries: list[LeasedEntry] = []
    for text in texts:
        entry = wire.parse_leased(text, body)
        entries.append(entry)
        body = entry.body
    return OutboxLease(settings.decode(errors="replace"), entries)


def from_pending_page(reply: list[bytes], body: bytes) -> PendingPage:
    """Return a page of an outbox; ``body`` is that of the entry before it."""
    return PendingPage(from_lease([b"", *reply], body).entries, sum(map(len, reply)))


def from_positions(reply: bytes | None) -> int:
    """Return the bytes between the two positions of an outbox, 0 where it is empty or they are damaged."""
    first, _, last = (reply or b"0 0").partition(b" ")
    try:
        return max(0, int(last) - int(first))
    except ValueError:
        return 0


def from_positions_page(reply: Any) -> tuple[int, int]:
    """Return the next position of a scan, and the bytes of the outboxes found."""
    position, found = reply
    values = found.values() if isinstance(found, dict) else (value for _, value in found)
    return int(position), sum(map(from_positions, values))


def from_id(reply: bytes) -> str:
    """Return the id of a store, as users see it."""
    return lineage_of(reply.decode())


def from_cursor(reply: list[bytes]) -> tuple[str, bytes, bytes, bool]:
    """Return an edge's replica id, its cursor and the position of an offer as stored, and whether to register."""
    return reply[0].decode(errors="replace"), reply[1], reply[2], reply[3] == b"1"


def from_sort(reply: list[bytes]) -> tuple[int, bool]:
    """Return the next cursor of a sort of outboxes, and whether the same call is needed once more."""
    return int(reply[0]), reply[1] == b"1"


def from_counts(reply: list[Any]) -> tuple[int, int, int, int]:
    """Return a scope's version, peer version, pending changes and events."""
    version, peer_version, pending, events = reply
    return int(version), int(peer_version), pending, events


def from_scopes(reply: list[bytes]) -> tuple[int, list[ScopeSummary]]:
    """Return the next cursor and the scopes found."""
    rows = unpack_rows(reply[1], 4)
    return int(reply[0]), [
        {
            "scope": name.decode(errors="replace"),
            "version": int(version),
            "pending": int(pending),
            "conflicts": int(conflicts),
        }
        for name, version, pending, conflicts in rows
    ]


def from_scan(reply: Any) -> tuple[int, list[str]]:
    """Return the next position of a scan and the names found."""
    position, found = reply
    names = found if isinstance(found, dict) else (name for name, _ in found)
    return int(position), [name.decode(errors="replace") for name in names]


def from_document(found: list[Any]) -> Change | None:
    """Return a document's present state, None where there is no document."""
    if not any(found):
        return None
    return wire.from_document(found)


def state_from_document(found: list[Any]) -> SyncState | None:
    """Return a document's state as users see it, None of a deleted scope."""
    present = from_document(found)
    if present is None or check_body(present.body, present.checksum, "the state") == TOMBSTONE:
        return None
    return None if visible_data(present.body) is None else present.state
