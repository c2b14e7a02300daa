"""Conditional updates: written only where the scope is at the version that the writer knows."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy, InvalidArgumentError, InvalidTypeError, VersionMismatchError
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._sync import change, scripts
from edge_redis._sync.config import EndConfig
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.replica import Replica
from support.servers import Backend
from support.sync import dump

KEY = bytes(range(32))


class Edge:
    """An edge's scope, by the methods that a cloud's scope has too."""

    def __init__(self, sync: Any) -> None:
        self.sync = sync

    def update(self, data: dict[str, Any], **options: Any) -> Any:
        return self.sync.update_local(data, **options)

    def delete(self) -> bool:
        deleted: bool = self.sync.delete()
        return deleted


class CloudScope:
    """A scope in the cloud."""

    def __init__(self, cloud: Any) -> None:
        self.cloud = cloud

    def update(self, data: dict[str, Any], **options: Any) -> Any:
        return self.cloud.update("room", data, **options)

    def delete(self) -> bool:
        deleted: bool = self.cloud.delete("room")
        return deleted


@pytest.fixture(params=["remote_wins", "merge", "signed", "cloud"])
def writer(request: pytest.FixtureRequest, make: Maker, cloud: Any) -> Any:
    if request.param == "cloud":
        return CloudScope(cloud)
    if request.param == "signed":
        return Edge(make("EdgeSynchronizer", scope="room", origin="till", signing_key=KEY))
    return Edge(make("EdgeSynchronizer", request.param, scope="room"))


def test_an_update_over_the_known_version_alone_is_written(writer: Any, backend: Backend) -> None:
    assert writer.update({"a": 1}, if_version=0).version == 1
    assert writer.update({"b": 2}, is_delta=True, if_version=1).data == {"a": 1, "b": 2}
    before = dump(backend)
    for if_version in (0, 1, 3):
        for is_delta in (False, True):
            with pytest.raises(VersionMismatchError, match="is at version 2") as caught:
                writer.update({"a": 9}, is_delta=is_delta, if_version=if_version)
            assert caught.value.version == 2
            assert pickle.loads(pickle.dumps(caught.value)).version == 2
    assert dump(backend) == before
    assert writer.update({"c": 3}, if_version=2).data == {"c": 3}


def test_a_deleted_scope_is_at_the_version_of_its_delete_and_has_no_state(writer: Any) -> None:
    writer.update({"a": 1})
    assert writer.delete()
    with pytest.raises(VersionMismatchError):
        writer.update({"a": 2}, if_version=1)
    assert writer.update({"a": 2}, if_version=0).version == 3
    assert writer.delete()
    assert writer.update({"a": 3}, if_version=4).data == {"a": 3}


def test_merged_fields_that_another_writer_deleted_have_no_state(make: Maker) -> None:
    one, two = (make("EdgeSynchronizer", ConflictStrategy.MERGE, scope="room") for _ in range(2))
    one.update_local({"a": 1})
    two.delete()
    assert one.update_local({"b": 1}, is_delta=True, if_version=0).data == {"b": 1}
    with pytest.raises(VersionMismatchError):
        two.update_local({"c": 1}, if_version=0)


def test_a_state_of_the_cloud_counts_as_another_version(make: Maker, cloud: Any, worker: Any) -> None:
    sync = make("EdgeSynchronizer", scope="room")
    sync.update_local({"a": 1})
    worker.run_once()
    cloud.update("room", {"a": 2}, if_version=1)
    worker.run_once()
    with pytest.raises(VersionMismatchError):
        sync.update_local({"a": 3}, if_version=1)
    assert sync.update_local({"a": 3}, if_version=2).version == 3


def test_a_repeat_of_a_conditional_update_is_recognised(client: Any) -> None:
    runner = BlockingRunner(client)
    edge = Replica(SyncKeys("default", "sync"), EndConfig("edge"))
    body = change.encode_data({"a": 1})
    checksum = hashlib.sha256(body).hexdigest()
    operation = scripts.update(
        edge, "room", body, checksum, expected=scripts.ANY, is_delta=False, key=("client", 1), if_version="0"
    )
    written = runner.run(operation)
    assert runner.run(operation) == written
    assert runner.run(edge.read_pending("room"))[-1]["version"] == 1


@pytest.mark.parametrize(
    ("wrong", "error"),
    [(-1, InvalidArgumentError), (2**53, InvalidArgumentError), ("1", InvalidTypeError), (True, InvalidTypeError)],
    ids=["negative", "too-high", "text", "bool"],
)
def test_a_version_is_an_integer_that_can_be_written(make: Maker, wrong: Any, error: Any) -> None:
    sync, cloud = make("EdgeSynchronizer"), make.store()
    with pytest.raises(error, match="if_version"):
        sync.update_local({}, if_version=wrong)
    with pytest.raises(error, match="if_version"):
        cloud.update("room", {}, if_version=wrong)
