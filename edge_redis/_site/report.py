"""The report of a demo site. ``to_dict`` is the JSON of ``--report``; the view shows the same figures live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_redis._site.functions import FUNCTIONS, SIGNIFICANT_DIGITS, WATCHED_FIELDS
from edge_redis._site.replay import SPELL_RULE
from edge_redis._sync.totals import NO_TOTALS, Totals

_WINDOWS = ", ".join(f"{name} over {length}" for name, (_, length) in FUNCTIONS.items())
RULES: Mapping[str, str] = {
    "readings": "a reading is processed when it is in the state: each is one update of the scope with the node's name, "
    "so a scope's version is the number of its readings",
    "heartbeats": "one with every reading, and no others",
    "checks": "live: of every node at an interval; in a replay: one with every reading, right after its heartbeat, "
    "and one when the timeout has passed since a reading and no other has followed",
    "unhealthy_spells": f"live: times a node's verdict became unhealthy; in a replay: {SPELL_RULE}",
    "functions": f"every reading is one invocation of each ({_WINDOWS} readings at most), over the node's first "
    f"{WATCHED_FIELDS} numeric fields",
    "cache": "every invocation looks up one result for each field, and stores the results that it computes; the key is "
    f"made of node, function, field and window, rounded to {SIGNIFICANT_DIGITS} significant digits, so misses are the "
    "distinct windows of each",
    "sync": "equal: version, data and checksum are the same at both ends",
}
"""Definitions of the figures, and their values for a recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """Figures of one node."""

    readings: int
    heartbeats: int
    checks: int
    unhealthy_spells: int
    flapping: bool
    healthy: bool | None
    """Verdict of the latest check; None when the node was never checked."""
    status: str
    recommendation: str
    restarts: int
    """How often the node's process was restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionReport:
    """Figures of one function over all nodes; latencies in milliseconds include the cache."""

    count: int
    success_rate: float
    avg_ms: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeReport:
    """Versions of one scope at the edge and in the cloud."""

    edge_version: int
    cloud_version: int
    pending: int
    conflicts: int
    equal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures at one moment."""

    run: Mapping[str, Any]
    """Mode, server, duration in seconds, and the reason for the end."""
    nodes: Mapping[str, NodeReport]
    functions: Mapping[str, FunctionReport]
    cache: Mapping[str, Any]
    scopes: Mapping[str, ScopeReport]
    totals: Totals = NO_TOTALS
    """What workers have carried."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Last error of each process that failed, by the process's name."""

    @property
    def readings(self) -> int:
        """Number of readings processed by all nodes."""
        return sum(node.readings for node in self.nodes.values())

    @property
    def invocations(self) -> int:
        """Number of invocations of all functions."""
        return sum(function.count for function in self.functions.values())

    @property
    def pending(self) -> int:
        """Number of changes not yet in the cloud."""
        return sum(scope.pending for scope in self.scopes.values())

    @property
    def is_synced(self) -> bool:
        """Whether no change is pending and every scope is equal at both ends."""
        return self.pending == 0 and all(scope.equal for scope in self.scopes.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        fields = asdict(self)
        scopes, _ = fields.pop("scopes"), fields.pop("totals")
        return {
            **fields,
            "readings_processed": self.readings,
            "invocations": self.invocations,
            "sync": {
                "scopes": scopes,
                "pending": self.pending,
                "conflicts": sum(scope.conflicts for scope in self.scopes.values()),
                "all_equal": all(scope.equal for scope in self.scopes.values()),
                "link": dict(self.totals.link),
                "time_to_cloud": self.totals.describe_time(),
            },
            "rules": dict(RULES),
        }
