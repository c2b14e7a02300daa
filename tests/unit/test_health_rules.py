"""The health room's pure rules: flapping, recommendations, lines of the history, words of a slice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_redis._health import age_statistics, flapping, node_record, recommendation, transition_entry, verdicts
from edge_redis.errors import CorruptDataError, InvalidArgumentError, InvalidKeyError, InvalidTypeError
from edge_redis.models import EdgeNode, EdgeNodeStatus, HealthCheck, ResourceUsage, Transition

AT = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
HOUR_MS = 3_600_000.0


def checks(word: str, age_ms: float = 0.0) -> list[HealthCheck]:
    """Return a check for each letter: ``h`` healthy, ``u`` unhealthy, with the heartbeat's age at the last."""
    return [HealthCheck("n", letter == "h", age_ms) for letter in word]


@pytest.mark.parametrize(
    ("word", "count"), [("", 0), ("h", 0), ("hh", 0), ("hu", 1), ("huh", 2), ("huhu", 3), ("huuuhhu", 3)]
)
def test_a_transition_is_a_pair_of_different_neighbours(word: str, count: int) -> None:
    assert flapping.count_changes([letter == "h" for letter in word]) == count


@pytest.mark.parametrize(
    ("word", "window", "expected"),
    [
        ("huh", 10, False),
        ("huhu", 10, True),
        ("huhu", 4, True),
        ("huhu", 3, False),
        ("huhu", 1, False),
        ("huhu" + "u" * 6, 10, True),
        ("huhu" + "u" * 7, 10, False),
        ("huhuuuuuuuuuuuu", 15, True),
        ("", 10, False),
    ],
)
def test_three_transitions_in_the_window_are_flapping(word: str, window: int, *, expected: bool) -> None:
    assert flapping.is_flapping([letter == "h" for letter in word], window) is expected


@pytest.mark.parametrize(
    ("word", "age_ms", "expected"),
    [
        ("", 0, "No data"),
        ("h", 0, "Normal"),
        ("hhhhh", 0, "Normal"),
        ("uhhhhh", 0, "Normal"),
        ("hhhhu", 0, "Investigate connectivity (stale heartbeat)"),
        ("uuuuu", HOUR_MS, "Investigate connectivity (stale heartbeat)"),
        ("uuuuu", HOUR_MS + 1, "Decommission node (offline > 1h)"),
        ("huuuuu", HOUR_MS + 1, "Decommission node (offline > 1h)"),
        ("hu", HOUR_MS + 1, "Decommission node (offline > 1h)"),
        ("uh", HOUR_MS + 1, "Normal"),
        ("u", HOUR_MS + 1, "Decommission node (offline > 1h)"),
        ("u", HOUR_MS, "Investigate connectivity (stale heartbeat)"),
        ("hhhhh", HOUR_MS + 1, "Normal"),
        ("huhuu", HOUR_MS + 1, "Reboot node (flapping detected)"),
        ("huhuuuuuuu", HOUR_MS + 1, "Reboot node (flapping detected)"),
        ("huhuuuuuuuu", HOUR_MS + 1, "Decommission node (offline > 1h)"),
        ("uhuhhhhhhh", 0, "Reboot node (flapping detected)"),
        ("uhuhhhhhhhh", 0, "Normal"),
    ],
)
def test_the_recommendation_is_the_first_rule_that_holds(word: str, age_ms: float, expected: str) -> None:
    flapping_now = flapping.is_flapping([letter == "h" for letter in word], 10)
    assert recommendation.recommend(checks(word, age_ms), flapping=flapping_now) == expected


def test_a_line_tells_of_a_check() -> None:
    line = b"0 75250 1772366400250 0 maintenance hall 7, rack 2"
    assert verdicts.decode_line("n", line) == HealthCheck(
        "n",
        healthy=False,
        latency_ms=75250.0,
        checked_at=AT,
        details={"status": "maintenance", "heartbeat_age_seconds": 75.25, "location": "hall 7, rack 2"},
    )


@pytest.mark.parametrize(("skew", "shown"), [(1000, None), (1001, 1.001), (3_600_000, 3600.0)])
def test_a_clock_that_is_far_ahead_is_mentioned(skew: int, shown: float | None) -> None:
    found = verdicts.decode_line("n", b"1 0 1772366400250 %d online " % skew)
    assert found is not None
    assert found.details.get("clock_skew_seconds") == shown


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"-",
        b"\xff\xfe",
        b"1 2 3",
        b"1 2 3 4 online",
        b"x 2 3 0 online ",
        b"2 2 3 0 online ",
        b"1 2 99999999999999999999 0 online ",
    ],
)
def test_a_broken_line_is_no_check(line: bytes) -> None:
    assert verdicts.decode_line("n", line) is None


@given(st.lists(st.binary(max_size=40)))
def test_a_history_of_anything_never_raises(lines: list[bytes]) -> None:
    assert len(verdicts.decode_history("n", lines)) <= len(lines)


def test_a_history_is_turned_oldest_first_without_its_broken_lines() -> None:
    lines = [b"1 1 1000 0 online ", b"broken", b"0 2 900 0 online "]
    assert [found.latency_ms for found in verdicts.decode_history("n", lines)] == [2.0, 1.0]


def test_words_of_a_slice_and_their_report() -> None:
    found = verdicts.decode_words(["a", "b", "c"], b"112 - 060001!")
    assert found == [
        verdicts.Verdict("a", healthy=True, latency_ms=12.0, changed=False),
        verdicts.Verdict("c", healthy=False, latency_ms=60001.0, changed=True),
    ]
    assert verdicts.summarize(found) == {
        "total_nodes": 2,
        "healthy_nodes": 1,
        "unhealthy_nodes": 1,
        "health_percent": 50.0,
        "checks": [
            {"node_id": "a", "healthy": True, "latency_ms": 12.0},
            {"node_id": "c", "healthy": False, "latency_ms": 60001.0},
        ],
    }


def test_no_node_is_a_hundred_percent_healthy() -> None:
    assert verdicts.summarize([])["health_percent"] == 100.0


def entry(**changes: bytes | None) -> dict[bytes, bytes]:
    plain: dict[str, bytes | None] = {
        "node": b"n",
        "state": b"unhealthy",
        "previous": b"healthy",
        "at": b"1772366400250",
        "reason": b"heartbeat 75.2 s old, timeout 60 s",
    }
    return {name.encode(): value for name, value in (plain | changes).items() if value is not None}


def test_an_entry_tells_of_a_transition() -> None:
    assert transition_entry.decode_entry((b"5-0", entry())) == Transition(
        "n", "unhealthy", "healthy", AT, "heartbeat 75.2 s old, timeout 60 s", "5-0"
    )


@pytest.mark.parametrize(
    "fields", [None, {}, entry(at=b"never"), entry(at=b"9" * 30), entry(state=None), {b"\xff": b""}]
)
def test_a_broken_entry_is_no_transition(fields: dict[bytes, bytes] | None) -> None:
    assert transition_entry.decode_entry((b"5-0", fields)) is None


def test_a_node_comes_back_as_it_was() -> None:
    node = EdgeNode(
        "n-1",
        "Näme",
        "hall 7",
        EdgeNodeStatus.DEGRADED,
        ["gpu", "camera"],
        {"rack": 3, "since": AT, "tags": ("a", "b")},
        AT,
        ResourceUsage(12.5, 100.0, 200.0, 3.0, 4),
        7,
    )
    words = [
        b"n-1",
        b"1772366400250",
        b"degraded",
        b"hall 7",
        node_record.encode_profile(node),
        node_record.encode_resources(node.resources),
    ]
    assert node_record.decode_node(words) == node
    assert node_record.make_claim(node) == ("n-1", "1772366400250 degraded hall 7")
    assert node_record.make_claim("n-1") == ("n-1", "")


@pytest.mark.parametrize("broken", range(1, 6))
def test_facts_that_do_not_decode_name_their_node(broken: int) -> None:
    node = EdgeNode("n", "n", "", EdgeNodeStatus.ONLINE, [], {}, AT)
    words = [b"n", b"0", b"online", b"", node_record.encode_profile(node), node_record.encode_resources(node.resources)]
    words[broken] = b"\xc1\xff"
    with pytest.raises(CorruptDataError, match="the record of node 'n' does not decode"):
        node_record.decode_node(words)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"id": ""}, InvalidKeyError),
        ({"id": "x" * 1025}, InvalidKeyError),
        ({"id": "\ud800"}, InvalidKeyError),
        ({"id": 7}, InvalidTypeError),
        ({"name": 7}, InvalidTypeError),
        ({"name": "\ud800"}, InvalidKeyError),
        ({"location": None}, InvalidTypeError),
        ({"location": "x" * 1025}, InvalidKeyError),
        ({"status": "asleep"}, InvalidArgumentError),
        ({"status": True}, InvalidTypeError),
        ({"capabilities": "gpu"}, InvalidTypeError),
        ({"capabilities": [1]}, InvalidTypeError),
        ({"metadata": []}, InvalidTypeError),
        ({"metadata": {"a": object()}}, InvalidTypeError),
        ({"metadata": {"a": "\ud800"}}, InvalidArgumentError),
        ({"metadata": {"a": b"x" * (1 << 20)}}, InvalidArgumentError),
        ({"last_heartbeat": 0.0}, InvalidTypeError),
        ({"resources": {}}, InvalidTypeError),
        ({"resources": ResourceUsage(cpu_percent=float("nan"))}, InvalidArgumentError),
        ({"resources": ResourceUsage(memory_mb=float("inf"))}, InvalidArgumentError),
        ({"resources": ResourceUsage(disk_mb=-1.0)}, InvalidArgumentError),
        ({"resources": ResourceUsage(active_functions=1.5)}, InvalidTypeError),  # type: ignore[arg-type]
        ({"max_functions": True}, InvalidTypeError),
        ({"max_functions": -1}, InvalidArgumentError),
    ],
)
def test_a_node_that_cannot_be_kept_is_refused(changes: dict[str, object], error: type[Exception]) -> None:
    node = EdgeNode("n", "n")
    for name, value in changes.items():
        setattr(node, name, value)
    with pytest.raises(error):
        (node_record.make_claim(node), node_record.encode_profile(node), node_record.encode_resources(node.resources))


@pytest.mark.parametrize(
    "moment", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), AT - timedelta(days=9)]
)
def test_any_moment_may_be_a_heartbeat(moment: datetime) -> None:
    assert node_record.make_claim(EdgeNode("n", "n", last_heartbeat=moment))[1].split(" ")[1:] == ["online", ""]


def test_changes_weigh_more_the_newer_they_are() -> None:
    detector = flapping.FlapThresholds(window=21, start_percent=50.0, stop_percent=25.0)
    steady = [True] * 21
    assert detector.change_percent([]) == 0.0
    assert detector.change_percent(steady) == 0.0
    assert detector.change_percent([True, False] * 10 + [True]) == pytest.approx(100.0)
    assert detector.change_percent([*steady, False]) == pytest.approx(1.2 / 20 * 100)
    assert detector.change_percent([False, *steady[:20]]) == pytest.approx(0.8 / 20 * 100)
    assert detector.change_percent([True, False]) == pytest.approx(1.2 / 20 * 100), "what was not checked was steady"


def test_flapping_starts_at_one_threshold_and_stops_below_the_other() -> None:
    detector = flapping.FlapThresholds(window=11, start_percent=50.0, stop_percent=15.0)
    verdicts = [True] * 11
    states = []
    for up in [False, True, False, True, False, *[False] * 10]:
        verdicts.append(up)
        states.append(detector.is_flapping(verdicts))
    percents = [detector.change_percent(verdicts[: 11 + end]) for end in range(1, 16)]
    assert percents[3] < 50.0 <= percents[4]
    assert percents[12] >= 15.0 > percents[13]
    assert states == [False] * 4 + [True] * 9 + [False] * 2


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"window": 2}, InvalidArgumentError),
        ({"window": 3.0}, InvalidTypeError),
        ({"start_percent": 0}, InvalidArgumentError),
        ({"start_percent": 101}, InvalidArgumentError),
        ({"start_percent": 5.0}, InvalidArgumentError),
        ({"stop_percent": -1}, InvalidArgumentError),
        ({"stop_percent": float("nan")}, InvalidArgumentError),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        flapping.FlapThresholds(**arguments)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], {"count": 0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}),
        ([7.0], {"count": 1, "p50": 7.0, "p95": 7.0, "p99": 7.0, "max": 7.0}),
        ([4.0, 1.0, 3.0, 2.0], {"count": 4, "p50": 2.0, "p95": 4.0, "p99": 4.0, "max": 4.0}),
        (list(range(100, 0, -1)), {"count": 100, "p50": 50, "p95": 95, "p99": 99, "max": 100}),
    ],
)
def test_percentiles_are_order_statistics(values: list[float], expected: dict[str, float]) -> None:
    assert age_statistics.summarize(values) == expected
