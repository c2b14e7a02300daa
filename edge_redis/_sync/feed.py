"""A page of the cloud's feed."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_redis._sync.change import Change


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of what changed in the cloud: each scope at its present state, and the position after the page.

    ``restarted`` says that the given cursor is not a position of this store (any more), so that the page is the
    first one: the store came back empty or older, or is another store. ``strategies`` are those by which edges push,
    by scope: an edge that has not written a scope decides by them. ``damaged`` names the scopes of the page whose
    state cannot be read, with the reason; they are skipped until they are rewritten.
    """

    cursor: str
    changes: list[tuple[str, Change]]
    restarted: bool = False
    strategies: dict[str, str] = field(default_factory=dict)
    damaged: list[tuple[str, str]] = field(default_factory=list)
