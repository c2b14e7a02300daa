"""The panels of the overview: the fleet, the functions, the cache, syncing and the newest events."""

from __future__ import annotations

from rich.text import Text

from edge_redis._site.node_state import NodeState
from edge_redis._site.state import Event, SiteState
from edge_redis._site.units import format_bytes
from edge_redis._sync.totals import Totals
from edge_redis.cli._top.charts import meter, rates, sparkline
from edge_redis.cli._top.styles import (
    BAD,
    CHART,
    DIM,
    GOOD,
    WARN,
    alarming,
    clock,
    line,
    lines,
    milliseconds,
    percent,
    word,
)
from edge_redis.cli.output import duration, latency

_LABEL = 10
_WIDE = 46  # columns of a panel that has all of what is pushed in one line
_PROBLEM_ORDER = {"unhealthy": 0, "maintenance": 2, "healthy": 3}


def urgency(node: NodeState) -> tuple[int, str]:
    """Return the order of nodes: unhealthy ones first, then those that flap or are overloaded."""
    order = _PROBLEM_ORDER[node.verdict]
    return (1 if order > 1 and (node.flapping or node.is_overloaded) else order, node.id)


def fleet(state: SiteState, height: int) -> Text:
    """Return the panel of nodes: counts, and those with a problem."""
    nodes = state.fleet.nodes
    unhealthy, maintenance = state.fleet.count("unhealthy"), state.fleet.count("maintenance")
    counts = line(
        (f"{state.fleet.count('healthy'):,} healthy", GOOD),
        ("  ", ""),
        (f"{unhealthy:,} unhealthy", BAD if unhealthy else DIM),
        ("  ", ""),
        (f"{maintenance:,} maint.", "cyan" if maintenance else DIM),
    )
    shown = sorted(nodes, key=urgency)[: max(0, height - 1)]
    return lines([counts, *map(_node_line, shown)])


def _node_line(node: NodeState) -> Text:
    marks = [" flapping" if node.flapping else "", " overloaded" if node.is_overloaded else ""]
    name = word(node.id)
    name.truncate(14, overflow="ellipsis", pad=True)
    verdict = word(node.verdict)
    verdict.truncate(11, pad=True)
    age = f" {duration(node.heartbeat_age_seconds):>8}"
    return line(name, " ", verdict, (age, BAD if node.verdict == "unhealthy" else ""), ("".join(marks), WARN))


def functions(state: SiteState, width: int) -> Text:
    """Return the panel of functions: totals, percentiles and the last hour."""
    all_of_them = state.functions.all
    span = width - _LABEL - 8
    totals = [minute.total for minute in state.minutes]
    errors = [minute.errors for minute in state.minutes]
    p50, p95 = milliseconds(all_of_them.p50_ms), milliseconds(all_of_them.p95_ms)
    return lines(
        [
            line(_label("calls"), f"{all_of_them.total:,}", ("  good ", DIM), percent(all_of_them.success_rate)),
            line(_label("errors"), alarming(all_of_them.errors), ("  p99 ", DIM), milliseconds(all_of_them.p99_ms)),
            line(_label("latency"), ("p50 ", DIM), p50, ("  p95 ", DIM), p95),
            line(_label("calls/min"), (sparkline(totals, span), CHART), f" {totals[-1] if totals else 0:,}"),
            line(_label("errors/min"), (sparkline(errors, span), BAD), f" {errors[-1] if errors else 0:,}"),
        ]
    )


def cache(state: SiteState, width: int) -> Text:
    """Return the panel of the cache: hits, entries, evictions."""
    now = state.cache.now
    requests = rates([sample.requests for sample in state.cache.samples])
    full = 100.0 * now["size"] / now["max_size"] if now["max_size"] else 0.0
    span = width - _LABEL - 8
    return lines(
        [
            line(_label("hits"), f"{now['hit_rate']:.1f}%", (f" of {now['hits'] + now['misses']:,} reads", DIM)),
            line(_label("entries"), f"{now['size']:,}", (f" of {now['max_size']:,} ", DIM), (meter(full, 8), CHART)),
            line(_label("evicted"), f"{now['evictions']:,}", ("  expired ", DIM), f"{now['expirations']:,}"),
            line(_label("reads"), (sparkline(requests, span), CHART)),
        ]
    )


def sync(state: SiteState, width: int) -> Text:
    """Return the panel of syncing: changes that wait for the cloud, their lag, and failures."""
    found, link = state.sync, state.sync.totals.link
    pending = [sample.pending for sample in found.samples]
    letters = ("  dead letters ", DIM), alarming(found.dead_letters)
    return lines(
        [
            line(
                _label("pending"),
                f"{found.pending:,}",
                ("  lag ", DIM),
                duration(found.lag_seconds) if found.pending else "-",
            ),
            line(_label("conflicts"), alarming(found.conflicts), *letters),
            line(
                _label("pushed"),
                f"{found.pushed_total:,}",
                (f"  {len(found.scopes):,} scopes", DIM),
                *((("  p95 ", DIM), _p95(found.totals)) if width >= _WIDE else ()),
            ),
            line(
                _label("link"),
                ("↑ ", DIM),
                format_bytes(link["bytes_up"]),
                ("  ↓ ", DIM),
                format_bytes(link["bytes_down"]),
            ),
            line(_label("pending"), (sparkline(pending, width - _LABEL - 8), CHART)),
        ]
    )


def _p95(totals: Totals) -> str:
    return latency(totals.p95_seconds) if totals.timed else "-"


def events(state: SiteState, height: int) -> Text:
    """Return the panel of events, newest first."""
    found = state.events[:height]
    return lines([event_line(event) for event in found]) if found else Text("no events yet", style=DIM)


def event_line(event: Event) -> Text:
    """Return an event as a line."""
    target = word(event.target or "(fleet)")
    target.truncate(16, overflow="ellipsis", pad=True)
    name = word(event.name)
    name.truncate(13, overflow="ellipsis", pad=True)
    by = word(f" by {event.operator}" if event.operator else "", DIM)
    return line((clock(event.at), DIM), " ", target, " ", name, word(event.detail, DIM), by)


def _label(text: str) -> tuple[str, str]:
    return (f"{text:<{_LABEL}}  ", DIM)
