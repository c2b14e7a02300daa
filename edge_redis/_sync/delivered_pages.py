"""Pages of the cloud's feed that a store gave a worker unasked: with hints that carry a small change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edge_redis._sync.change import Change
from edge_redis._sync.feed import Feed

MAX_DELIVERED: Final = 16


class DeliveredPages:
    """The pages that came since the feed was read. Any of them may be missing: it is read then.

    A page is used only where it follows the position up to which the edge has the feed. That position is not moved by
    it: the worker reads the feed as without it, and the states that it was given are left out of what it reads.
    """

    def __init__(self) -> None:
        self.pages: dict[str, Feed] = {}
        """By the positions that they follow."""
        self._given: Mapping[str, Change] = {}
        self._given_at = ("", b"")

    def add(self, after: str, page: Feed) -> None:
        """Keep the page that follows a position. From any thread."""
        if len(self.pages) >= MAX_DELIVERED:
            self.pages = {}  # so many changes are read together
        self.pages[after] = page

    def take(self, cursor: str) -> list[Feed]:
        """Return the pages that follow the cursor, in their order, and forget all others."""
        pages, self.pages = self.pages, {}
        found = []
        while (page := pages.pop(cursor, None)) is not None:
            found.append(page)
            cursor = page.cursor
        return found

    def set_given(self, replica_id: str, cursor: bytes, given: Mapping[str, Change]) -> None:
        """Record the states, by scope, that this incarnation of the edge has besides those up to its cursor."""
        self._given, self._given_at = given, (replica_id, cursor)

    def take_given(self, replica_id: str, cursor: bytes) -> Mapping[str, Change]:
        """Return those states, once, where it is the same incarnation at the same cursor still."""
        given, self._given = self._given, {}
        return given if self._given_at == (replica_id, cursor) else {}
