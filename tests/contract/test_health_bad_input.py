"""What HealthMonitor refuses, before anything is written, and what it makes of damage in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest
import redis

from edge_redis import (
    CorruptDataError,
    EdgeNode,
    EdgeNodeStatus,
    FlapThresholds,
    HealthMonitor,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTypeError,
    ResourceUsage,
    ServiceClosedError,
    StoreUnavailableError,
    UnsupportedTypeError,
    WrongKeyTypeError,
)
from support.health import register_past
from support.servers import Backend

TAG = "er:{default:health0}"
NAIVE = datetime
NAN, INF = float("nan"), float("inf")
LONG = "ä" * 513
SURROGATE = "\ud800"


def dump(backend: Backend) -> dict[bytes, bytes]:
    with backend.client() as client:
        return {key: client.dump(key) for key in client.scan_iter()}


@pytest.fixture
def monitor(make: Any) -> Any:
    made = make("HealthMonitor")
    made.register(EdgeNode("n1", "one"))
    made.check_node("n1")
    return made


BAD_IDS = [
    ("", InvalidKeyError),
    (LONG, InvalidKeyError),
    (SURROGATE, InvalidKeyError),
    (None, InvalidTypeError),
    (7, InvalidTypeError),
    (True, InvalidTypeError),
    (b"n1", InvalidTypeError),
    (["n1"], InvalidTypeError),
]
BY_ID: dict[str, Callable[[Any, Any], Any]] = {
    "deregister": lambda monitor, name: monitor.deregister(name),
    "get_node": lambda monitor, name: monitor.get_node(name),
    "heartbeat": lambda monitor, name: monitor.heartbeat(name),
    "check_node": lambda monitor, name: monitor.check_node(name),
    "check_cluster": lambda monitor, name: monitor.check_cluster(["n1", name]),
    "get_history": lambda monitor, name: monitor.get_history(name),
    "detect_flapping": lambda monitor, name: monitor.detect_flapping(name),
    "get_recovery_recommendation": lambda monitor, name: monitor.get_recovery_recommendation(name),
}


@pytest.mark.parametrize("call", BY_ID.values(), ids=BY_ID)
def test_an_id_that_cannot_be_one_is_refused(monitor: Any, backend: Backend, call: Callable[[Any, Any], Any]) -> None:
    before = dump(backend)
    for name, error in BAD_IDS:
        with pytest.raises(error):
            call(monitor, name)
    assert dump(backend) == before


CALLS: list[tuple[str, Callable[[Any], Any], type[Exception]]] = [
    ("register an id", lambda monitor: monitor.register("n1"), InvalidTypeError),
    ("register None", lambda monitor: monitor.register(None), InvalidTypeError),
    ("register without id", lambda monitor: monitor.register(EdgeNode("", "x")), InvalidKeyError),
    (
        "register objects",
        lambda monitor: monitor.register(EdgeNode("n2", "x", metadata={"a": 1j})),
        UnsupportedTypeError,
    ),
    ("beat of a bad object", lambda monitor: monitor.heartbeat(EdgeNode(LONG, "x")), InvalidKeyError),
    ("beat with bad status", lambda monitor: monitor.heartbeat("n1", "asleep"), InvalidArgumentError),
    ("beat with status 1", lambda monitor: monitor.heartbeat("n1", 1), InvalidTypeError),
    ("object's beat, bad status", lambda monitor: monitor.heartbeat(EdgeNode("n2", "x"), "no"), InvalidArgumentError),
    ("beat with resources", lambda monitor: monitor.heartbeat("n1", None, {"cpu": 1}), InvalidTypeError),
    ("beat with NaN", lambda monitor: monitor.heartbeat("n1", None, ResourceUsage(NAN)), InvalidArgumentError),
    ("nodes of status", lambda monitor: monitor.nodes("asleep"), InvalidArgumentError),
    ("check a bad object", lambda monitor: monitor.check_node(EdgeNode("n", "x", location=LONG)), InvalidKeyError),
    ("cluster of a str", lambda monitor: monitor.check_cluster("n1"), InvalidTypeError),
    ("cluster of an int", lambda monitor: monitor.check_cluster(1), InvalidTypeError),
    ("cluster of a node", lambda monitor: monitor.check_cluster(EdgeNode("n1", "x")), InvalidTypeError),
    *(
        (f"{name} {value!r}", lambda monitor, name=name, value=value: getattr(monitor, name)("n1", value), error)
        for name in ("get_history", "detect_flapping")
        for value, error in ((0, InvalidArgumentError), (-1, InvalidArgumentError), (True, InvalidTypeError))
    ),
    ("half a check", lambda monitor: monitor.get_history("n1", 1.5), InvalidTypeError),
    ("no transitions", lambda monitor: monitor.transitions(0), InvalidArgumentError),
    ("too many transitions", lambda monitor: monitor.transitions(100_001), InvalidArgumentError),
    ("transitions of nobody", lambda monitor: monitor.transitions(1, ""), InvalidKeyError),
]


@pytest.mark.parametrize(("call", "error"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_bad_arguments_are_refused(
    monitor: Any, backend: Backend, call: Callable[[Any], Any], error: type[Exception]
) -> None:
    before = dump(backend)
    with pytest.raises(error):
        call(monitor)
    assert dump(backend) == before


@pytest.mark.parametrize("timeout", [0, -1, NAN, INF, True, "60", None])
def test_a_timeout_is_a_finite_number_above_zero(timeout: Any) -> None:
    with pytest.raises((InvalidArgumentError, InvalidTypeError)):
        HealthMonitor(fakeredis.FakeRedis(), timeout)


@pytest.mark.parametrize("name", ["max_history", "max_transitions"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "9"])
def test_a_limit_is_an_int_above_zero(name: str, value: Any) -> None:
    with pytest.raises((InvalidArgumentError, InvalidTypeError)):
        HealthMonitor(fakeredis.FakeRedis(), **{name: value})


def test_other_constructor_arguments(make: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="max_history must be from 1 to 10000"):
        make("HealthMonitor", max_history=10_001)
    for namespace, error in [("", InvalidKeyError), ("a{b", InvalidKeyError), (7, InvalidTypeError)]:
        with pytest.raises(error):
            make("HealthMonitor", namespace=namespace)
    closed = make("HealthMonitor")
    closed.close()
    with pytest.raises(ServiceClosedError):
        closed.summary()


@pytest.mark.parametrize("name", ["n 1", "n\n1", "n\x001", "-", "ä€😀", "x" * 1024, "{tag}", "a:b"])
def test_any_other_text_is_an_id(make: Any, name: str) -> None:
    monitor = make("HealthMonitor")
    monitor.register(EdgeNode(name, "", location=f"hall {name[:9]} \r\n"))
    assert monitor.check_node(name).details["location"] == f"hall {name[:9]} \r\n"
    assert monitor.check_node(EdgeNode(name, "", location="\n")).node_id == name
    assert monitor.check_cluster()["checks"][0]["node_id"] == name
    assert [node.id for node in monitor.nodes()] == [name]
    assert len(monitor.get_history(name)) == 3
    assert monitor.heartbeat(name, EdgeNodeStatus.OFFLINE) is True
    monitor.check_node(name)
    assert [change.node_id for change in monitor.transitions(node_id=name)] == [name]
    assert monitor.deregister(name) is True


@pytest.mark.parametrize("moment", [NAIVE.min, NAIVE.max, NAIVE.min.replace(tzinfo=UTC)])
def test_any_moment_is_a_heartbeat(make: Any, moment: datetime) -> None:
    monitor = make("HealthMonitor")
    node = EdgeNode("n1", "one", last_heartbeat=moment)
    assert monitor.check_node(node).healthy is (moment.year == 9999)
    monitor.register(node)
    assert monitor.check_node("n1").healthy is True, "the node's own clock does not count"
    assert monitor.check_node(node).healthy is True
    assert len(monitor.get_history("n1")) == 3
    assert monitor.nodes()[0].id == "n1"


WRITERS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "register": (("heartbeats", "node:n1"), lambda monitor: monitor.register(EdgeNode("n1", "x"))),
    "heartbeat": (("heartbeats", "node:n1"), lambda monitor: monitor.heartbeat("n1", EdgeNodeStatus.SYNCING)),
    "object's heartbeat": (("heartbeats", "node:n1"), lambda monitor: monitor.heartbeat(EdgeNode("n1", "x"))),
    "deregister": (("heartbeats",), lambda monitor: monitor.deregister("n1")),
    "check_node": (
        ("heartbeats", "node:n1", "history:n1", "transitions", "totals"),
        lambda monitor: monitor.check_node("n1"),
    ),
    "check_cluster": (("node:n1", "history:n1", "transitions", "totals"), lambda monitor: monitor.check_cluster()),
    "get_node": (("heartbeats", "node:n1"), lambda monitor: monitor.get_node("n1")),
    "nodes": (("heartbeats", "node:n1"), lambda monitor: monitor.nodes()),
    "get_history": (("history:n1",), lambda monitor: monitor.get_history("n1")),
    "transitions": (("transitions",), lambda monitor: monitor.transitions()),
    "summary": (("heartbeats", "totals"), lambda monitor: monitor.summary()),
}


@pytest.mark.parametrize(("keys", "call"), WRITERS.values(), ids=WRITERS)
def test_a_key_of_another_kind_is_an_error_with_nothing_half_written(
    make: Any, backend: Backend, keys: tuple[str, ...], call: Callable[[Any], Any]
) -> None:
    monitor = make("HealthMonitor")
    for name in ("n0", "n1", "n2"):
        register_past(make, EdgeNode(name, "x"), 100.0)
    monitor.check_cluster()
    with backend.client() as client:
        client.hset(f"{TAG}:totals", "total_checks", 3)
        monitor.heartbeat("n2")  # a transition is due
        for key in keys:
            whole = client.dump(f"{TAG}:{key}")
            client.set(f"{TAG}:{key}", "planted")
            before = dump(backend)
            with pytest.raises(WrongKeyTypeError):
                call(monitor)
            assert dump(backend) == before, key
            client.restore(f"{TAG}:{key}", 0, whole, replace=True)
    call(monitor)


def test_a_count_that_is_no_number_is_named_and_begins_anew_with_the_next_check(monitor: Any, backend: Backend) -> None:
    with backend.client() as client:
        client.hset(f"{TAG}:totals", "total_checks", "many")
    with pytest.raises(CorruptDataError, match="many"):
        monitor.summary()
    assert monitor.check_node("n1").healthy is True
    assert monitor.summary()["total_checks"] == 1


@pytest.mark.parametrize("word", ["nan", "inf", "-1", "0", "soon", ""])
def test_a_timeout_that_is_damaged_decides_nothing(make: Any, backend: Backend, word: str) -> None:
    monitor = make("HealthMonitor")
    for name, age in (("old", 100.0), ("new", 1.0)):
        register_past(make, EdgeNode(name, "x"), age)
    make("HealthWatch").run_once()
    with backend.client() as client:
        client.hset(f"{TAG}:leader", "timeout_ms", word)
        for name in ("old", "new"):
            client.hset(f"{TAG}:node:{name}", "timeout_ms", word)
    assert (monitor.check_node("old").healthy, monitor.check_node("new").healthy) == (False, True)
    assert [health.healthy for health in monitor.snapshot()] == [True, False]
    assert monitor.stale() == ["old"]


def test_broken_lines_and_entries_are_skipped(monitor: Any, backend: Backend) -> None:
    with backend.client() as client:
        client.lpush(f"{TAG}:history:n1", b"\xff\xfe", b"", "1 2 3")
        client.xadd(f"{TAG}:transitions", {"node": "n1"})
        client.xadd(f"{TAG}:transitions", {b"\xff": b"\xfe"})
    assert [found.healthy for found in monitor.get_history("n1")] == [True]
    assert monitor.detect_flapping("n1") is False
    assert monitor.get_recovery_recommendation("n1") == "Normal"
    assert monitor.transitions() == []
    assert monitor.check_node("n1").healthy is True
    assert [found.healthy for found in monitor.get_history("n1")] == [True, True]


def test_broken_facts_are_named_and_healed_by_a_heartbeat_of_the_object(monitor: Any, backend: Backend) -> None:
    with backend.client() as client:
        client.hset(f"{TAG}:node:n1", mapping={"profile": b"\xc1", "location": b"\xff"})
    with pytest.raises(CorruptDataError, match="node 'n1'"):
        monitor.get_node("n1")
    with pytest.raises(CorruptDataError, match="node 'n1'"):
        monitor.nodes()
    assert monitor.check_node("n1").healthy is True
    assert monitor.check_cluster()["total_nodes"] == 1
    monitor.heartbeat(EdgeNode("n1", "one"))
    assert monitor.get_node("n1").name == "one"


def test_a_node_whose_facts_were_evicted_is_still_judged(monitor: Any, backend: Backend) -> None:
    with backend.client() as client:
        client.delete(f"{TAG}:node:n1")
    assert monitor.check_node("n1").details["status"] == "online"
    assert monitor.check_cluster()["total_nodes"] == 1
    assert monitor.get_node("n1") is None
    assert monitor.nodes() == []
    assert monitor.heartbeat("n1") is False, "so that the node registers again"
    assert monitor.heartbeat(EdgeNode("n1", "one")) is True
    assert monitor.get_node("n1").name == "one"


@pytest.fixture(params=["fakeredis", "a dead port"])
def unreachable(request: pytest.FixtureRequest) -> Iterator[HealthMonitor]:
    if request.param == "fakeredis":
        server = fakeredis.FakeServer()
        server.connected = False
        client: redis.Redis = fakeredis.FakeRedis(server=server)
    else:
        client = redis.Redis(port=1, retry=None)  # type: ignore[arg-type] # redis-py takes None
    with client, HealthMonitor(client) as made:
        yield made


def test_a_server_that_is_away_is_an_error_of_ours(unreachable: HealthMonitor) -> None:
    node = EdgeNode("n1", "one")
    before = EdgeNode("n1", "one", last_heartbeat=node.last_heartbeat)
    calls: list[Callable[[], object]] = [
        lambda: unreachable.register(node),
        lambda: unreachable.heartbeat("n1"),
        lambda: unreachable.heartbeat(node, EdgeNodeStatus.OFFLINE),
        lambda: unreachable.check_node(node),
        unreachable.check_cluster,
        unreachable.nodes,
        lambda: unreachable.get_history("n1"),
        lambda: unreachable.get_recovery_recommendation("n1"),
        unreachable.transitions,
        unreachable.summary,
        lambda: unreachable.deregister("n1"),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailableError):
            call()
    assert node == before, "an object changes only when its heartbeat was noted"


def test_what_others_wrote_among_the_nodes_hides_nobody(make: Any, backend: Backend) -> None:
    monitor, watch = make("HealthMonitor"), make("HealthWatch")
    monitor.register(EdgeNode("good", "good"))
    with backend.client() as client:
        client.zadd(f"{TAG}:heartbeats", {b"\xff\xfe": 1, b"": 2, "x y\nz": 3})
        client.hset(f"{TAG}:leader", mapping={"term": "x", "until_ms": "y", "seen_ms": "z", "holder": "q"})
        client.hset(f"{TAG}:suspects", "good", "zz")
        client.sadd(f"{TAG}:flapping", b"\xff")
    assert [check["node_id"] for check in monitor.check_cluster()["checks"]] == ["good", "x y\nz"]
    assert [found.id for found in monitor.nodes()] == ["good"]
    assert monitor.stale() == ["x y\nz"]
    assert (watch.run_once().checked, watch.run_once().checked) == (2, 2)


def test_a_flap_detector_needs_a_history_of_its_window() -> None:
    with pytest.raises(InvalidArgumentError, match="max_history, which a flap_detector reads, must be at least 41"):
        HealthMonitor(fakeredis.FakeRedis(), max_history=40, flap_detector=FlapThresholds())
    with pytest.raises(InvalidTypeError):
        HealthMonitor(fakeredis.FakeRedis(), flap_detector=10)  # type: ignore[arg-type]


def test_the_age_of_heartbeats_at_the_checks_kept(make: Any) -> None:
    monitor = make("HealthMonitor", max_history=4)
    assert monitor.heartbeat_age("n1") == {"count": 0, "p50": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    for seconds in (900, 10, 20, 30, 40):
        beat = datetime.now(UTC) - timedelta(seconds=seconds)
        monitor.check_node(EdgeNode("n1", "one", last_heartbeat=beat))
    found = monitor.heartbeat_age("n1")
    assert found.pop("count") == 4
    assert {name: round(value / 1000) for name, value in found.items()} == {"p50": 20, "p95": 40, "p99": 40, "max": 40}
    with pytest.raises(InvalidKeyError):
        monitor.heartbeat_age("")
