"""HealthMonitor on every server and in both APIs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import Maker

from edge_redis import EdgeNode, EdgeNodeStatus, HealthCheck, ResourceUsage, UnknownNodeError, aio
from support.clock import ServerClock, stop_the_clock
from support.health import register_past
from support.servers import Backend

START = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
TAG = "er:{default:health0}"


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def node(name: str = "n1", *, age: float = 0.0, **facts: Any) -> EdgeNode:
    return EdgeNode(name, f"node {name}", facts.pop("location", "hall 7"), last_heartbeat=ago(age), **facts)


@pytest.fixture
def monitor(make: Any) -> Any:
    return make("HealthMonitor")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ServerClock:
    """A server clock that stands still, for exact ages."""
    return stop_the_clock(monkeypatch, START.timestamp())


@pytest.fixture(params=["blocking", "awaited"])
def timed(request: pytest.FixtureRequest, clock: ServerClock) -> Iterator[Any]:
    """A monitor on the server whose clock is ``clock``."""
    maker = Maker(Backend("fakeredis"), request.param)
    yield maker("HealthMonitor")
    maker.close()


def test_a_registered_node_comes_back_as_it_was(monitor: Any) -> None:
    given = node(
        status=EdgeNodeStatus.DEGRADED,
        capabilities=["gpu"],
        metadata={"rack": 3, "since": START},
        resources=ResourceUsage(50.0, 1.0, 2.0, 3.0, 4),
        max_functions=3,
        age=5.0,
    )
    assert monitor.register(given) is None
    assert abs(given.last_heartbeat - ago(0)) < timedelta(seconds=4), "registering is a heartbeat"
    assert monitor.get_node("n1") == given


def test_an_unknown_node_is_none(monitor: Any) -> None:
    assert monitor.get_node("n1") is None
    assert monitor.nodes() == []


def test_nodes_come_in_the_order_of_their_ids_and_by_status(monitor: Any) -> None:
    for name in ("b", "ä", "a", "c"):
        monitor.register(node(name, status=EdgeNodeStatus.SYNCING if name == "b" else EdgeNodeStatus.ONLINE))
    assert [found.id for found in monitor.nodes()] == ["a", "b", "c", "ä"]
    assert [found.id for found in monitor.nodes(EdgeNodeStatus.SYNCING)] == ["b"]
    assert [found.id for found in monitor.nodes(status=EdgeNodeStatus.ONLINE)] == ["a", "c", "ä"]
    assert monitor.nodes(EdgeNodeStatus.OFFLINE) == []


def test_deregister_leaves_nothing_of_the_node(monitor: Any, backend: Backend) -> None:
    monitor.register(node())
    monitor.check_node("n1")
    assert monitor.deregister("n1") is True
    assert monitor.deregister("n1") is False
    assert monitor.get_node("n1") is None
    assert monitor.get_history("n1") == []
    with backend.client() as client:
        assert not [key for key in client.scan_iter() if b"n1" in key]
        assert client.zcard(f"{TAG}:heartbeats") == 0
    monitor.check_node(node(age=120.0))
    assert monitor.transitions()[-1].previous == "unknown"


def test_a_heartbeat_by_id_counts_where_the_id_is_known(make: Any, monitor: Any, backend: Backend) -> None:
    assert monitor.heartbeat("n1") is False
    assert monitor.heartbeat("n1", EdgeNodeStatus.ONLINE, ResourceUsage()) is False
    with backend.client() as client:
        assert client.dbsize() == 0
    register_past(make, node(status=EdgeNodeStatus.SYNCING), 120.0)
    assert monitor.check_node("n1").healthy is False
    assert monitor.heartbeat("n1") is True
    assert monitor.check_node("n1").healthy is True
    assert monitor.get_node("n1").status is EdgeNodeStatus.SYNCING
    assert monitor.heartbeat("n1", status=EdgeNodeStatus.DEGRADED, resources=ResourceUsage(99.0)) is True
    found = monitor.get_node("n1")
    assert (found.status, found.resources) == (EdgeNodeStatus.DEGRADED, ResourceUsage(99.0))
    assert abs(found.last_heartbeat - ago(0)) < timedelta(seconds=10)


def test_a_heartbeat_of_an_object_registers_it_again(monitor: Any) -> None:
    given = node(age=500.0, capabilities=["gpu"])
    assert monitor.heartbeat(given) is True
    assert monitor.get_node("n1") == given
    assert monitor.deregister("n1") is True
    assert monitor.heartbeat(given, EdgeNodeStatus.SYNCING, ResourceUsage(1.0)) is True
    assert (given.status, given.resources) == (EdgeNodeStatus.SYNCING, ResourceUsage(1.0))
    assert abs(given.last_heartbeat - ago(0)) < timedelta(seconds=10)
    assert monitor.get_node("n1") == given


def test_a_status_that_changes_while_a_heartbeat_is_sent_stays(valkey: Backend) -> None:
    async def send() -> EdgeNode:
        given = node()
        async with valkey.async_client() as client, aio.HealthMonitor(client) as monitor:
            sending = asyncio.ensure_future(monitor.heartbeat(given))
            await asyncio.sleep(0)  # it is under way
            assert not sending.done()
            given.status, given.resources = EdgeNodeStatus.DEGRADED, ResourceUsage(50.0)
            assert await sending
        return given

    sent = asyncio.run(send())
    assert (sent.status, sent.resources) == (EdgeNodeStatus.DEGRADED, ResourceUsage(50.0))
    assert abs(sent.last_heartbeat - ago(0)) < timedelta(seconds=10)


def test_the_server_s_time_is_the_heartbeat_s(clock: ServerClock, timed: Any) -> None:
    given = node()
    timed.heartbeat(given)
    assert given.last_heartbeat == START
    clock.now += 10.25
    timed.heartbeat("n1")
    assert timed.get_node("n1").last_heartbeat == START + timedelta(seconds=10.25)


def test_a_heartbeat_never_goes_back_but_with_the_server_s_clock(clock: ServerClock, timed: Any) -> None:
    timed.heartbeat(node())
    older = node()
    older.last_heartbeat = START - timedelta(seconds=100)
    timed.register(older)
    assert timed.get_node("n1").last_heartbeat == START
    clock.now -= 50
    timed.heartbeat("n1")
    assert timed.check_node("n1").latency_ms == 0.0
    clock.now += 50.001
    assert timed.check_node("n1").latency_ms == 50_001.0, "it is not alive until the old time is reached again"


def test_a_heartbeat_from_the_future_is_one_of_now(clock: ServerClock, timed: Any) -> None:
    ahead = node()
    ahead.last_heartbeat = START + timedelta(seconds=90)
    assert timed.check_node(ahead).details == {
        "status": "online",
        "heartbeat_age_seconds": 0.0,
        "location": "hall 7",
        "clock_skew_seconds": 90.0,
    }
    timed.register(ahead)
    assert timed.get_node("n1").last_heartbeat == START
    clock.now += 61
    found = timed.check_node("n1")
    assert (found.healthy, found.details["clock_skew_seconds"]) == (False, 90.0)


@pytest.mark.parametrize(("age", "healthy"), [(0.0, True), (59.999, True), (60.0, False), (60.001, False)])
def test_healthy_is_an_age_under_the_timeout(clock: ServerClock, timed: Any, *, age: float, healthy: bool) -> None:
    given = node()
    given.last_heartbeat = START
    timed.register(given)
    clock.now += age
    assert timed.check_node("n1") == HealthCheck(
        "n1",
        healthy,
        age * 1000,
        START + timedelta(seconds=age),
        {"status": "online", "heartbeat_age_seconds": age, "location": "hall 7"},
    )


@pytest.mark.parametrize("status", list(EdgeNodeStatus))
def test_only_offline_is_unhealthy_by_itself(monitor: Any, status: EdgeNodeStatus) -> None:
    monitor.register(node(status=status))
    found = monitor.check_node("n1")
    assert found.healthy is (status is not EdgeNodeStatus.OFFLINE)
    assert found.details["status"] == status.value


def test_the_later_heartbeat_counts_with_its_status_and_location(make: Any, monitor: Any) -> None:
    register_past(make, node(status=EdgeNodeStatus.OFFLINE), 30.0)
    later = node(age=10.0, status=EdgeNodeStatus.SYNCING, location="hall 8")
    found = monitor.check_node(later)
    assert (found.healthy, found.details["status"], found.details["location"]) == (True, "syncing", "hall 8")
    assert 9.99 <= found.details["heartbeat_age_seconds"] < 20.0
    earlier = node(age=50.0, location="hall 8")
    found = monitor.check_node(earlier)
    assert (found.healthy, found.details["status"], found.details["location"]) == (False, "offline", "hall 7")
    assert 29.99 <= found.details["heartbeat_age_seconds"] < 40.0


def test_of_equal_heartbeats_the_object_s_counts(monitor: Any) -> None:
    given = node()
    monitor.register(given)
    given.status = EdgeNodeStatus.OFFLINE
    assert monitor.check_node(given).healthy is False
    assert monitor.check_node("n1").healthy is True


def test_checking_an_object_does_not_register_it(monitor: Any, backend: Backend) -> None:
    assert monitor.check_node(node(age=61.0)).healthy is False
    assert monitor.check_node(node(age=1.0)).healthy is True
    assert monitor.get_node("n1") is None
    assert monitor.summary() == {"monitored_nodes": 0, "total_checks": 2, "timeout_seconds": 60.0}
    assert [found.healthy for found in monitor.get_history("n1")] == [False, True]
    with pytest.raises(UnknownNodeError, match="no node is registered as 'n1'"):
        monitor.check_node("n1")
    with backend.client() as client:
        assert 0 < client.pttl(f"{TAG}:history:n1") <= 7 * 24 * 3600 * 1000
        monitor.register(node())
        assert client.pttl(f"{TAG}:history:n1") == -1


def test_an_unknown_id_changes_nothing(monitor: Any, backend: Backend) -> None:
    monitor.register(node())
    with backend.client() as client:
        before = {key: client.dump(key) for key in client.scan_iter()}
        with pytest.raises(UnknownNodeError):
            monitor.check_node("n2")
        with pytest.raises(UnknownNodeError, match="'n2' and 1 more"):
            monitor.check_cluster(["n1", "n2", node("n3"), "n4"])
        assert {key: client.dump(key) for key in client.scan_iter()} == before


def test_history_keeps_the_newest_in_a_redis_list(make: Any, backend: Backend) -> None:
    monitor = make("HealthMonitor", max_history=4)
    monitor.register(node())
    for age in (100, 90, 80, 70, 65):
        monitor.check_node(node("x", age=age))
    assert [round(found.latency_ms / 1000) for found in monitor.get_history("x")] == [90, 80, 70, 65]
    assert [round(found.latency_ms / 1000) for found in monitor.get_history("x", limit=2)] == [70, 65]
    assert monitor.get_history("nobody") == []
    with backend.client() as client:
        assert client.llen(f"{TAG}:history:x") == 4
    times = [found.checked_at for found in monitor.get_history("x")]
    assert times == sorted(times)
    assert all(found.tzinfo is UTC for found in times)


def test_the_default_history_is_a_hundred_of_which_ten_are_shown(monitor: Any) -> None:
    monitor.check_cluster([node("x")] * 101)
    assert len(monitor.get_history("x")) == 10
    assert len(monitor.get_history("x", 1000)) == 100


def test_flapping_is_three_transitions_in_the_window(monitor: Any) -> None:
    assert monitor.detect_flapping("n1") is False
    for age in (1, 61, 1):
        monitor.check_node(node(age=age))
    assert monitor.detect_flapping("n1") is False
    monitor.check_node(node(age=61))
    assert monitor.detect_flapping("n1") is True
    assert monitor.detect_flapping("n1", window=3) is False
    assert monitor.get_recovery_recommendation("n1") == "Reboot node (flapping detected)"


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([], "No data"),
        ([1], "Normal"),
        ([61], "Investigate connectivity (stale heartbeat)"),
        ([61, 1], "Normal"),
        ([1, 3700], "Decommission node (offline > 1h)"),
        ([3500] * 5, "Investigate connectivity (stale heartbeat)"),
        ([3500] * 4 + [3700], "Decommission node (offline > 1h)"),
        ([1, 61, 1, 3700], "Reboot node (flapping detected)"),
    ],
)
def test_the_recommendation_follows_the_checks(monitor: Any, ages: list[int], expected: str) -> None:
    monitor.check_cluster([node(age=age) for age in ages])
    assert monitor.get_recovery_recommendation("n1") == expected


def test_an_empty_cluster_is_healthy(monitor: Any) -> None:
    empty = {"total_nodes": 0, "healthy_nodes": 0, "unhealthy_nodes": 0, "health_percent": 100.0, "checks": []}
    assert monitor.check_cluster() == empty
    assert monitor.check_cluster([]) == empty
    assert monitor.summary() == {"monitored_nodes": 0, "total_checks": 0, "timeout_seconds": 60.0}


def test_a_cluster_is_every_registered_node(clock: ServerClock, timed: Any) -> None:
    for name, pause in (("a", 60), ("c", 1), ("b", 0)):
        timed.register(node(name))
        clock.now += pause
    assert timed.check_cluster() == {
        "total_nodes": 3,
        "healthy_nodes": 2,
        "unhealthy_nodes": 1,
        "health_percent": pytest.approx(66.6667, rel=1e-4),
        "checks": [
            {"node_id": "a", "healthy": False, "latency_ms": 61_000.0},
            {"node_id": "b", "healthy": True, "latency_ms": 0.0},
            {"node_id": "c", "healthy": True, "latency_ms": 1_000.0},
        ],
    }
    assert timed.summary() == {"monitored_nodes": 3, "total_checks": 3, "timeout_seconds": 60.0}
    assert [found.latency_ms for found in timed.get_history("a")] == [61_000.0]


def test_a_cluster_may_be_given_as_objects_and_ids(monitor: Any) -> None:
    monitor.register(node("a"))
    report = monitor.check_cluster(iter([node("z", age=61), "a", node("y")]))
    assert [(found["node_id"], found["healthy"]) for found in report["checks"]] == [
        ("z", False),
        ("a", True),
        ("y", True),
    ]
    assert monitor.summary()["monitored_nodes"] == 1


def test_more_nodes_than_a_slice_and_a_page(make: Any, monitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_redis._health.registry.PAGE", 50)
    for module in ("registry", "checker"):
        monkeypatch.setattr(f"edge_redis._health.{module}.SLICE", 20)
    names = [f"n{number:04d}" for number in range(1, 154)]  # a server pages a sorted set of more than 128 members only
    past = make("HealthMonitor", clock=lambda: ago(61.0))
    for name in names:
        (past if name.endswith("7") else monitor).register(node(name))
    report = monitor.check_cluster()
    assert [found["node_id"] for found in report["checks"]] == names
    assert (report["total_nodes"], report["unhealthy_nodes"]) == (153, 15)
    assert [found.id for found in monitor.nodes()] == names
    assert len(monitor.transitions(limit=1000)) == 15


def test_every_transition_says_what_when_and_why(clock: ServerClock, timed: Any) -> None:
    timed.heartbeat(node())
    timed.check_node("n1")
    assert timed.transitions() == []
    clock.now += 75.2
    timed.check_node("n1")
    timed.check_node("n1")
    timed.heartbeat("n1", EdgeNodeStatus.MAINTENANCE)
    clock.now += 0.4
    timed.check_cluster()
    timed.heartbeat("n1", EdgeNodeStatus.OFFLINE)
    timed.check_cluster()
    found = timed.transitions()
    assert [(change.node_id, change.state, change.previous, change.reason) for change in found] == [
        ("n1", "unhealthy", "healthy", "heartbeat 75.2 s old, timeout 60 s"),
        ("n1", "maintenance", "unhealthy", "status is maintenance, heartbeat 0.4 s old, timeout 60 s"),
        ("n1", "unhealthy", "maintenance", "status is offline, heartbeat 0.0 s old, timeout 60 s"),
    ]
    assert [change.at - START for change in found] == [timedelta(seconds=seconds) for seconds in (75.2, 75.6, 75.6)]
    assert len({change.position for change in found}) == 3


def test_the_first_verdict_is_news_only_where_it_is_bad(monitor: Any) -> None:
    monitor.check_cluster([node("good"), node("bad", age=61)])
    assert [(change.node_id, change.state, change.previous) for change in monitor.transitions()] == [
        ("bad", "unhealthy", "unknown")
    ]


def test_transitions_are_the_newest_oldest_first_and_of_one_node(monitor: Any) -> None:
    for index in range(4):
        monitor.check_cluster([node(name, age=1 if index % 2 else 61) for name in ("a", "b")])
    names = [(change.node_id, change.state) for change in monitor.transitions(limit=3)]
    assert names == [("b", "unhealthy"), ("a", "recovered"), ("b", "recovered")]
    mine = monitor.transitions(node_id="a")
    assert [change.state for change in mine] == ["unhealthy", "recovered"] * 2
    assert monitor.transitions(2, "a") == mine[2:]
    assert monitor.transitions(node_id="nobody") == []


def test_the_stream_of_transitions_is_read_in_pages_and_capped(
    make: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_redis._health.history._PAGE", 100)
    monitor = make("HealthMonitor", max_transitions=300)
    monitor.check_node(node("first", age=61))
    for _ in range(4):
        monitor.check_cluster([node("x", age=age) for age in (1, 61) * 63])
    assert len(monitor.transitions(limit=5000)) == len(monitor.transitions(limit=5000, node_id="x"))
    kept = len(monitor.transitions(limit=5000))
    with backend.client() as client:
        assert kept == client.xlen(f"{TAG}:transitions")
    assert 300 <= kept < 500
    assert monitor.transitions(node_id="first") == []
    assert len(monitor.transitions(limit=250)) == 250


def test_namespaces_know_nothing_of_each_other(make: Any) -> None:
    one, other = make("HealthMonitor", namespace="one"), make("HealthMonitor", namespace="other")
    one.register(node())
    one.check_node("n1")
    assert other.get_node("n1") is None
    assert other.get_history("n1") == []
    assert other.summary()["total_checks"] == 0
    assert other.deregister("n1") is False
    assert one.get_node("n1") is not None


def test_monitors_of_a_namespace_share_everything(make: Any) -> None:
    one, other = make("HealthMonitor"), make("HealthMonitor", 5.0)
    register_past(make, node(), 10.0)
    assert one.check_node("n1").healthy is True
    assert other.check_node("n1").healthy is False
    assert [found.healthy for found in one.get_history("n1")] == [True, False]
    assert other.summary() == {"monitored_nodes": 1, "total_checks": 2, "timeout_seconds": 5.0}
