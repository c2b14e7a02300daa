"""What the main job did, as facts. ``to_dict`` is the JSON of ``--report``; the view shows the same facts live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_redis._site.functions import FUNCTIONS, SIGNIFICANT_DIGITS, WATCHED_FIELDS
from edge_redis._site.replay import SPELL_RULE

_WINDOWS = ", ".join(f"{name} over {length}" for name, (_, length) in FUNCTIONS.items())
RULES: Mapping[str, str] = {
    "readings": "a reading is processed when it is in the state: each is one update of the scope named as the node, "
    "so a scope's version is the number of its readings",
    "heartbeats": "one with every reading, and none without",
    "checks": "live: of every node at an interval; in a replay: one with every reading, right after its heartbeat, "
    "and one when the timeout has passed since a reading and the next has not come",
    "unhealthy_spells": f"live: times a node's verdict became unhealthy; in a replay: {SPELL_RULE}",
    "functions": f"every reading is one invocation of each ({_WINDOWS} readings at most), over the node's first "
    f"{WATCHED_FIELDS} numeric fields",
    "cache": "every invocation looks up one result a field, and stores what it had to compute; the key is the node, "
    f"the function, the field and its window, rounded to {SIGNIFICANT_DIGITS} significant digits, so misses are the "
    "distinct windows of each",
    "sync": "equal: version, data and checksum are the same at both ends",
}
"""What the numbers mean, and what a recording implies for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node."""

    readings: int
    heartbeats: int
    checks: int
    unhealthy_spells: int
    flapping: bool
    healthy: bool | None
    """By the latest check; None where it was never checked."""
    status: str
    recommendation: str
    restarts: int
    """How often its process was started again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionFacts:
    """One function over all nodes; latency in milliseconds, the cache included."""

    count: int
    success_rate: float
    avg_ms: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeFacts:
    """One scope at its two ends."""

    edge_version: int
    cloud_version: int
    pending: int
    conflicts: int
    equal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything, at one moment."""

    run: Mapping[str, Any]
    """What was run, on what, for how long, and why it ended."""
    nodes: Mapping[str, NodeFacts]
    functions: Mapping[str, FunctionFacts]
    cache: Mapping[str, Any]
    scopes: Mapping[str, ScopeFacts]
    troubles: Mapping[str, str] = field(default_factory=dict)
    """Processes that failed, and their last words."""

    @property
    def readings(self) -> int:
        """Readings processed by all nodes."""
        return sum(node.readings for node in self.nodes.values())

    @property
    def invocations(self) -> int:
        """Invocations of all functions."""
        return sum(function.count for function in self.functions.values())

    @property
    def pending(self) -> int:
        """Changes that wait for the cloud."""
        return sum(scope.pending for scope in self.scopes.values())

    @property
    def is_settled(self) -> bool:
        """Whether nothing waits and both ends of every scope are equal."""
        return self.pending == 0 and all(scope.equal for scope in self.scopes.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-ready data."""
        facts = asdict(self)
        scopes = facts.pop("scopes")
        return {
            **facts,
            "readings_processed": self.readings,
            "invocations": self.invocations,
            "sync": {
                "scopes": scopes,
                "pending": self.pending,
                "conflicts": sum(scope.conflicts for scope in self.scopes.values()),
                "all_equal": all(scope.equal for scope in self.scopes.values()),
            },
            "rules": dict(RULES),
        }
