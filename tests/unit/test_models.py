"""The models: plain data, with errors of our own and no surprise at the edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from edge_redis import (
    CacheEntry,
    EdgeNode,
    EdgeNodeStatus,
    InvalidArgumentError,
    InvalidTypeError,
    ResourceUsage,
    SyncState,
)


def naive(seconds_ago: float) -> datetime:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).replace(tzinfo=None)


def test_a_heartbeat_notes_the_time_and_the_status() -> None:
    node = EdgeNode("n", "N", last_heartbeat=datetime.now(UTC) - timedelta(seconds=90))
    assert 90 <= node.seconds_since_heartbeat < 100
    node.heartbeat("degraded")  # type: ignore[arg-type] # the name of a status is taken too
    assert node.seconds_since_heartbeat < 10
    assert node.status is EdgeNodeStatus.DEGRADED


def test_an_unknown_status_is_refused_and_nothing_noted() -> None:
    node = EdgeNode("n", "N", last_heartbeat=naive(90))
    with pytest.raises(InvalidArgumentError, match="must be one of online, offline"):
        node.heartbeat("nope")  # type: ignore[arg-type] # bad input
    assert node.status is EdgeNodeStatus.ONLINE
    assert node.seconds_since_heartbeat >= 90


def test_a_naive_time_is_utc() -> None:
    assert 90 <= EdgeNode("n", "N", last_heartbeat=naive(90)).seconds_since_heartbeat < 100
    assert CacheEntry("k", 1, naive(90), 60.0, 0).expired
    assert not CacheEntry("k", 1, naive(90), 600.0, 0).expired
    assert not CacheEntry("k", 1, naive(90), 1e300, 0).expired


def test_a_heartbeat_from_the_future_has_no_age() -> None:
    assert EdgeNode("n", "N", last_heartbeat=datetime.now(UTC) + timedelta(hours=1)).seconds_since_heartbeat == 0.0


def test_what_overload_is() -> None:
    assert ResourceUsage(memory_mb=91, memory_max_mb=100).is_overloaded
    assert ResourceUsage(cpu_percent=90.1).is_overloaded
    assert not ResourceUsage(cpu_percent=90.0, memory_mb=90, memory_max_mb=100).is_overloaded
    assert ResourceUsage(memory_mb=50).memory_percent == 0.0


def test_a_node_as_plain_data() -> None:
    facts = EdgeNode("n", "N", capabilities=["gpu"], last_heartbeat=datetime(2026, 1, 2, tzinfo=UTC)).to_dict()
    assert facts["status"] == "online"
    assert facts["last_heartbeat"] == "2026-01-02T00:00:00+00:00"
    assert facts["resources"]["cpu_percent"] == 0.0
    assert EdgeNode("n", "N", capabilities=["gpu"]).has_capability("gpu")
    assert not EdgeNode("n", "N").has_capability("gpu")


def test_a_node_is_healthy_while_it_is_online_and_its_heartbeat_is_young() -> None:
    now = datetime.now(UTC)
    assert EdgeNode("n", "N").is_healthy
    assert EdgeNode("n", "N").to_dict()["healthy"] is True
    assert not EdgeNode("n", "N", last_heartbeat=now - timedelta(seconds=61)).is_healthy
    assert not EdgeNode("n", "N", status=EdgeNodeStatus.DEGRADED).is_healthy
    assert EdgeNode("n", "N", last_heartbeat=now - timedelta(seconds=61)).to_dict()["healthy"] is False


def test_usage_is_clamped_to_what_can_be() -> None:
    usage = ResourceUsage(memory_max_mb=512.0, disk_mb=7.0)
    usage.update_usage(140.0, 600)
    assert (usage.cpu_percent, usage.memory_mb, usage.disk_mb) == (100.0, 512.0, 7.0)
    usage.update_usage(-1.0, -5.0, -2.0)
    assert (usage.cpu_percent, usage.memory_mb, usage.disk_mb) == (0.0, 0.0, 0.0)
    with pytest.raises(InvalidArgumentError):
        usage.update_usage(50.0, float("nan"), 3.0)
    assert (usage.cpu_percent, usage.disk_mb) == (0.0, 0.0), "nothing was changed"


def test_a_state_verifies_until_it_is_changed() -> None:
    state = SyncState.from_data({"a": {"y": 1, "x": 2}}, 3)
    assert state.verify()
    assert (state.version, state.origin) == (3, "")
    state.data["b"] = 1
    assert not state.verify()
    state.data["b"] = object()
    assert not state.verify()


@pytest.mark.parametrize(
    ("data", "version", "error"),
    [
        ({}, -1, InvalidArgumentError),
        ({}, "1", InvalidTypeError),
        ({}, True, InvalidTypeError),
        ({}, 1.5, InvalidTypeError),
        (None, 1, InvalidTypeError),
        ([], 1, InvalidTypeError),
        ({"a": object()}, 1, InvalidTypeError),
        ({"a": "\ud800"}, 1, InvalidArgumentError),
    ],
)
def test_what_is_no_state_is_refused(data: Any, version: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        SyncState.from_data(data, version)
