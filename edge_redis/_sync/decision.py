"""A decision on a scope's document, to be stored atomically: the input and the output of ``resolution.resolve``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from edge_redis._sync.change import Change, Outcome

NEVER_RESTORED: Final = "0" * 18
"""``restored_at`` of an origin that was never restored to older data."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest state of an origin that the cloud has had, and the clock of its restoration.

    An origin that lost all its data is another one (``origin.py``). One that was restored to older data gives out
    versions again, and its later states do not descend from those that it wrote before.
    """

    version: int
    checksum: str
    """The first 16 characters of the checksum."""
    clock: str
    restored_at: str = NEVER_RESTORED

    @classmethod
    def of(cls, state: Change, restored_at: str) -> Self:
        """Return the record that a store keeps of ``state``."""
        return cls(state.version, state.checksum[:16], state.clock, restored_at)

    def __contains__(self, state: Change) -> bool:
        """Return whether the cloud has had that very state, or a later one that its origin wrote in knowledge of it."""
        is_earlier = state.version < self.version and self.restored_at <= state.clock < self.clock
        return self.is_state(state) or is_earlier

    def is_state(self, state: Change) -> bool:
        """Return whether ``state`` is the newest one."""
        same = self.version == state.version or self.clock == state.clock
        return same and self.checksum == state.checksum[:16]


@dataclass(frozen=True, slots=True)
class ScopeDocument:
    """A scope as the cloud holds it.

    ``latest_clock`` is the latest clock seen, ``peer_version`` the highest version that an edge has pushed,
    ``authority`` the origin of the edge that is LOCAL_WINS, None while there is none, and ``strategy`` the one by which
    edges push (for ``Feed.strategies``), None while none has pushed.
    """

    state: Change
    latest_clock: str
    peer_version: int = 0
    authority: str | None = None
    strategy: str | None = None


@dataclass(frozen=True, slots=True)
class PushEvent:
    """A pushed change, for the history: the direction is always "push"."""

    version: int
    success: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class LostState:
    """The losing side of a conflict, and the winner. ``lost`` says which side lost: "local" is the cloud's."""

    lost: Literal["local", "remote"]
    loser: Change
    winner: Change


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of a resolution or of a write, to be stored atomically.

    ``outcomes`` has one for each change. ``seen`` has the origins with a new newest state. Where
    ``is_changed``, the scope moves to the end of the feed.
    """

    document: ScopeDocument
    outcomes: Sequence[Outcome] = ()
    seen: Mapping[str, Seen] = field(default_factory=dict)
    events: Sequence[PushEvent] = ()
    conflicts: Sequence[LostState] = ()
    is_changed: bool = True
