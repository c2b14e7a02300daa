"""The report as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from edge_redis._site.report import FunctionReport, NodeReport, Report, ScopeReport
from edge_redis._site.units import format_bytes
from edge_redis.cli import output

NODE_HEADER: Final = ("node", "readings", "heartbeats", "checks", "unhealthy spells", "flapping", "health", "status")
FUNCTION_HEADER: Final = ("function", "count", "success", "avg ms", "p50 ms", "p95 ms")
SCOPE_HEADER: Final = ("scope", "edge version", "cloud version", "pending", "conflicts", "equal")

_HEALTH: Final = {True: "healthy", False: "UNHEALTHY", None: "-"}


def node_row(name: str, node: NodeReport) -> Sequence[str]:
    """Return a node's cells."""
    counts = (node.readings, node.heartbeats, node.checks, node.unhealthy_spells)
    return (name, *map(_count, counts), _yes(node.flapping), _HEALTH[node.healthy], node.status)


def function_row(name: str, function: FunctionReport) -> Sequence[str]:
    """Return a function's cells."""
    latencies = (f"{value:.2f}" for value in (function.avg_ms, function.p50_ms, function.p95_ms))
    return (name, _count(function.count), f"{function.success_rate:.1f}%", *latencies)


def scope_row(name: str, scope: ScopeReport) -> Sequence[str]:
    """Return a scope's cells."""
    counts = (scope.edge_version, scope.cloud_version, scope.pending, scope.conflicts)
    return (name, *map(_count, counts), _yes(scope.equal))


def cache_line(report: Report) -> str:
    """Return the cache's counts as a line."""
    stats = report.cache
    return (
        f"cache: {_count(stats['size'])} entries, {_count(stats['hits'])} hits, {_count(stats['misses'])} misses "
        f"({stats['hit_rate']:.1f}% hits), {_count(stats['evictions'])} evictions"
    )


def sync_line(report: Report) -> str:
    """Return the state of syncing as a line."""
    conflicts = sum(scope.conflicts for scope in report.scopes.values())
    different = "ENDS DIFFER" if report.run["ended_by"] else "ends not equal yet"
    ends = "both ends equal" if all(scope.equal for scope in report.scopes.values()) else different
    return f"sync: {_count(report.pending)} pending, {_count(conflicts)} conflicts, {ends}"


def link_line(report: Report) -> str:
    """Return what went over the link to the cloud as a line."""
    link, times = report.totals.link, report.totals.describe_time()
    up, down = format_bytes(link["bytes_up"]), format_bytes(link["bytes_down"])
    states = f"{_count(link['splices_up'])} of {_count(link['splices_up'] + link['full_states_up'])} states as splices"
    took = f"; median time to the cloud {output.latency(times['p50_seconds'])}" if times["count"] else ""
    return f"link: {up} up, {states}, {down} down{took}"


def total_line(report: Report) -> str:
    """Return the totals of the run as a line."""
    recorded = report.run.get("recorded_readings")
    of_all = f" of {_count(recorded)}" if recorded is not None else ""
    return (
        f"{report.run['seconds']:.1f} s: {_count(report.readings)}{of_all} readings processed, "
        f"{_count(report.invocations)} functions invoked"
    )


def report(facts: Report) -> str:
    """Return the whole report."""
    run = facts.run
    what = f"replay of {run['recording']} at speed {run['speed']:g}" if run["mode"] == "replay" else "live"
    blocks = [
        [f"edge-redis up, {what}: {run['ended_by']} after {total_line(facts)}"],
        [f"namespace {run['namespace']}, server {run['server']}"],
        _table(NODE_HEADER, [node_row(*item) for item in facts.nodes.items()]),
        _table(FUNCTION_HEADER, [function_row(*item) for item in facts.functions.items()]),
        _table(SCOPE_HEADER, [scope_row(*item) for item in facts.scopes.items()]),
        [cache_line(facts), sync_line(facts), link_line(facts)],
        [f"{name} failed and was restarted: {words}" for name, words in facts.failures.items()],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return [_line(cells, widths) for cells in (header, *rows)]


def _line(cells: Iterable[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip()


def _count(number: Any) -> str:
    return f"{number:,}"


def _yes(fact: bool) -> str:  # noqa: FBT001 -- a cell
    return "yes" if fact else "no"
