"""The snapshot that exporters read."""

from __future__ import annotations

from conftest import Maker

from support.metrics import made


def test_a_snapshot_is_every_pair_with_its_buckets(make: Maker) -> None:
    metrics = make("EdgeMetrics", slow_ms=5.0)
    assert metrics.snapshot() == {}
    metrics.record_many([made("f", "n", 2.0)] * 3 + [made("f", "m", 8.0), made("g", "n", 3.0, ok=False)])
    found = metrics.snapshot()
    assert list(found) == [("f", "m"), ("f", "n"), ("g", "n")]
    pair = found["f", "n"]
    assert (pair.count, pair.errors, pair.slow, pair.sum_ms, dict(pair.buckets)) == (3, 0, 0, 6.0, {31: 3})
    assert (found["f", "m"].slow, found["g", "n"].errors) == (1, 1)
    assert pair.count_up_to([1.0, 2.0, 4.0]) == [0, 3, 3]


def test_a_snapshot_of_many_pairs(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    metrics.record_many(made(f"f{at:03}", ms=float(at + 1)) for at in range(100))
    found = metrics.snapshot()
    assert [pair.sum_ms for pair in found.values()] == [float(at + 1) for at in range(100)]


def test_every_bucket_adds_up_over_flushes(make: Maker) -> None:
    metrics = make("EdgeMetrics")
    counts = {index: index + 1 for index in range(12)}
    for _ in range(3):
        for index, count in counts.items():
            metrics.record_many([made(ms=2.0 ** ((index + 0.5) / 32))] * count)
        metrics.flush()
    assert dict(metrics.snapshot()["f", "n"].buckets) == {index: 3 * count for index, count in counts.items()}
