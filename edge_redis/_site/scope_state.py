"""The scopes of a site and the progress of syncing, as operators see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge_redis._sync.totals import NO_TOTALS, Totals
from edge_redis.models import SyncEvent, SyncState
from edge_redis.types import Conflict, DeadLetter, PendingChange


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeState:
    """One scope at the edge."""

    scope: str
    version: int
    pending: int
    conflicts: int
    lag_seconds: float
    """How long its oldest change waits for the cloud; 0.0 where none waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSample:
    """The progress of syncing at one moment."""

    at: datetime
    pending: int
    pushed_total: int
    lag_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOverview:
    """All scopes, sorted by name."""

    scopes: tuple[ScopeState, ...] = ()
    pending: int = 0
    lag_seconds: float = 0.0
    dead_letters: int = 0
    totals: Totals = NO_TOTALS
    """What all workers of the edge have carried."""
    samples: tuple[SyncSample, ...] = ()
    """Of the readings so far, oldest first."""

    @property
    def pushed_total(self) -> int:
        """Number of changes that workers brought to the cloud."""
        return self.totals.pushed

    @property
    def conflicts(self) -> int:
        """Number of conflicts that are kept."""
        return sum(scope.conflicts for scope in self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldComparison:
    """A top-level field of a scope at both ends; None where an end does not have it."""

    name: str
    edge: Any
    cloud: Any
    is_equal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeDetail:
    """One scope in detail, at both ends."""

    state: ScopeState
    strategy: str
    remote_version: int
    edge: SyncState | None
    cloud: SyncState | None
    cloud_error: str
    """Why the cloud's state is unknown; empty where it was read."""
    edge_error: str
    """Why the edge's state is unknown; empty where it was read."""
    fields: tuple[FieldComparison, ...]
    pending: tuple[PendingChange, ...]
    """Oldest first."""
    history: tuple[SyncEvent, ...]
    """Newest first."""
    conflicts: tuple[Conflict, ...]
    """Newest first."""
    dead_letters: tuple[DeadLetter, ...]

    @property
    def is_equal(self) -> bool:
        """Whether both ends have the same version of the same data."""
        if self.edge is None or self.cloud is None:
            return self.edge is self.cloud and not self.cloud_error and not self.edge_error
        return (self.edge.version, self.edge.checksum) == (self.cloud.version, self.cloud.checksum)
