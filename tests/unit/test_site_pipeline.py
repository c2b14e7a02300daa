"""What an edge process does with a reading, and where one that is started again goes on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest

from edge_redis import EdgeNode, EdgeRedis, RedisCloudStore, ResourceUsage
from edge_redis._site.observer import Observer
from edge_redis._site.pipeline import ReadingPipeline, cache_key

START = datetime(2016, 3, 15, 8, tzinfo=UTC)


class Bench:
    """A node's services on a clock that the test moves."""

    def __init__(self) -> None:
        self.client = fakeredis.FakeRedis()
        self.now = START
        self.services = EdgeRedis(
            self.client,
            namespace="ns",
            cache={"max_size": 10_000},
            health={"heartbeat_timeout_seconds": 8.0, "clock": lambda: self.now},
        )

    def work(self, run: str = "run-1") -> ReadingPipeline:
        return ReadingPipeline(self.services, EdgeNode("n1", "n1", last_heartbeat=START), run_id=run)

    def report(self, run: str = "run-1") -> Any:
        with (
            RedisCloudStore(self.client, namespace="ns") as cloud,
            Observer(self.services, cloud, ["n1", "n2"], run_id=run) as observer,
        ):
            return observer.report({}, {}, {})


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.services.close()
    made.client.close()


def test_one_reading_does_everything_once(bench: Bench) -> None:
    work = bench.work()
    work.process({"a": 1.0, "b": 2.0, "door": "open"}, at="t1", with_check=True)
    work.close()
    state = bench.services.synchronizer("n1").get_local_state()
    assert state is not None
    assert (state.version, state.origin) == (1, "n1")
    assert {name: state.data[name] for name in ("a", "b", "door", "at", "readings", "run")} == {
        "a": 1.0,
        "b": 2.0,
        "door": "open",
        "at": "t1",
        "readings": 1,
        "run": "run-1",
    }
    assert state.data["results"]["rolling_statistics"]["a"] == {"mean": 1.0, "deviation": 0.0, "min": 1.0, "max": 1.0}
    report = bench.report()
    node = report.nodes["n1"]
    assert (node.readings, node.heartbeats, node.checks, node.unhealthy_spells, node.healthy) == (1, 1, 1, 0, True)
    assert [function.count for function in report.functions.values()] == [1, 1, 1]
    assert (report.cache["misses"], report.cache["hits"], report.cache["size"]) == (6, 0, 6)
    assert (report.scopes["n1"].edge_version, report.scopes["n1"].cloud_version) == (1, 0)
    assert (report.scopes["n1"].pending, report.scopes["n1"].equal, report.is_synced) == (1, False, False)
    assert report.nodes["n2"].status == "unknown"
    assert report.scopes["n2"].equal is True


def test_later_readings_are_deltas_and_equal_windows_hit_the_cache(bench: Bench) -> None:
    work = bench.work()
    for number in range(40):
        work.process({"a": 20.0 + number / 10_000, "b": 5.0}, at=str(number))
    work.process({"c": "word"}, at="last")
    state = bench.services.synchronizer("n1").get_local_state()
    assert state is not None
    assert (state.version, state.data["readings"], state.data["b"], state.data["c"]) == (41, 41, 5.0, "word")
    # 20.0 to 20.0039 are the same to three digits: each window of 1 to 12, 8 and 30 readings once a field.
    assert bench.services.cache.stats()["misses"] == 2 * (12 + 8 + 30)
    assert bench.services.cache.stats()["hits"] == 41 * 6 - 100
    work.close()


def test_a_missing_heartbeat_is_judged_by_the_clock_given(bench: Bench) -> None:
    work = bench.work()
    work.process({"a": 1.0}, at="", with_check=True)
    bench.now = START + timedelta(seconds=8)
    work.check()
    bench.now = START + timedelta(seconds=8.001)
    work.process({"a": 1.0}, at="", with_check=True)
    work.close()
    node = bench.report().nodes["n1"]
    assert (node.checks, node.unhealthy_spells, node.healthy) == (3, 1, True)
    assert [change.at for change in bench.services.health.transitions()] == [START + timedelta(seconds=8), bench.now]


def test_the_next_process_goes_on_with_the_same_windows(bench: Bench) -> None:
    readings = [{"a": float(number % 7), "b": float(number % 3)} for number in range(20)]
    whole = Bench()
    work = whole.work()
    for fields in readings:
        work.process(fields, at="")
    first = bench.work()
    for fields in readings[:11]:
        first.process(fields, at="")
    second = bench.work()  # the first one was killed
    assert second.processed == 11
    for fields in readings[:11]:
        second.append_to_windows(fields)
    for fields in readings[11:]:
        second.process(fields, at="")
    expected = whole.services.synchronizer("n1").get_local_state()
    found = bench.services.synchronizer("n1").get_local_state()
    assert expected is not None
    assert found is not None
    assert (found.version, found.data) == (expected.version, expected.data)
    for each in (work, first, second):
        each.close()
    whole.services.close()
    whole.client.close()


def test_progress_of_another_run_is_not_taken_for_this_one(bench: Bench) -> None:
    first = bench.work("run-1")
    first.process({"a": 1.0, "old": "x"}, at="")
    second = bench.work("run-2")
    assert second.processed == 0
    second.process({"a": 2.0}, at="")
    state = bench.services.synchronizer("n1").get_local_state()
    assert state is not None
    assert (state.version, state.data["readings"]) == (2, 1)
    assert "old" not in state.data
    assert bench.report("run-1").nodes["n1"].readings == 0
    assert bench.report("run-2").nodes["n1"].readings == 1
    first.close()
    second.close()


def test_a_reading_without_numbers_invokes_the_functions_on_nothing(bench: Bench) -> None:
    work = bench.work()
    work.process({"door": "open"}, at="", resources=ResourceUsage(cpu_percent=12.5))
    work.close()
    report = bench.report()
    assert report.functions["anomaly_score"].count == 1
    assert report.cache["misses"] == 0
    node = bench.services.health.get_node("n1")
    assert node is not None
    assert node.resources.cpu_percent == 12.5


def test_keys_differ_by_node_function_field_and_window() -> None:
    keys = {
        cache_key(node, function, field, window)
        for node in ("n1", "n2")
        for function in ("f", "g")
        for field in ("a", "b")
        for window in ([1.0], [1.0, 2.0], [2.0, 1.0])
    }
    assert len(keys) == 24
