"""The nodes of a site, as operators see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from edge_redis._site.function_state import FunctionState
from edge_redis.models import HealthCheck, Transition
from edge_redis.types import Availability

Verdict: TypeAlias = Literal["healthy", "unhealthy", "maintenance"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """A time during which a node's state did not change."""

    state: str
    """A state of ``Transition``; "unknown" before the first that is kept."""
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A registered node and its verdict."""

    id: str
    name: str
    location: str
    verdict: Verdict
    status: str
    """As the node reports it."""
    heartbeat_at: datetime
    heartbeat_age_seconds: float
    timeout_seconds: float
    in_maintenance: bool
    flapping: bool
    cpu_percent: float = 0.0
    memory_percent: float = 0.0
    is_overloaded: bool = False
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All registered nodes, in the order of their ids."""

    nodes: tuple[NodeState, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """Return the number of nodes of a verdict."""
        return sum(node.verdict == verdict for node in self.nodes)

    @property
    def flapping(self) -> int:
        """Number of flapping nodes."""
        return sum(node.flapping for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDetail:
    """One node in detail."""

    state: NodeState
    recommendation: str
    checks: tuple[HealthCheck, ...]
    """Oldest first."""
    day: Availability
    month: Availability
    spells: tuple[Spell, ...]
    """The last 24 hours, oldest first."""
    transitions: tuple[Transition, ...]
    """Newest first."""
    functions: tuple[FunctionState, ...]
