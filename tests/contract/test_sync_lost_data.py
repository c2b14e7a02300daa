"""A side that lost data, whole or in part, is recognised: nothing of either of its lives goes in silence."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy, CorruptDataError
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._sync import scripts
from edge_redis._sync.config import EndConfig
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.replica import Replica
from edge_redis.cloudstores.sql import SqlCloudStore
from support.clouds import SQL_CLOUD, back_up, one_of
from support.servers import Backend, Servers
from support.sync import EDGE, remote


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


@pytest.fixture
def sync(make: Maker) -> Any:
    return make("EdgeSynchronizer", scope="room", origin="till-7")


class Backup:
    """Every key of one end, to be put back as it was."""

    def __init__(self, client: Any, prefix: Any) -> None:
        self.client, self.prefix = client, prefix
        self.kept = {key: client.dump(key) for key in client.keys(f"{prefix}:*")}

    def restore(self) -> None:
        wipe(self.client, self.prefix)
        for key, body in self.kept.items():
            self.client.restore(key, 0, body)


def wipe(client: Any, prefix: Any) -> None:
    for key in client.keys(f"{prefix}:*"):
        client.delete(key)


def lost(*ends: Any) -> Any:
    return [conflict["data"] for end in ends for conflict in end]


def test_a_wiped_edge_that_writes_under_its_old_name_loses_nothing_unrecorded(
    sync: Any, cloud: Any, make: Maker, client: Any
) -> None:
    for number in range(7):
        sync.update_local({"before": number})
    make("CloudWorker", make.cloud()).run_once()
    wipe(client, EDGE)
    sync.update_local({"after": 1})  # version 1 once more, of the same origin
    worker = make("CloudWorker", make.cloud())
    worker.run_once()
    assert sync.get_local_state() == cloud.get("room")
    assert cloud.get("room").data == {"before": 6}
    assert {"after": 1} in lost(sync.conflicts())
    assert any(event.error == "this edge had lost it" for event in sync.sync_history())
    sync.update_local({"and": 2}, is_delta=True)  # made of what came back: no conflict with it
    while worker.run_once():
        pass
    assert cloud.get("room").data == {"before": 6, "and": 2}
    assert lost(cloud.conflicts("room")) == [{"after": 1}]
    assert len(sync.conflicts()) == 1


def test_a_wiped_edge_whose_clock_is_behind_its_former_one_loses_nothing_unrecorded(
    sync: Any, cloud: Any, make: Maker, client: Any
) -> None:
    an_hour_ahead = datetime.now(UTC) + timedelta(hours=1)
    sync.apply_remote(remote({"from": "a server whose clock is ahead"}, 1, origin="elsewhere", at=an_hour_ahead))
    for number in range(3):
        sync.update_local({"before": number})
    make("CloudWorker", make.cloud()).run_once()
    wipe(client, EDGE)
    state = sync.update_local({"after": 1})
    assert state.origin == "till-7"
    assert state.updated_at < an_hour_ahead
    worker = make("CloudWorker", make.cloud())
    while worker.run_once():
        pass
    assert sync.get_local_state() == cloud.get("room")
    assert cloud.get("room").data == {"before": 2}
    assert {"after": 1} in lost(sync.conflicts(), cloud.conflicts("room"))
    assert {each["origin"] for each in (*sync.conflicts(), *cloud.conflicts("room"))} == {"till-7"}


def test_a_state_fetched_by_hand_beside_a_worker_is_known(make: Maker, cloud: Any, client: Any) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    cloud.update("room", {"a": 1})
    first = cloud.get("room")
    cloud.update("room", {"a": 2})
    worker = make("CloudWorker", make.cloud())
    while worker.run_once():
        pass
    assert sync.apply_remote(first) is False
    assert sync.conflicts() == []
    mine = make("EdgeSynchronizer", ConflictStrategy.LOCAL_WINS, scope="hall")
    cloud.update("hall", {"a": 1})
    assert mine.apply_remote(cloud.get("hall"))
    while worker.run_once():
        pass
    assert mine.local_version == 1
    assert mine.conflicts() == cloud.conflicts("hall") == []


def test_versions_given_out_again_do_not_pass_for_those_before(real: Backend, make_on: Any) -> None:
    sync, cloud, worker, client = make_on(real)
    for number in range(5):
        sync.update_local({"n": number})
    worker.run_once()
    backup = Backup(client, EDGE)
    for number in (5, 6):
        sync.update_local({"n": number})
    worker.run_once()
    backup.restore()
    for number in (15, 16, 17):  # versions 6, 7 and 8, where the cloud has had a 6 and a 7
        sync.update_local({"n": number})
    worker.run_once()
    while worker.run_once():
        pass
    assert sync.get_local_state() == cloud.get("room")
    assert cloud.get("room").data == {"n": 17}
    assert {"n": 6} in lost(cloud.conflicts("room"), sync.conflicts())


@pytest.fixture
def make_on() -> Iterator[Any]:
    from edge_redis import CloudWorker, EdgeSynchronizer, RedisCloudStore  # noqa: PLC0415 -- blocking ones alone

    opened: list[Any] = []

    def make(backend: Backend, origin: Any = "till-7") -> Any:
        client = backend.client()
        cloud = SqlCloudStore(backend.sql) if backend.sql else RedisCloudStore(client)
        opened.extend((client, cloud))
        return EdgeSynchronizer(client, scope="room", origin=origin), cloud, CloudWorker(client, cloud), client

    yield make
    for client in opened:
        client.close()


@pytest.fixture(params=["valkey", "redis", SQL_CLOUD])
def behind(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Iterator[Any]:
    """What has a cloud that can be put back to a backup."""
    yield from one_of(request.param, servers, lambda: tmp_path)


@pytest.mark.parametrize("again", [1, 3, 9])
def test_a_cloud_put_back_to_a_backup_is_recognised_however_much_is_written_since(
    behind: Any, make_on: Any, again: Any
) -> None:
    sync, cloud, worker, _ = make_on(behind)
    sync.update_local({"n": 0})
    worker.run_once()
    restore = back_up(behind)
    for number in (1, 2, 3):
        sync.update_local({"n": number})
        worker.run_once()
    restore()
    for number in range(again):  # the feed's numbers come again, for other changes
        cloud.update("elsewhere", {"n": number})
    while worker.run_once():
        pass
    assert cloud.get("room") == sync.get_local_state()
    assert cloud.get("room").data == {"n": 3}
    assert "offered again" in sync.sync_history()[-1].error


def test_every_edge_learns_of_it(behind: Any, servers: Servers, make_on: Any) -> None:
    sync, cloud, worker, _ = make_on(behind)
    far_client = servers.backend("fakeredis").client()
    from edge_redis import CloudWorker, EdgeSynchronizer  # noqa: PLC0415 -- blocking ones alone

    far, far_worker = EdgeSynchronizer(far_client, scope="far"), CloudWorker(far_client, cloud)
    restore = back_up(behind)
    for number in (1, 2, 3):
        sync.update_local({"n": number})
        far.update_local({"n": number})
        for each in (worker, far_worker) * 2:
            each.run_once()
    restore()
    for number in range(20):
        cloud.update("elsewhere", {"n": number})
    for each in (worker, far_worker) * 4:
        each.run_once()
    assert cloud.get("room").data == cloud.get("far").data == {"n": 3}


def test_a_worker_of_the_former_life_confirms_nothing_of_the_next_one(client: Any, sync: Any) -> None:
    runner, edge = BlockingRunner(client), Replica(SyncKeys("default", "sync"), EndConfig("edge"))
    for number in range(3):
        sync.update_local({"before": number})
    taken = runner.run(scripts.lease_entries(edge, "room", "cloud", "one#000000000000", 10, 60_000, 1 << 20))
    wipe(client, EDGE)
    for number in range(3):
        sync.update_local({"after": number})
    last = taken.entries[-1]
    with pytest.raises(CorruptDataError, match="lost data"):
        runner.run(scripts.confirm(edge, "room", 3, group="cloud", entries=[last]))
    assert [change["data"] for change in sync.get_pending_changes()] == [{"after": number} for number in range(3)]
