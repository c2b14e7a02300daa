"""What the scripts answer, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

from edge_redis._sync import change
from edge_redis._sync.change import Change, Feed
from edge_redis.errors import (
    AuthorityConflictError,
    CorruptDataError,
    InvalidArgumentError,
    PendingFullError,
    StoreTimeoutError,
)
from edge_redis.models import SyncState

NOTHING: Final = "-"
"""In the scripts' words: no state."""


@dataclass(frozen=True, slots=True)
class Written:
    """An update took effect."""

    version: int
    clock: bytes
    origin: str


@dataclass(frozen=True, slots=True)
class Present:
    """The state that is there, where it is not the one that an update was made of.

    ``tick`` is the newest clock that the scope has seen: what is written next has a later one.
    """

    stamp: str
    body: bytes
    version: int = 0
    tick: str = ""
    origin: str = ""

    @classmethod
    def of(cls, state: Change) -> Self:
        """Return a state as what is there."""
        return cls(state.stamp, state.body, state.version, state.clock, state.origin)

    @property
    def clock(self) -> str:
        """The clock in the stamp, "" where there is no state."""
        return self.stamp.partition("-")[0]


Entry: TypeAlias = tuple[bytes, int, tuple[bytes, ...]]
"""Of an outbox: its id, the number of the try that comes next, and the values of ``change.ENTRY_FIELDS``."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Entries delivered to a worker: their scope's settings, and (id, tries, values) each.

    The values are those of ``change.ENTRY_FIELDS``; one that is missing is empty.
    """

    settings: str
    entries: list[Entry]


def check_stale(reply: Any) -> None:
    """Raise where a call was given up before it arrived."""
    if reply == b"STALE":
        raise StoreTimeoutError("the call was given up before it arrived; nothing was written")


def from_update(reply: Any) -> Written | Present:
    """Return what an update came to."""
    check_stale(reply)
    if reply == b"FULL":
        raise PendingFullError("the outbox is full: confirm changes, or let old ones coalesce")
    if reply == b"LAST":
        raise InvalidArgumentError("the scope is at the last version there is")
    if isinstance(reply, list):
        stamp = reply[0].decode()
        if stamp == NOTHING:  # what is written next comes after the deletes that were forgotten
            return Present("", b"", int(reply[2]), reply[3].decode())
        body = change.whole(reply[1], stamp.rpartition("-")[2], "the present state")
        return Present(stamp, body, int(reply[2]), reply[3].decode(), reply[4].decode())
    _, version, moment, origin = reply.split(b" ", 3)
    return Written(int(version), moment, origin.decode())


def from_apply(reply: bytes) -> str:
    """Return a letter for each state."""
    check_stale(reply)
    word, _, rest = reply.decode().partition(" ")
    if word == "AUTHORITY":
        raise AuthorityConflictError(
            f"the scope is LOCAL_WINS at another edge, {rest!r}: let one of the two be REMOTE_WINS, "
            "or release_authority() where that edge is no more"
        )
    if word == "LAST":
        raise CorruptDataError(f"version {rest} is higher than any that is ever written")
    return word


def from_confirm(reply: bytes) -> int:
    """Return how many entries were removed."""
    check_stale(reply)
    word, _, number = reply.partition(b" ")
    if word == b"OTHER":
        raise CorruptDataError("the edge has lost data since, and given this version out again: nothing is confirmed")
    if word == b"ABOVE":
        raise InvalidArgumentError(f"up_to_version is above the local version, which is {int(number)}")
    return int(number)


def from_take(reply: list[Any]) -> Taken:
    """Return what was taken."""
    entries: list[Entry] = []
    for word in reply[1:]:
        begin = word.index(b":") + 1
        end = begin + int(word[: begin - 1])
        entry_id, tries, is_delta, clock, checksum, base, signature, origin = word[begin:end].split(b" ", 7)
        entries.append((entry_id, int(tries), (clock, origin, checksum, base, word[end:], is_delta, signature)))
    return Taken(reply[0].decode(), entries)


def from_feed(reply: list[Any]) -> Feed:
    """Return a page of the feed."""
    site, number, restarted = (word.decode() for word in reply[:3])
    feed = Feed(f"{site}:{number}", [], restarted=restarted == "1")
    for name, found in zip(reply[3::2], reply[4::2], strict=True):
        scope = name.decode(errors="replace")
        try:
            feed.changes.append((scope, change.from_fields(found[:-1])))
        except CorruptDataError as error:
            feed.damaged.append((scope, str(error)))
        else:
            if found[-1]:
                feed.strategies[scope] = found[-1].decode(errors="replace")
    return feed


def from_place(reply: list[bytes]) -> tuple[str, str]:
    """Return an edge's name and its place."""
    name, place = (word.decode(errors="replace") for word in reply)
    return name, place


def from_scan(reply: Any) -> tuple[int, list[str]]:
    """Return the next place and the names found."""
    place, found = reply
    names = found if isinstance(found, dict) else (name for name, _ in found)
    return int(place), [name.decode() for name in names]


def from_document(found: list[Any]) -> Change | None:
    """Return a document's present state as it is sent."""
    return None if found[0] is None else change.from_fields(found)


def state_of(found: list[Any]) -> SyncState | None:
    """Return a document's state, None of a deleted scope."""
    present = from_document(found)
    if present is None or change.whole(present.body, present.checksum, "the state") == change.TOMBSTONE:
        return None
    return None if change.shown(present.body) is None else present.state
