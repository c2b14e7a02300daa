"""Each atomic step at one end of the exchange, as a value."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Final

from edge_redis._core.operation import Argument, Operation, command
from edge_redis._sync import replies, scripts
from edge_redis._sync.change import Change, Feed
from edge_redis._sync.config import Settings
from edge_redis._sync.history import from_conflict, from_event, from_pending
from edge_redis._sync.keys import StateKeys
from edge_redis._sync.replies import NOTHING, Present, Taken, Written
from edge_redis.models import SyncEvent, SyncState

ANY: Final = "*"
"""For ``update``: whatever the present state is."""

TO_MERGE: Final = "MERGE"
"""The outcome of ``apply`` where nothing was decided: the scope's fields are to be merged."""

_PAGE: Final = 500
_DOCUMENT: Final = ("version", "clock", "origin", "checksum", "base", "data", "signature")

FEED_BYTES: Final = 4 * 1024 * 1024
TAKE_BYTES: Final = 1024 * 1024
"""A page of the feed, or of an outbox, is about this large at most, but of one state at least."""


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
        return scripts.UPDATE([self.keys.doc(scope)], [self._end, call, body], replies.from_update)

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
        return scripts.APPLY(names, words, replies.from_apply)

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
        return scripts.SETTLE([*names, keys.repeats], words, replies.from_apply)

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
        return scripts.CONFIRM(names, [*words, *ids], replies.from_confirm)

    def take(self, scope: str, group: str, consumer: str, count: int, claim_idle_ms: int) -> Operation[Taken]:
        """Deliver the oldest entries of an outbox to one worker."""
        keys = self.keys
        names = [keys.pending(scope), keys.work, keys.scopes, keys.doc(scope)]
        return scripts.TAKE(names, [scope, group, consumer, count, claim_idle_ms, TAKE_BYTES], replies.from_take)

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
            replies.from_feed,
        )

    def place(self) -> Operation[tuple[str, str]]:
        """Read this edge's name and its place in the cloud's feed."""
        return scripts.PLACE([self.keys.site, self.keys.cursor], [self.settings.site], replies.from_place)

    def advance(self, name: str, before: str, place: str) -> Operation[int]:
        """Note the place in the cloud's feed, where this is still that edge at that place."""
        return scripts.ADVANCE([self.keys.site, self.keys.cursor], [name, before, place], int)

    def scopes(self, place: int, count: int) -> Operation[tuple[int, list[str]]]:
        """Read the names of about ``count`` scopes from a place on, and the next place, 0 after the last."""
        is_edge = self.settings.role == "edge"
        key, scan = (self.keys.scopes, "HSCAN") if is_edge else (self.keys.changes, "ZSCAN")
        return command(replies.from_scan, scan, key, place, "COUNT", count)

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
        return command(replies.state_of, "HMGET", self.keys.doc(scope), *_DOCUMENT)

    def document(self, scope: str) -> Operation[Change | None]:
        """Read a scope's present state as it is sent."""
        return command(replies.from_document, "HMGET", self.keys.doc(scope), *_DOCUMENT)

    async def pending(self, scope: str) -> list[dict[str, Any]]:
        """Read an outbox, oldest first, a page at a time."""
        changes: list[dict[str, Any]] = []
        page: list[dict[str, Any]] | None = None
        while page is None or len(page) == _PAGE:
            start = f"({changes[-1]['version']}-0" if changes else "-"
            page = await command(
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
        return scripts.NOTE(names, [*words, slot, number], replies.check_stale)
