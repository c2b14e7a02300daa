"""EdgeMetrics against a plain list of records: two writers, a bound on pairs, resets, in any order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from edge_redis import EdgeMetrics, InvocationRecord
from edge_redis._metrics.keys import OTHER
from support.metrics import assert_series, buffer_of, made, matching, use_separate_buffer
from support.servers import Servers

MAX_SERIES = 4
FUNCTIONS = st.sampled_from(["f", "g", "1:f", "ü"])
NODES = st.sampled_from(["n", "m", "*"])
WRITERS = st.sampled_from([0, 1])
RECORDS = st.builds(
    InvocationRecord,
    function_id=FUNCTIONS,
    node_id=NODES,
    duration_ms=st.floats(0.1, 3.6e6) | st.integers(1, 1000) | st.just(0.0),
    success=st.booleans(),
    timestamp=st.integers(0, 50).map(lambda minutes: datetime.now(UTC) - timedelta(minutes=minutes)),
    error=st.sampled_from(["", "E: no"]),
)


class Model:
    """The metrics, in plain Python: what has been flushed, and what each writer has not."""

    def __init__(self) -> None:
        self.flushed: list[InvocationRecord] = []
        self.kept: list[InvocationRecord] = []
        self.buffers: tuple[list[InvocationRecord], list[InvocationRecord]] = ([], [])
        self.pairs: list[tuple[str, str]] = []
        self.overflow = 0

    def flush(self, writer: int) -> None:
        buffer = self.buffers[writer]
        # A flush takes the pairs in the order in which they first came.
        for record in buffer:
            pair = (record.function_id, record.node_id)
            if pair not in self.pairs and len(self.pairs) < MAX_SERIES:
                self.pairs.append(pair)
        for record in buffer:
            if (record.function_id, record.node_id) in self.pairs:
                self.flushed.append(record)
            else:
                self.overflow += 1
                self.flushed.append(
                    made(OTHER, OTHER, record.duration_ms, ok=record.success, timestamp=record.timestamp)
                )
        self.kept += buffer
        buffer.clear()

    def reset(self, writer: int) -> None:
        self.buffers[writer].clear()
        self.flushed, self.kept, self.pairs, self.overflow = [], [], [], 0


class MetricsMachine(RuleBasedStateMachine):
    """Two writers, each with a buffer of its own, as in two processes."""

    client: Any
    flush_every: int

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.model = Model()
        self.writers = [
            use_separate_buffer(
                EdgeMetrics(
                    self.client,
                    flush_every=self.flush_every,
                    flush_interval=3600.0,
                    max_series=MAX_SERIES,
                    max_recent=20,
                )
            )
            for _ in range(2)
        ]

    def teardown(self) -> None:
        for writer in self.writers:
            writer.close()

    def _recorded(self, writer: int) -> None:
        if len(self.model.buffers[writer]) >= self.flush_every:
            self.model.flush(writer)

    @rule(writer=WRITERS, record=RECORDS)
    def record(self, writer: int, record: InvocationRecord) -> None:
        self.writers[writer].record(record)
        self.model.buffers[writer].append(record)
        self._recorded(writer)

    @rule(writer=WRITERS, records=st.lists(RECORDS, max_size=12))
    def record_many(self, writer: int, records: list[InvocationRecord]) -> None:
        self.writers[writer].record_many(records)
        self.model.buffers[writer].extend(records)
        self._recorded(writer)

    @rule(writer=WRITERS)
    def flush(self, writer: int) -> None:
        self.writers[writer].flush()
        self.model.flush(writer)

    @rule(writer=WRITERS)
    def reset(self, writer: int) -> None:
        self.writers[writer].reset()
        self.model.reset(writer)

    @rule(
        writer=WRITERS, function_id=st.none() | FUNCTIONS | st.just(OTHER), node_id=st.none() | NODES | st.just(OTHER)
    )
    def summary(self, writer: int, function_id: str | None, node_id: str | None) -> None:
        self.model.flush(writer)
        of = matching(self.model.flushed, function_id, node_id)
        metrics = self.writers[writer]
        assert_series(metrics, function_id, node_id, of)
        rows = metrics.timeline(function_id, node_id, minutes=60)
        assert sum(row["total"] for row in rows) == len(of)
        by_minute = {row["minute"]: row["errors"] for row in rows}
        failed = [record.timestamp.replace(second=0, microsecond=0) for record in of if not record.success]
        assert {minute: count for minute, count in by_minute.items() if count} == {
            minute: failed.count(minute) for minute in failed
        }

    @rule(writer=WRITERS)
    def recent(self, writer: int) -> None:
        self.model.flush(writer)
        metrics = self.writers[writer]
        assert metrics.recent(20) == self.model.kept[-20:]
        assert metrics.recent(3) == self.model.kept[-3:]

    @rule(writer=WRITERS)
    def pairs(self, writer: int) -> None:
        self.model.flush(writer)
        others = [(OTHER, OTHER)] if self.model.overflow else []
        assert self.writers[writer].series() == sorted(self.model.pairs + others)
        stats = self.writers[writer].stats()
        assert (stats["series"], stats["overflow"]) == (len(self.model.pairs + others), self.model.overflow)

    @invariant()
    def nothing_is_pending_but_what_the_model_says(self) -> None:
        for writer, buffer in zip(self.writers, self.model.buffers, strict=True):
            assert buffer_of(writer).pending == len(buffer)


@pytest.mark.parametrize("flush_every", [1, 5])
@pytest.mark.parametrize("name", ["fakeredis", "valkey"])
def test_the_metrics_are_those_of_the_model(servers: Servers, name: str, flush_every: int) -> None:
    with servers.backend(name).client() as client:
        machine = type("Machine", (MetricsMachine,), {"client": client, "flush_every": flush_every})
        run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=25))
