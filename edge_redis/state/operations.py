"""Each atomic step at one end of the exchange, as a value."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from edge_redis.core.operation import Argument, Flow, Operation, command
from edge_redis.errors import (
    AuthorityConflictError,
    CorruptDataError,
    InvalidArgumentError,
    PendingFullError,
    StoreTimeoutError,
)
from edge_redis.models import SyncEvent, SyncState
from edge_redis.state import change, scripts
from edge_redis.state.change import Change, Feed
from edge_redis.state.history import from_conflict, from_event, from_pending
from edge_redis.state.keys import StateKeys
from edge_redis.state.settings import Settings

ANY: Final = "*"
"""For ``update``: whatever the present state is."""

NOTHING: Final = "-"
"""For ``update``, in the script's words: no state."""

TO_MERGE: Final = "MERGE"
"""The outcome of ``apply`` where nothing was decided: the scope's fields are to be merged."""

_PAGE: Final = 500
_DOCUMENT: Final = ("version", "clock", "origin", "checksum", "base", "data", "signature")

FEED_BYTES: Final = 4 * 1024 * 1024
TAKE_BYTES: Final = 1024 * 1024
"""A page of the feed, or of an outbox, is about this large at most, but of one state at least."""


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


def _stale(reply: Any) -> None:  # noqa: ANN401 -- a raw reply
    if reply == b"STALE":
        raise StoreTimeoutError("the call was given up before it arrived; nothing was written")


def _from_update(reply: Any) -> Written | Present:  # noqa: ANN401 -- a raw reply
    _stale(reply)
    if reply == b"FULL":
        raise PendingFullError("the outbox is full: confirm changes, or let old ones coalesce")
    if reply == b"LAST":
        raise InvalidArgumentError("the scope is at the last version there is")
    if isinstance(reply, list):
        stamp = reply[0].decode()
        if stamp == NOTHING:  # what is written next comes after the deletes that were forgotten
            return Present("", b"", int(reply[2]), reply[3].decode())
        body = change.whole(reply[1], stamp.rpartition("-")[2], "the present state")
        return Present(stamp, body, int(reply[2]), reply[3].decode())
    _, version, moment, origin = reply.split(b" ", 3)
    return Written(int(version), moment, origin.decode())


def _from_apply(reply: bytes) -> str:
    _stale(reply)
    word, _, rest = reply.decode().partition(" ")
    if word == "AUTHORITY":
        raise AuthorityConflictError(
            f"the scope is LOCAL_WINS at another edge, {rest!r}: let one of the two be REMOTE_WINS, "
            "or release_authority() where that edge is no more"
        )
    if word == "LAST":
        raise CorruptDataError(f"version {rest} is higher than any that is ever written")
    return word


def _from_confirm(reply: bytes) -> int:
    _stale(reply)
    word, _, number = reply.partition(b" ")
    if word == b"OTHER":
        raise CorruptDataError("the edge has lost data since, and given this version out again: nothing is confirmed")
    if word == b"ABOVE":
        raise InvalidArgumentError(f"up_to_version is above the local version, which is {int(number)}")
    return int(number)


def _from_take(reply: list[Any]) -> Taken:
    entries: list[Entry] = []
    for word in reply[1:]:
        begin = word.index(b":") + 1
        end = begin + int(word[: begin - 1])
        entry_id, tries, is_delta, clock, checksum, base, signature, origin = word[begin:end].split(b" ", 7)
        entries.append((entry_id, int(tries), (clock, origin, checksum, base, word[end:], is_delta, signature)))
    return Taken(reply[0].decode(), entries)


def _from_feed(reply: list[Any]) -> Feed:
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


def _texts(reply: list[bytes]) -> tuple[str, str]:
    name, place = (word.decode(errors="replace") for word in reply)
    return name, place


def _from_scan(reply: Any) -> tuple[int, list[str]]:  # noqa: ANN401 -- a client has its own idea of a scan's reply
    place, found = reply
    names = found if isinstance(found, dict) else (name for name, _ in found)
    return int(place), [name.decode() for name in names]


def _from_document(found: list[Any]) -> Change | None:
    return None if found[0] is None else change.from_fields(found)


def _state(found: list[Any]) -> SyncState | None:
    present = _from_document(found)
    if present is None or change.whole(present.body, present.checksum, "the state") == change.TOMBSTONE:
        return None
    return None if change.shown(present.body) is None else present.state


class Replica:
    """The steps of one end: an edge or the cloud."""

    def __init__(self, keys: StateKeys, settings: Settings) -> None:
        self.keys = keys
        self.settings = settings
        self._end = f"{settings.role} {settings.site} {settings.words}"

    def update(
        self,
        scope: str,
        body: bytes,
        checksum: str,
        *,
        expected: str,
        is_delta: bool,
        slot: str,
        number: int,
        clock: str = "",
        signature: str = "",
    ) -> Operation[Written | Present]:
        """Write a scope's next version, where ``expected`` is the stamp of the present one or ANY.

        A signature names the version and the clock that it was made for: the update takes no other.
        """
        call = (
            f"{slot} {number} {is_delta:d} {expected or NOTHING} {checksum} {clock or NOTHING} {signature or NOTHING}"
        )
        return scripts.UPDATE([self.keys.doc(scope)], [self._end, call, body], _from_update)

    def apply(
        self, scope: str, changes: Sequence[Change], settings: str, *, slot: str = "", number: int = 0
    ) -> Operation[str]:
        """Let states of the other end win or lose; a letter each: a accepted, d already there, r refused.

        ``settings`` are words, or ``?`` and a strategy: those of the scope here, by default of that strategy.
        """
        keys, own = self.keys, self.settings
        names = [keys.doc(scope), keys.pending(scope), keys.work, keys.history(scope), keys.conflicts(scope)]
        names += [keys.scopes, keys.changes, keys.sequence, keys.site, keys.repeats]
        words: list[str | bytes | int] = [scope, own.role, settings, own.site, own.max_history, own.max_conflicts]
        words += [slot, number]
        words += [each.packed for each in changes]
        return scripts.APPLY(names, words, _from_apply)

    def settle(
        self,
        scope: str,
        present: Change | None,
        state: Change,
        changes: Sequence[Change],
        letters: str,
        settings: str,
        *,
        slot: str = "",
        number: int = 0,
    ) -> Operation[str]:
        """Put ``state``, merged of the present one and ``changes``, in its place; "" where that is another now."""
        keys, own = self.keys, self.settings
        names = [keys.doc(scope), keys.history(scope), keys.scopes, keys.changes, keys.sequence, keys.site]
        expected = NOTHING if present is None else present.stamp
        words: list[Argument] = [scope, own.role, expected, settings, own.site, own.max_history, slot, number, letters]
        words += [state.head, state.body, *(each.version for each in changes)]
        return scripts.SETTLE([*names, keys.repeats], words, _from_apply)

    def confirm(
        self,
        scope: str,
        up_to: int,
        *,
        slot: str = "",
        number: int = 0,
        group: str = "",
        clock: bytes = b"",
        ids: Sequence[bytes] = (),
    ) -> Operation[int]:
        """Take from the outbox what is at the other end; ``clock`` tells which entry ``up_to`` was."""
        keys = self.keys
        names = [keys.doc(scope), keys.pending(scope), keys.work, keys.history(scope), keys.repeats, keys.totals]
        words: list[Argument] = [scope, up_to, self.settings.max_history, slot, number, group, clock]
        return scripts.CONFIRM(names, [*words, *ids], _from_confirm)

    def take(self, scope: str, group: str, consumer: str, count: int, claim_idle_ms: int) -> Operation[Taken]:
        """Deliver the oldest entries of an outbox to one worker."""
        keys = self.keys
        names = [keys.pending(scope), keys.work, keys.scopes, keys.doc(scope)]
        return scripts.TAKE(names, [scope, group, consumer, count, claim_idle_ms, TAKE_BYTES], _from_take)

    def release(
        self, scope: str, group: str, consumer: str, idle_ms: int, entries: Sequence[tuple[bytes, int]]
    ) -> Operation[int]:
        """Set how often entries have been tried; return how many are still this worker's."""
        flat = [word for entry in entries for word in entry]
        return scripts.RELEASE([self.keys.pending(scope)], [group, consumer, idle_ms, *flat], int)

    def park(self, scope: str, group: str, entry_id: bytes, deliveries: int, error: str) -> Operation[int]:
        """Move an entry to the dead letters."""
        keys = self.keys
        names = [keys.pending(scope), keys.work, keys.history(scope), keys.dead]
        return scripts.PARK(names, [scope, group, entry_id, deliveries, error, self.settings.max_history], int)

    def register(self, scope: str) -> Operation[int]:
        """Tell whoever applies remote states by which settings."""
        return command(int, "HSET", self.keys.scopes, scope, self.settings.words)

    def release_authority(self, scope: str) -> Operation[bool]:
        """Let the next edge that is LOCAL_WINS be the scope's."""
        return command(bool, "HDEL", self.keys.doc(scope), "authority")

    def feed(self, cursor: str, limit: int) -> Operation[Feed]:
        """Read what changed after ``cursor``."""
        keys = self.keys
        site, _, number = cursor.rpartition(":")
        place = [site, number] if number.isascii() and number.isdigit() else ["", 0]
        return scripts.FEED(
            [keys.changes, keys.sequence, keys.site, keys.docs, keys.told],
            [*place, limit, FEED_BYTES, secrets.token_hex(8)],
            _from_feed,
        )

    def place(self) -> Operation[tuple[str, str]]:
        """Read this edge's name and its place in the cloud's feed."""
        return scripts.PLACE([self.keys.site, self.keys.cursor], [self.settings.site], _texts)

    def advance(self, name: str, before: str, place: str) -> Operation[int]:
        """Note the place in the cloud's feed, where this is still that edge at that place."""
        return scripts.ADVANCE([self.keys.site, self.keys.cursor], [name, before, place], int)

    def scopes(self, place: int, count: int) -> Operation[tuple[int, list[str]]]:
        """Read the names of about ``count`` scopes from a place on, and the next place, 0 after the last."""
        is_edge = self.settings.role == "edge"
        key, scan = (self.keys.scopes, "HSCAN") if is_edge else (self.keys.changes, "ZSCAN")
        return command(_from_scan, scan, key, place, "COUNT", count)

    def collect(self, scope: str, stamp: str) -> Operation[int]:
        """Forget a scope whose delete has this stamp; return whether it was there, and nothing waits to go up."""
        keys = self.keys
        names = [keys.doc(scope), keys.pending(scope), keys.history(scope), keys.conflicts(scope)]
        return scripts.COLLECT([*names, keys.scopes, keys.changes, keys.floor], [scope, stamp], int)

    def look(self, scope: str) -> Operation[list[int]]:
        """Read version, remote version, pending changes and events of a scope."""
        keys = self.keys
        return scripts.LOOK([keys.doc(scope), keys.pending(scope), keys.history(scope)], [], lambda reply: reply)

    def state(self, scope: str) -> Operation[SyncState | None]:
        """Read a scope's present state."""
        return command(_state, "HMGET", self.keys.doc(scope), *_DOCUMENT)

    def document(self, scope: str) -> Operation[Change | None]:
        """Read a scope's present state as it is sent."""
        return command(_from_document, "HMGET", self.keys.doc(scope), *_DOCUMENT)

    def pending(self, scope: str) -> Flow[list[dict[str, Any]]]:
        """Read an outbox, oldest first, a page at a time."""
        changes: list[dict[str, Any]] = []
        page: list[dict[str, Any]] | None = None
        while page is None or len(page) == _PAGE:
            start = f"({changes[-1]['version']}-0" if changes else "-"
            page = yield from command(
                lambda found: [from_pending(*entry) for entry in found],
                "XRANGE", self.keys.pending(scope), start, "+", "COUNT", _PAGE,
            )  # fmt: skip
            changes += page
        return changes

    def history(self, scope: str, limit: int) -> Operation[list[SyncEvent]]:
        """Read the newest events, oldest first."""
        return command(
            lambda found: [from_event(*entry) for entry in reversed(found)],
            "XREVRANGE", self.keys.history(scope), "+", "-", "COUNT", limit,
        )  # fmt: skip

    def conflicts(self, scope: str, limit: int) -> Operation[list[dict[str, Any]]]:
        """Read the newest conflicts, oldest first."""
        return command(
            lambda found: [from_conflict(*entry) for entry in reversed(found)],
            "XREVRANGE", self.keys.conflicts(scope), "+", "-", "COUNT", limit,
        )  # fmt: skip

    def conflict(self, scope: str, entry_id: str) -> Operation[list[dict[str, Any]]]:
        """Read one conflict: a list of it, or an empty one."""
        return command(
            lambda found: [from_conflict(*entry) for entry in found],
            "XRANGE", self.keys.conflicts(scope), entry_id, entry_id,
        )  # fmt: skip

    def forget_conflict(self, scope: str, entry_id: str) -> Operation[int]:
        """Remove one conflict."""
        return command(int, "XDEL", self.keys.conflicts(scope), entry_id)

    def note(self, scope: str, event: SyncEvent, slot: str, number: int) -> Operation[None]:
        """Note an event in the history; its time is the server's."""
        names = [self.keys.history(scope), self.keys.repeats]
        words = [event.direction, event.version, int(event.success), event.error, self.settings.max_history]
        return scripts.NOTE(names, [*words, slot, number], _stale)
