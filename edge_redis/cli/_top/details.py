"""The details of one node, one function and one scope."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text

from edge_redis._site.function_state import FunctionDetail, FunctionState
from edge_redis._site.node_state import NodeDetail, Spell
from edge_redis._site.scope_state import FieldComparison, ScopeDetail
from edge_redis.cli._top.charts import sparkline
from edge_redis.cli._top.styles import (
    BAD,
    CHART,
    DIM,
    GOOD,
    STYLES,
    alarming,
    line,
    lines,
    milliseconds,
    moment,
    percent,
    word,
)
from edge_redis.cli.output import duration, jsonable
from edge_redis.models import InvocationRecord, SyncEvent, Transition
from edge_redis.types import DeadLetter

_LABEL = 14
_NAME = 26
_FIGURE = 10
_ROWS = 8
_FIELDS = 100


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _label(text: str) -> tuple[str, str]:
    return (f"{text:<{_LABEL}}", DIM)


def node(detail: NodeDetail, width: int) -> Text:
    """Return a node: verdict, availability, the last day, transitions, functions."""
    span = width - _LABEL - 2
    return lines(
        [
            *_node_facts(detail),
            line(_label("24 hours"), _spells(detail.spells, span)),
            line(_label("checks"), _checks([check.healthy for check in detail.checks], span)),
            _heading("Transitions"),
            *_rows(map(_transition_line, detail.transitions)),
            _figures_heading("Functions"),
            *_rows(_function_line(each, each.name) for each in detail.functions),
        ]
    )


def _node_facts(detail: NodeDetail) -> list[Text]:
    state = detail.state
    age, timeout = duration(state.heartbeat_age_seconds), duration(state.timeout_seconds)
    cpu, memory = f"{state.cpu_percent:.0f}%", f"{state.memory_percent:.0f}%"
    day, month = _available(detail.day), _available(detail.month)
    return [
        line(word(state.id, "bold"), "  ", word(state.name), "  ", word(state.location, DIM)),
        line(_label("verdict"), word(state.verdict), ("  flapping" if state.flapping else "", "yellow")),
        line(_label("heartbeat"), age, (" ago, timeout ", DIM), timeout),
        line(_label("status"), word(state.status), ("  cpu ", DIM), cpu, ("  memory ", DIM), memory),
        line(_label("availability"), day, (" in 24 h  ", DIM), month, (" in 30 days", DIM)),
        line(_label("advice"), word(detail.recommendation)),
    ]


def _transition_line(change: Transition) -> Text:
    before = ("  was ", DIM), word(change.previous)
    return line((moment(change.at), DIM), "  ", word(change.state), *before, "  ", word(change.reason, DIM))


def _available(found: Any) -> Text:
    known = found["availability_percent"]
    return Text("-") if known is None else percent(known)


def _spells(spells: Sequence[Spell], width: int) -> Text:
    """Return the states of the last day as a bar, each as long as it lasted."""
    if not spells:
        return Text("·" * width, style=DIM)
    begin, end = spells[0].start, spells[-1].end
    whole = max(1e-9, (end - begin).total_seconds())
    bar = Text()
    for spell in spells:
        until = round((spell.end - begin).total_seconds() / whole * width)
        bar.append("█" * (until - len(bar)), style=STYLES.get(spell.state, DIM))
    return bar


def _checks(results: Sequence[bool], width: int) -> Text:
    return Text.assemble(*(("■", GOOD if healthy else BAD) for healthy in results[-width:]))


def function(detail: FunctionDetail, width: int) -> Text:
    """Return a function: its last hour, percentiles over time, nodes and failures."""
    span = width - _LABEL - 12
    totals = [minute.total for minute in detail.minutes]
    errors = [minute.errors for minute in detail.minutes]
    found = detail.summary
    counts = f"{found.total:,}", ("  good ", DIM), percent(found.success_rate), ("  errors ", DIM)
    return lines(
        [
            line(word(found.name, "bold")),
            line(_label("calls"), *counts, alarming(found.errors)),
            line(_label("latency"), _percentiles(found)),
            line(_label("calls/min"), (sparkline(totals, span), CHART), f" {totals[-1] if totals else 0:,}"),
            line(_label("errors/min"), (sparkline(errors, span), BAD), f" {errors[-1] if errors else 0:,}"),
            *(_quantile_line(detail, name, span) for name in ("p50", "p95", "p99")),
            _figures_heading(f"Nodes ({detail.node_count:,})"),
            *_rows(_function_line(each, each.node_id) for each in detail.nodes),
            _heading("Newest errors"),
            *_rows(map(_error_line, detail.errors)),
        ]
    )


def _error_line(record: InvocationRecord) -> Text:
    return line((moment(record.timestamp), DIM), "  ", word(record.node_id), "  ", word(record.error, BAD))


def _quantile_line(detail: FunctionDetail, name: str, span: int) -> Text:
    values = [getattr(each, name) if each.count else None for each in detail.latencies]
    newest = next((value for value in reversed(values) if value is not None), None)
    shown = Text("-") if newest is None else milliseconds(newest)
    return line(
        _label(f"{name} over time"), (f"{sparkline(values, span):<{min(span, len(values))}}", CHART), " ", shown
    )


def _percentiles(found: FunctionState) -> Text:
    return line(
        ("p50 ", DIM), milliseconds(found.p50_ms),
        ("  p95 ", DIM), milliseconds(found.p95_ms),
        ("  p99 ", DIM), milliseconds(found.p99_ms),
    )  # fmt: skip


def _figures_heading(title: str) -> Text:
    titles = "".join(f"{name:>{_FIGURE}}" for name in ("calls", "good", "p50", "p95", "p99"))
    return line((f"\n{title:<{_NAME}}", "bold"), (titles, DIM))


def _function_line(found: FunctionState, name: str) -> Text:
    shown = word(name)
    shown.truncate(_NAME, overflow="ellipsis", pad=True)
    latencies = map(milliseconds, (found.p50_ms, found.p95_ms, found.p99_ms))
    return line(shown, *map(_figure, (Text(f"{found.total:,}"), percent(found.success_rate), *latencies)))


def _figure(value: Text) -> Text:
    return line(" " * (_FIGURE - value.cell_len), value)


def scope(detail: ScopeDetail, width: int) -> Text:
    """Return a scope: both ends side by side, pending changes, conflicts and dead letters."""
    column = max(10, (width - 22) // 2)
    return lines(
        [
            *_scope_facts(detail),
            line((f"\n{'field':<20}{'edge':<{column}}{'cloud':<{column}}", "bold")),
            *_rows((_field_line(each, column) for each in detail.fields), _FIELDS),
            _heading("Newest exchanges"),
            *_rows(map(_exchange_line, detail.history)),
            _heading("Dead letters"),
            *_rows(map(_letter_line, detail.dead_letters)),
        ]
    )


def _scope_facts(detail: ScopeDetail) -> list[Text]:
    state = detail.state
    ends = ("the same at both ends", GOOD) if detail.is_equal else ("different at the ends", "yellow")
    lag = duration(state.lag_seconds) if state.pending else "-"
    cloud = "-" if detail.cloud is None else f"{detail.cloud.version:,}"
    letters = ("  dead letters ", DIM), alarming(len(detail.dead_letters))
    errors = [error for error in (detail.cloud_error, detail.edge_error) if error]
    return [
        line(word(state.scope, "bold"), "  ", ends),
        line(_label("strategy"), word(detail.strategy)),
        line(_label("versions"), ("edge ", DIM), f"{state.version:,}", ("  cloud ", DIM), cloud),
        line(_label("pending"), f"{state.pending:,}", ("  lag ", DIM), lag),
        line(_label("conflicts"), alarming(state.conflicts), *letters),
        *(line(word(error, BAD)) for error in errors),
    ]


def _field_line(field: FieldComparison, column: int) -> Text:
    style = "" if field.is_equal else "yellow"
    ends = (_cell(_json(value), column, style) for value in (field.edge, field.cloud))
    return line(_cell(field.name, 20), *ends)


def _exchange_line(event: SyncEvent) -> Text:
    what = f"  {event.direction:<5} version {event.version:,}  "
    return line((moment(event.timestamp), DIM), what, word(event.error, BAD))


def _letter_line(letter: DeadLetter) -> Text:
    return line(word(letter["id"], DIM), f"  version {letter['version']:,}  ", word(letter["error"], BAD))


def _json(value: Any) -> str:
    return "-" if value is None else json.dumps(jsonable(value), ensure_ascii=False)


def _cell(text: str, width: int, style: str = "") -> Text:
    shown = word(text, style)
    shown.truncate(width - 1, overflow="ellipsis", pad=True)
    return Text.assemble(shown, " ")


def _rows(found: Iterable[Text], most: int = _ROWS) -> list[Text]:
    rows = list(found)
    if not rows:
        return [Text("none", style=DIM)]
    more = [Text(f"and {len(rows) - most:,} more", style=DIM)] if len(rows) > most else []
    return [*rows[:most], *more]
