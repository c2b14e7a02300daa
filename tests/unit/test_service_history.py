"""The rules of the history checker of cache, health and metrics find what is planted in a history, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

import pytest

from edge_redis._metrics.series import Series
from support.history.log import Call
from support.service_history.cache_rules import cache_faults
from support.service_history.counters import Raise, Reading, count_faults
from support.service_history.harm import Harm, error_faults, excuse, longest_error
from support.service_history.health_rules import Change, chain_faults, death_faults, heartbeat_faults, leader_faults
from support.service_history.metrics_rules import metrics_faults
from support.service_history.scope_rules import scope_faults


def call(kind: str, begun: float, answer: Any = None, *, by: str = "p.0", data: Any = None, **facts: Any) -> Call:
    """Return a call that took one second and succeeded, unless stated otherwise; the value of a put is ``data``."""
    outcome = facts.get("outcome", "ok")
    returned = facts.get("returned", begun + 1)
    made = Call(f"{by}.{begun}", 0, "s", facts.get("scope", "k"), kind, data, begun, returned, outcome)
    made.answer = {"answer": answer}
    return made


def put(value: str, begun: float, **facts: Any) -> Call:
    return call("put", begun, data=value, **facts)


def get(value: str | None, begun: float, **facts: Any) -> Call:
    return call("get", begun, value, **facts)


def first(faults: Iterable[str]) -> str:
    return next(iter(faults))


LOST: dict[str, Any] = {"outcome": "unknown", "returned": inf}

CACHE: dict[str, tuple[list[Call], str]] = {
    "reads of what was put": ([get(None, 0), put("a", 1), get("a", 3), put("b", 5), get("b", 7)], ""),
    "two reads in a put": ([put("a", 0), put("b", 5, returned=9.0), get("b", 6), get("a", 7.5, by="q.0")], "newer"),
    "a read that overlaps both": ([put("a", 0), put("b", 5, returned=9.0), get("a", 6, returned=8.5)], ""),
    "a value from nowhere": ([put("a", 0), get("z", 3)], "nobody had put"),
    "a value before its put": ([get("a", 0), put("a", 3)], "nobody had put"),
    "a replaced value": ([put("a", 0), put("b", 2), get("a", 4, by="q.0")], "acknowledged"),
    "a lost value": ([put("a", 0), get(None, 4)], "acknowledged"),
    "a removed value": ([put("a", 0), call("delete", 2), get("a", 4)], "acknowledged"),
    "missing after a removal": ([put("a", 0), call("delete", 2), get(None, 4)], ""),
    "missing after an unknown removal": ([put("a", 0), call("delete", 1.5, **LOST), put("b", 2), get(None, 4)], ""),
    "a put of unknown outcome comes late": ([put("a", 0, **LOST), put("b", 2), get("b", 4), get("a", 6)], ""),
    "back and forth": ([put("a", 0, **LOST), put("b", 0, **LOST), get("a", 2), get("b", 4), get("a", 6)], "again"),
    "numbers in order": ([call("incr", 0, 1), call("incr", 2, 2), call("incr", 3, **LOST), call("incr", 6, 4)], ""),
    "a number twice": ([call("incr", 0, 1), call("incr", 0.5, 1)], "one number"),
    "a count too many": ([call("incr", 0, 2)], "read 2, but"),
}  # fmt: skip


@pytest.mark.parametrize("name", CACHE)
def test_what_a_cache_did_wrong_is_found(name: str) -> None:
    calls, expected = CACHE[name]
    faults = [*cache_faults(calls)]
    assert (not faults) == (not expected), faults
    assert any(expected in fault for fault in faults) or not expected, faults


def test_a_near_cache_may_be_stale_for_its_time_but_not_for_its_own_process() -> None:
    calls = [put("a", 0), get("a", 2, by="q.0"), put("b", 4), get("a", 7, by="q.0")]
    assert [*cache_faults(calls)]
    assert [*cache_faults(calls, stale_seconds=3.0)] == []
    assert [*cache_faults(calls, stale_seconds=1.0)]
    assert "acknowledged" in first(cache_faults([put("a", 0), put("b", 4), get("a", 7)], stale_seconds=3.0))
    older = [put("a", 0), put("b", 2), get("b", 4, by="q.0"), get("a", 6, by="q.0")]
    assert "newer value" in first(cache_faults(older, stale_seconds=9.0))


def test_a_cache_that_evicts_may_miss_but_not_exceed_its_size() -> None:
    calls = [put("a", 0), get(None, 2), call("size", 4, 10)]
    assert [*cache_faults(calls, max_size=10)] == []
    assert "10 entries, of 9 at most" in first(cache_faults(calls, max_size=9))


def test_a_counter_that_goes_back_is_found_where_its_bounds_allow_both() -> None:
    raises = [Raise(0.0), Raise(0.0)]
    assert [*count_faults(raises, [Reading(1, 2, 1), Reading(3, 4, 2)])] == []
    assert "after another had read 2" in first(count_faults(raises, [Reading(1, 2, 2), Reading(3, 4, 1)]))


def record(ms: int, begun: float, *, is_buffered: bool = False, success: bool = True, **facts: Any) -> Call:
    data = {"node": "n", "ms": ms, "is_buffered": is_buffered, "success": success}
    return call("record", begun, data=data, **facts)


RECORDS = [record(10, 0), record(20, 2, success=False), record(40, 4, **LOST), record(80, 6, **LOST)]
BUFFERED = [record(10, 0, is_buffered=True), call("flush", 2), record(20, 4, is_buffered=True), call("total", 6, 2)]
METRICS: dict[str, tuple[list[Call], Series, str]] = {
    "the acknowledged ones": (RECORDS, Series(2, 1, 0, 30), ""),
    "and one of the others": (RECORDS, Series(3, 1, 0, 110), ""),
    "one is lost": (RECORDS, Series(1, 1, 0, 20), "1 counted, of 2"),
    "one counts twice": (RECORDS, Series(5, 1, 0, 170), "5 counted, of 2"),
    "one is lost and another one counts twice": (RECORDS, Series(3, 1, 0, 50), "durations"),
    "a failure counts as a success": (RECORDS, Series(2, 0, 0, 30), "failures"),
    "buffered and delivered": (BUFFERED, Series(2, 0, 0, 30), ""),
    "delivered and lost": (BUFFERED, Series(1, 0, 0, 10), "1 counted, of 2"),
    "buffered, and the process was killed": (BUFFERED[:3], Series(1, 0, 0, 10), ""),
    "a total that lacks one": ([*BUFFERED[:3], call("total", 6, 1)], Series(2, 0, 0, 30), ""),
    "a total that lacks one delivered": ([record(10, 0), call("total", 2, 0)], Series(1, 0, 0, 10), "read 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", METRICS)
def test_what_metrics_did_wrong_is_found(name: str) -> None:
    calls, series, expected = METRICS[name]
    faults = [*metrics_faults(calls, {("k", "n"): series}, ["a", "b"])]
    assert (not faults) == (not expected), faults
    assert any(expected in fault for fault in faults) or not expected, faults


def test_a_series_of_nothing_and_a_recent_record_twice_are_found() -> None:
    faults = [*metrics_faults([], {("f", "n"): Series(1)}, ["a", "b", "a"])]
    assert ["nobody recorded" in faults[0], "twice: ['a']" in faults[1]] == [True, True]


def led(term: int, begun: float, by: str, *, leader: bool = True) -> Call:
    return call("round", begun, {"leader": leader, "term": term}, by=by)


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        pytest.param([led(1, 0, "a.0"), led(0, 1, "b.0", leader=False), led(2, 3, "b.0")], "", id="in turn"),
        pytest.param([led(1, 0, "a.0"), led(1, 3, "b.0")], "several leaders", id="two leaders of a term"),
        pytest.param([led(2, 0, "a.0"), led(1, 3, "b.0")], "led in term 1", id="a term that is over"),
        pytest.param([led(2, 0, "a.0"), led(1, 0.5, "b.0")], "", id="rounds at the same time"),
    ],
)  # fmt: skip
def test_leaders_are_one_a_term(calls: list[Call], expected: str) -> None:
    faults = [*leader_faults(calls)]
    assert (not faults) == (not expected), faults
    assert all(expected in fault for fault in faults)


DOWN, UP = Change("k", "unhealthy", "healthy", 10.0), Change("k", "recovered", "unhealthy", 12.0)


def test_transitions_of_a_node_are_a_chain() -> None:
    again = Change("k", "unhealthy", "healthy", 14.0)
    flapping = Change("k", "flapping", "healthy", 12.0)
    assert [*chain_faults([DOWN, UP, flapping, again])] == []
    assert [*chain_faults([DOWN, DOWN])]
    assert [*chain_faults([DOWN, again])]
    assert [*chain_faults([DOWN, UP, Change("k", "unhealthy", "healthy", 11.0)])]


def beat(begun: float, **facts: Any) -> Call:
    return call("beat", begun, **facts)


def test_transitions_fit_the_heartbeats() -> None:
    calls = [beat(4, returned=4.5), beat(11.5, returned=11.6)]
    assert [*heartbeat_faults(calls, [DOWN, UP], timeout=5.0)] == []
    assert "was acknowledged" in first(heartbeat_faults(calls, [DOWN, UP], timeout=7.0))
    assert "no heartbeat" in first(heartbeat_faults(calls[:1], [DOWN, UP], timeout=5.0))
    lost = [beat(8, **LOST), beat(11.5, **LOST)]
    assert [*heartbeat_faults(lost, [DOWN, UP], timeout=5.0)] == []


def test_a_node_that_is_silent_for_long_must_be_unhealthy() -> None:
    calls = [beat(0), beat(20, scope="other")]
    assert [*death_faults(calls, [DOWN], 22.0, 5.0)] == []
    assert "k: recovered" in first(death_faults(calls, [DOWN, UP], 22.0, 5.0))
    assert "k: unknown" in first(death_faults(calls, [], 22.0, 5.0))


UPDATES = [
    call("update", 0, 1, data={"a": 1}),
    call("update", 2, 2, data={"b": 1}),
    call("update", 4, data={"a": 2}, **LOST),
]
SCOPES: dict[str, tuple[list[Call], dict[str, int], str]] = {
    "all acknowledged": (UPDATES, {"a": 1, "b": 1}, ""),
    "the unknown one too": (UPDATES, {"a": 2, "b": 1}, ""),
    "a lost one": (UPDATES, {"b": 1}, "a is None, 1 was acknowledged"),
    "a version twice": ([*UPDATES, call("update", 6, 2, data={"b": 2})], {"a": 1, "b": 2}, "versions of 4"),
    "a version too many": ([*UPDATES[:2], call("update", 6, 4, data={"b": 2})], {"a": 1, "b": 2}, "versions of 3"),
    "a version that goes back": (
        [UPDATES[1], call("update", 6, 1, data={"a": 1})],
        {"a": 1, "b": 1},
        "after version 2",
    ),
}


@pytest.mark.parametrize("name", SCOPES)
def test_what_updates_did_wrong_is_found(name: str) -> None:
    calls, data, expected = SCOPES[name]
    faults = [*scope_faults(calls, {"k": data}, {"k": data})]
    assert (not faults) == (not expected), faults
    assert any(expected in fault for fault in faults) or not expected, faults


def test_a_cloud_that_has_something_else_is_found() -> None:
    assert "the cloud {'a': 0" in first(scope_faults(UPDATES, {"k": {"a": 1, "b": 1}}, {"k": {"a": 0, "b": 1}}))


def test_what_a_dead_master_may_have_lost_is_excused_and_nothing_that_counts_twice() -> None:
    harms = [Harm("a master was killed", 10.0, 12.0, loses_writes=True), Harm("a slot moved", 20.0, 21.0)]
    records = [record(10, 0), record(20, 8.5), record(40, 13), record(80, 20)]
    excused = excuse(records, harms)
    assert [each.outcome for each in excused] == ["ok", "excused", "ok", "ok"]
    for count, total, expected in ((3, 130, ""), (2, 90, "2 counted"), (5, 160, "5 counted")):
        found = {("k", "n"): Series(count, 0, 0, total)}
        faults = "".join(metrics_faults(excused, found, []))
        assert expected in faults
        assert bool(faults) == bool(expected)
    buffered = [record(10, 7, is_buffered=True), call("flush", 9), record(20, 14, is_buffered=True), call("flush", 16)]
    for count, total in ((1, 20), (2, 30)):
        assert [*metrics_faults(excuse(buffered, harms), {("k", "n"): Series(count, 0, 0, total)}, [])] == []


def test_errors_are_expected_in_a_harm_and_for_its_time_alone() -> None:
    harms = [Harm("a slot moved", 10.0, 12.0)]
    calls = [call("get", begun, outcome="unknown", by=f"p{begun}") for begun in (8.5, 9.5, 11.0, 15.0, 19.0)]
    for each in calls:
        each.answer = {"error": "StoreError()"}
    assert [fault.partition(".")[0] for fault in error_faults(calls, harms, 5.0)] == ["p8", "p19"]
    assert longest_error(calls, harms) == 7.0
