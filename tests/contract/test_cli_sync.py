"""edge-redis sync, on a real server, as a user runs it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_redis import CloudWorker, EdgeSynchronizer, RedisCloudStore
from edge_redis.cli.main import main
from edge_redis.cloudstores.sql import SqlCloudStore
from support.servers import Backend
from support.sync import FailingStore


@pytest.fixture
def edge(valkey: Backend, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    with valkey.client() as client:
        yield client


def run(capsys: pytest.CaptureFixture[str], valkey: Backend, *arguments: Any) -> Any:
    code = main(["sync", *arguments, "--url", valkey.url, "--namespace", "site"])
    return code, capsys.readouterr().out


def give_up(edge: Any) -> None:
    with EdgeSynchronizer(edge, scope="room", namespace="site") as sync:
        sync.update_local({"n": 1})
    with CloudWorker(edge, FailingStore(), namespace="site", max_deliveries=1) as worker:
        worker.run_once()


def test_the_status_counts_what_waits_and_what_went(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    syncs = [EdgeSynchronizer(edge, scope=f"s{number}", namespace="site") for number in range(3)]
    for sync in syncs:
        sync.update_local({"n": 1})
        sync.update_local({"n": 2})
    with CloudWorker(edge, edge, namespace="site") as worker:
        worker.run_once()
        assert worker.status()["pushed_total"] == 6
    syncs[0].update_local({"n": 3})
    syncs[1].update_local({"n": 3})
    code, out = run(capsys, valkey, "status", "--seconds", "0.01")
    assert code == 0
    assert "scopes: 3, of which 2 wait with 2 changes" in out
    assert "pushed: 6 in all, 0.0 a second now" in out
    assert "dead letters: 0" in out


def test_dead_letters_are_listed_and_replayed(edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, valkey, "dead-letters") == (0, "no dead letters\n")
    give_up(edge)
    code, out = run(capsys, valkey, "dead-letters")
    assert code == 0
    assert "'room' version 1, delivered 1 times: RuntimeError: no room" in out
    assert run(capsys, valkey, "dead-letters", "--replay") == (0, "replayed: 1\nno dead letters\n")
    assert RedisCloudStore(edge, namespace="site").get("room").data == {"n": 1}


def test_dead_letters_are_replayed_into_an_sql_database(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    give_up(edge)
    url = f"sqlite:///{tmp_path}/cloud.db"
    done = run(capsys, valkey, "dead-letters", "--replay", "--cloud-url", url)
    assert done == (0, "replayed: 1\nno dead letters\n")
    with SqlCloudStore(url, namespace="site") as cloud:
        assert cloud.get("room").data == {"n": 1}
    bad = run(capsys, valkey, "dead-letters", "--replay", "--cloud-url", "postgresql+nodriver://h/x")
    assert bad[0] == 2


def test_those_that_fail_again_are_told(edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    give_up(edge)
    edge.set("er:{site:cloud0}:doc:room", "of another type")
    code, out = run(capsys, valkey, "dead-letters", "--replay")
    assert code == 1
    assert out.startswith("replayed: 0\n")
    assert "version 1" in out


def test_deletes_of_long_ago_are_forgotten(edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    sync = EdgeSynchronizer(edge, scope="room", namespace="site")
    sync.update_local({"n": 1})
    sync.delete()
    with CloudWorker(edge, edge, namespace="site") as worker:
        worker.run_once()
    assert run(capsys, valkey, "collect") == (0, "forgotten: 0 at the edge, 0 in the cloud\n")
    assert run(capsys, valkey, "collect", "--days", "0") == (0, "forgotten: 1 at the edge, 1 in the cloud\n")


def test_deletes_are_forgotten_in_an_sql_database(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/cloud.db"
    with SqlCloudStore(url, namespace="site") as cloud:
        cloud.update("room", {"n": 1})
        cloud.delete("room")
        assert edge.ping()
        done = run(capsys, valkey, "collect", "--days", "0", "--cloud-url", url)
        assert done == (0, "forgotten: 0 at the edge, 1 in the cloud\n")
        assert cloud.changes_since().changes == []


@pytest.mark.parametrize(
    "arguments", [["collect", "--days", "-1"], ["status", "--seconds", "0"], ["dead-letters", "--limit", "0"]]
)
def test_bad_arguments_are_one_line_and_2(
    edge: Any, valkey: Backend, capsys: pytest.CaptureFixture[str], arguments: Any
) -> None:
    assert edge.ping()
    assert run(capsys, valkey, *arguments)[0] == 2
