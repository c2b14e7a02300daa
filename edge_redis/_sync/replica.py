"""One end of the exchange, an edge or the cloud: its keys, its options and its reads without scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from edge_redis._core.operation import Batch, Operation, command
from edge_redis._sync import replies, scripts
from edge_redis._sync.change import Change
from edge_redis._sync.config import EndConfig
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.records import from_conflict, from_event, from_pending
from edge_redis._sync.wire import DOCUMENT_FIELDS
from edge_redis.models import SyncEvent, SyncState

PENDING_PAGE: Final = 500
"""Most entries of an outbox that are read in one round trip."""

FIRST_PENDING_PAGE: Final = 16

PENDING_PAGE_BYTES: Final = 1024 * 1024
"""After a page of more bytes the next one has fewer entries: the server serves nobody else while it copies them."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One end of the exchange. Its scripts are in ``scripts.py``."""

    keys: SyncKeys
    config: EndConfig

    def scan_scopes(self, position: int, count: int) -> Operation[tuple[int, list[str]]]:
        """Read the names of about ``count`` scopes from a position on, and the next position, 0 after the last."""
        is_edge = self.config.role == "edge"
        key, scan = (self.keys.scopes, "HSCAN") if is_edge else (self.keys.feed, "ZSCAN")
        return command(replies.from_scan, scan, key, position, "COUNT", count)

    def read_state(self, scope: str) -> Operation[SyncState | None]:
        """Read a scope's present state as users see it."""
        return command(replies.state_from_document, "HMGET", self.keys.doc(scope), *DOCUMENT_FIELDS)

    def read_document(self, scope: str) -> Operation[Change | None]:
        """Read a scope's present state as the ends exchange it."""
        return command(replies.from_document, "HMGET", self.keys.doc(scope), *DOCUMENT_FIELDS)

    async def read_document_and_purged_clock(self, scope: str) -> tuple[Change | None, str]:
        """Read a scope's present state, and in the cloud the latest clock that it had when its delete was purged.

        The clock is "" if none was.
        """
        if self.config.role == "edge":
            return await self.read_document(scope), ""
        read: list[Operation[Any]] = [
            self.read_document(scope),
            command(_decode_clock, "ZSCORE", self.keys.purged, scope),
        ]
        present, clock = await Batch(read)
        return present, clock

    async def read_pending(self, scope: str) -> list[dict[str, Any]]:
        """Read an outbox, oldest first, a page at a time."""
        changes: list[dict[str, Any]] = []
        count, last = min(FIRST_PENDING_PAGE, PENDING_PAGE), None
        while True:
            page = await scripts.read_pending(self, scope, last, count)
            changes += map(from_pending, page.entries)
            if len(page.entries) < count:
                return changes
            last = page.entries[-1]
            # as many again, or fewer where the states are large
            count = min(2 * count, PENDING_PAGE) if page.size < PENDING_PAGE_BYTES else max(1, count // 2)

    def read_history(self, scope: str, limit: int) -> Operation[list[SyncEvent]]:
        """Read the newest events, oldest first."""
        return command(
            lambda found: [from_event(*entry) for entry in reversed(found)],
            "XREVRANGE", self.keys.history(scope), "+", "-", "COUNT", limit,
        )  # fmt: skip

    def read_conflicts(self, scope: str, limit: int) -> Operation[list[dict[str, Any]]]:
        """Read the newest conflicts, oldest first."""
        return command(
            lambda found: [from_conflict(*entry) for entry in reversed(found)],
            "XREVRANGE", self.keys.conflicts(scope), "+", "-", "COUNT", limit,
        )  # fmt: skip

    def read_conflict(self, scope: str, entry_id: str) -> Operation[dict[str, Any] | None]:
        """Read one conflict."""
        return command(
            lambda found: next((from_conflict(*entry) for entry in found), None),
            "XRANGE", self.keys.conflicts(scope), entry_id, entry_id,
        )  # fmt: skip


def _decode_clock(reply: Any) -> str:
    return "" if reply is None else f"{int(float(reply)):018d}"
