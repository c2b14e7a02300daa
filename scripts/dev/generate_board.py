#!/usr/bin/env python3
"""Generate the Grafana board (docs/deploy/grafana/dashboards/edge-redis.json) from the table of panels below.

.venv/bin/python scripts/dev/generate_board.py           # write the file
.venv/bin/python scripts/dev/generate_board.py --check   # exit status 1 where it differs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BOARD: Final = Path(__file__).parents[2] / "docs" / "deploy" / "grafana" / "dashboards" / "edge-redis.json"
SELECTION: Final = 'namespace=~"$namespace"'
COLUMNS: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

GREEN, YELLOW, RED = "green", "yellow", "red"
Steps = Sequence[tuple[float | None, str]]
GOOD_IF_ZERO: Final[Steps] = ((None, GREEN), (1, RED))
GOOD_IF_ONE: Final[Steps] = ((None, RED), (1, GREEN))
LAG: Final[Steps] = ((None, GREEN), (300, YELLOW), (3600, RED))


@dataclass(frozen=True)
class Panel:
    """One panel: queries with their legends. ``{s}`` in a query stands for the chosen namespaces."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    steps: Steps = ()
    words: Sequence[tuple[str, str]] = ()
    """Texts shown in place of values."""


YES_NO: Final = (("0", "no"), ("1", "yes"))
NAMESPACE_FUNCTION: Final = "{{namespace}} {{function}}"


def _quantile(q: float) -> tuple[str, str]:
    buckets = (
        "sum by (namespace, function, le) (rate(edge_invocation_duration_seconds_bucket{{{s}}}[$__rate_interval]))"
    )
    return f"histogram_quantile({q}, {buckets})", f"{NAMESPACE_FUNCTION} p{q * 100:g}"


def _time_to_cloud(q: float) -> tuple[str, str]:
    buckets = "sum by (namespace, le) (rate(edge_sync_time_to_cloud_seconds_bucket{{{s}}}[$__rate_interval]))"
    return f"histogram_quantile({q}, {buckets})", f"{{{{namespace}}}} p{q * 100:g}"


def _stat(title: str, query: str, steps: Steps, *, unit: str = "short", words: Sequence[tuple[str, str]] = ()) -> Panel:
    return Panel(title, [(query, "{{namespace}}")], unit=unit, kind="stat", width=4, height=4, steps=steps, words=words)


ROWS: Final[Sequence[tuple[str, Sequence[Panel]]]] = (
    (
        "Overview",
        (
            _stat("Server readable", "min(edge_redis_up)", GOOD_IF_ONE, words=YES_NO),
            _stat("Nodes down", "count(edge_node_up{{{s}}} == 0) or vector(0)", GOOD_IF_ZERO),
            _stat("Monitor on duty", "min by (namespace) (edge_watch_led{{{s}}})", GOOD_IF_ONE, words=YES_NO),
            _stat("Mass outage", "max by (namespace) (edge_watch_mass_outage{{{s}}})", GOOD_IF_ZERO, words=YES_NO),
            _stat("Sync lag", "max by (namespace) (edge_sync_lag_seconds{{{s}}})", LAG, unit="s"),
            _stat("Dead letters", "max by (namespace) (edge_sync_dead_letters{{{s}}})", GOOD_IF_ZERO),
        ),
    ),
    (
        "Nodes",
        (
            Panel(
                "State",
                [("edge_node_up{{{s}}}", "{{namespace}} {{node}}")],
                kind="state-timeline",
                width=12,
                steps=GOOD_IF_ONE,
                words=(("0", "down"), ("1", "up")),
            ),
            Panel(
                "Heartbeat age", [("edge_node_heartbeat_age_seconds{{{s}}}", "{{namespace}} {{node}}")], "s", width=12
            ),
            Panel("Nodes by status", [("sum by (namespace, status) (edge_nodes{{{s}}})", "{{namespace}} {{status}}")]),
            Panel("In maintenance", [("sum by (namespace) (edge_node_maintenance{{{s}}})", "{{namespace}}")]),
            Panel(
                "Notifications in five minutes",
                [
                    ("increase(edge_relay_delivered_total{{{s}}}[5m])", "{{relay}} delivered"),
                    ("increase(edge_relay_dropped_total{{{s}}}[5m])", "{{relay}} dropped"),
                    ("increase(edge_relay_lost_total{{{s}}}[5m])", "{{relay}} lost"),
                    ("edge_relay_attempts{{{s}}}", "{{relay}} failed attempts"),
                ],
            ),
        ),
    ),
    (
        "Functions",
        (
            Panel(
                "Invocations",
                [
                    (
                        "sum by (namespace, function) (rate(edge_invocations_total{{{s}}}[$__rate_interval]))",
                        NAMESPACE_FUNCTION,
                    )
                ],
                "ops",
            ),
            Panel(
                "Failures",
                [
                    (
                        (
                            "sum by (namespace, function) (rate(edge_invocation_errors_total{{{s}}}[$__rate_interval]))"
                            " / sum by (namespace, function) (rate(edge_invocations_total{{{s}}}[$__rate_interval]))"
                        ),
                        NAMESPACE_FUNCTION,
                    )
                ],
                "percentunit",
            ),
            Panel("Duration", [_quantile(q) for q in (0.5, 0.95, 0.99)], "s"),
        ),
    ),
    (
        "Cache",
        (
            Panel(
                "Hit rate",
                [
                    (
                        (
                            "rate(edge_cache_hits_total{{{s}}}[$__rate_interval]) / (rate(edge_cache_hits_total{{{s}}}"
                            "[$__rate_interval]) + rate(edge_cache_misses_total{{{s}}}[$__rate_interval]))"
                        ),
                        "{{namespace}}",
                    )
                ],
                "percentunit",
            ),
            Panel(
                "Entries",
                [
                    ("edge_cache_size{{{s}}}", "{{namespace}} entries"),
                    ("edge_cache_max_size{{{s}}}", "{{namespace}} at most"),
                ],
            ),
            Panel(
                "Removed",
                [
                    ("rate(edge_cache_evictions_total{{{s}}}[$__rate_interval])", "{{namespace}} evicted"),
                    ("rate(edge_cache_expirations_total{{{s}}}[$__rate_interval])", "{{namespace}} expired"),
                ],
                "ops",
            ),
        ),
    ),
    (
        "Synchronization",
        (
            Panel("Lag", [("edge_sync_lag_seconds{{{s}}}", "{{namespace}}")], "s"),
            Panel("Pending changes", [("edge_sync_pending_changes{{{s}}}", "{{namespace}} {{scope}}")]),
            Panel(
                "Changes carried to the cloud",
                [("rate(edge_sync_pushed_changes_total{{{s}}}[$__rate_interval])", "{{namespace}}")],
                "ops",
            ),
            Panel("Time to the cloud", [_time_to_cloud(q) for q in (0.5, 0.95, 0.99)], "s"),
            Panel(
                "Link to the cloud",
                [("rate(edge_sync_link_bytes_total{{{s}}}[$__rate_interval])", "{{namespace}} {{direction}}")],
                "Bps",
            ),
            Panel(
                "States on the link",
                [
                    (
                        "rate(edge_sync_link_states_total{{{s}}}[$__rate_interval])",
                        "{{namespace}} {{direction}} {{form}}",
                    )
                ],
                "ops",
            ),
            Panel("Conflicts", [("edge_sync_conflicts{{{s}}}", "{{namespace}} {{scope}}")]),
            Panel("Dead letters", [("edge_sync_dead_letters{{{s}}}", "{{namespace}}")]),
            Panel("Clone seen", [("edge_sync_clone_seen{{{s}}}", "{{namespace}}")]),
        ),
    ),
)


def build_board() -> dict[str, Any]:
    """Return the board as Grafana's JSON model."""
    return {
        "uid": "edge-redis",
        "title": "edge_redis",
        "tags": ["edge-redis"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    yield {
        "name": "namespace",
        "label": "Namespace",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": "label_values(edge_watch_led, namespace)", "refId": "namespace"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> Iterator[dict[str, Any]]:
    top, number = 0, 0
    for title, panels in ROWS:
        number += 1
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        top, left = top + 1, 0
        for panel in panels:
            number += 1
            if left + panel.width > COLUMNS:
                top, left = top + panel.height, 0
            yield _panel(panel, number, {"h": panel.height, "w": panel.width, "x": left, "y": top})
            left += panel.width
        top += panels[-1].height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit}
    if panel.steps:
        defaults["thresholds"] = {"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in panel.steps]}
        defaults["color"] = {"mode": "thresholds"}
    if panel.words:
        texts = {value: {"text": text, "index": at} for at, (value, text) in enumerate(panel.words)}
        defaults["mappings"] = [{"type": "value", "options": texts}]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + at),
                "datasource": SOURCE,
                "expr": query.format(s=SELECTION),
                "legendFormat": legend,
            }
            for at, (query, legend) in enumerate(panel.queries)
        ],
    }
    if panel.kind == "stat":
        made["options"] = {"colorMode": "background", "reduceOptions": {"calcs": ["lastNotNull"]}}
    if panel.kind == "state-timeline":
        made["options"] = {"showValue": "never", "mergeValues": True}
    return made


def main() -> int:
    """Write or check the file; return the exit status."""
    text = json.dumps(build_board(), indent=1) + "\n"
    if "--check" in sys.argv:
        if BOARD.read_text("utf-8") == text:
            return 0
        print("run scripts/dev/generate_board.py")
        return 1
    BOARD.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
