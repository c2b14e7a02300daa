"""Real call spans of a web shop: every total exact, every percentile within the error."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from conftest import Maker

from edge_redis import EdgeMetrics, InvocationRecord
from support.metrics import assert_series, matching, spans
from support.servers import Backend

SAMPLE = 6000


def assert_all_series(metrics: Any, records: list[InvocationRecord], *, pairs: bool) -> None:
    assert_series(metrics, None, None, records)
    for function_id in {record.function_id for record in records}:
        assert_series(metrics, function_id, None, matching(records, function_id, None))
    for node_id in {record.node_id for record in records}:
        assert_series(metrics, None, node_id, matching(records, None, node_id))
    found = {(record.function_id, record.node_id) for record in records}
    assert metrics.series() == sorted(found)
    for pair in found if pairs else ():
        assert_series(metrics, *pair, matching(records, *pair))


def test_a_sample_of_real_spans(make: Maker) -> None:
    records = list(islice(spans(), SAMPLE))
    metrics = make("EdgeMetrics")
    for record in records:
        metrics.record(record)
    assert_all_series(metrics, records, pairs=make.backend.is_real)
    assert metrics.recent(500) == records[-500:]


@pytest.mark.exploration
def test_all_real_spans(valkey: Backend) -> None:
    records = list(spans())
    with valkey.client() as client, EdgeMetrics(client) as metrics:
        for record in records:
            metrics.record(record)
        assert_all_series(metrics, records, pairs=True)
