"""Planning the processes of a job, and telling each its plan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edge_redis import InvalidArgumentError, InvalidTypeError
from edge_redis._site.process_plan import ProcessPlan, Role, read_plan
from edge_redis._site.recording import Outline
from edge_redis._site.replay import Pace
from edge_redis._site.settings import Settings
from edge_redis._site.site_plan import plan_site

URL = "redis://:secret@127.0.0.1:1/0"


def test_a_live_site_has_edges_a_worker_and_a_monitor() -> None:
    settings = Settings(nodes=2, interval=0.25, check_interval=2.0, heartbeat_timeout=3.0, namespace="ns")
    site = plan_site(settings, None, url=URL, cloud_url=URL, run_id="r", now=100.0)
    assert site.node_ids == ["edge-1", "edge-2"]
    assert {(plan.role, plan.interval_seconds) for plan in site.edges} == {(Role.EDGE, 0.25)}
    assert [(plan.role, plan.name, plan.interval_seconds) for plan in site.others] == [
        (Role.CLOUD, "cloud-worker", 0.25),
        (Role.MONITOR, "monitor", 2.0),
    ]
    assert {(plan.url, plan.namespace, plan.run_id, plan.timeout_seconds) for plan in [*site.edges, *site.others]} == {
        (URL, "ns", "r", 3.0)
    }


def test_a_replay_has_a_process_a_node_with_a_common_start_and_a_cache_that_holds_all() -> None:
    recorded = Outline({"b": 30, "a": 12}, first_us=5, last_us=9)
    settings = Settings(replay=Path("/data/feed.csv"), speed=120.0, nodes=7)
    site = plan_site(settings, recorded, url=URL, cloud_url=URL, run_id="r", now=100.0)
    assert site.node_ids == ["a", "b"]
    assert {(plan.role, plan.pace, plan.end_us, plan.recording, plan.cache_size) for plan in site.edges} == {
        (Role.REPLAY, Pace(101.0, 5, 120.0), 9, "/data/feed.csv", 42 * 3 * 2)
    }
    assert [plan.role for plan in site.others] == [Role.CLOUD]


@pytest.mark.parametrize("recorded", [None, Outline({"a": 1}, 1, 2)])
def test_a_plan_comes_through_a_pipe_as_it_was(recorded: Any) -> None:
    settings = Settings(replay=Path("feed.csv") if recorded else None)
    plan = plan_site(settings, recorded, url=URL, cloud_url=URL, run_id="r", now=1.5).edges[0]
    reads, writes = os.pipe()
    os.write(writes, plan.to_line() + b"x")
    assert read_plan(reads) == plan
    assert os.read(reads, 10) == b"x"  # not a byte more was taken
    os.close(writes)
    assert read_plan(reads) is None
    os.close(reads)
    assert isinstance(plan, ProcessPlan)


def test_every_run_has_a_namespace_of_its_own() -> None:
    assert Settings().namespace != Settings().namespace
    assert Settings().namespace.startswith("up-")


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": 0},
        {"nodes": 201},
        {"speed": 0},
        {"speed": float("nan")},
        {"interval": -1},
        {"check_interval": 0},
        {"heartbeat_timeout": float("inf")},
        {"duration": 0},
        {"namespace": ""},
        {"url": URL, "data_dir": Path("/x")},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        Settings(**wrong)


def test_settings_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(InvalidTypeError):
        Settings(nodes=True)
