"""Hints on channels: what the scripts publish when there is something to carry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer, RedisCloudStore
from support.clouds import change
from support.servers import Backend

EDGE = "er:{default:sync0}:wake"
CLOUD = "er:{default:cloud0}:wake"


class Heard:
    """The messages on some channels."""

    def __init__(self, client: Any, *channels: str) -> None:
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(*channels)
        self._channels = channels
        for _ in channels:
            self._pubsub.get_message(timeout=5.0)

    def take(self) -> list[tuple[str, str]]:
        """Return channels and hints, without the states that follow."""
        return [(channel, data.partition(b"\n")[0].decode()) for channel, data in self.take_whole()]

    def take_whole(self) -> list[tuple[str, bytes]]:
        found = []
        while message := self._pubsub.get_message(timeout=0.05):
            found.append((message["channel"].decode(), message["data"]))
        return found

    def close(self) -> None:
        self._pubsub.close()


@pytest.fixture
def client(backend: Backend) -> Iterator[Any]:
    with backend.client() as made:
        yield made


@pytest.fixture
def heard(client: Any) -> Iterator[Heard]:
    made = Heard(client, EDGE, CLOUD, f"{CLOUD}:shop")
    yield made
    made.close()


def test_an_edge_publishes_once_until_the_scope_is_carried(client: Any, heard: Heard) -> None:
    sync = EdgeSynchronizer(client, scope="shop/1")
    sync.update_local({"n": 1})
    sync.update_local({"n": 2})
    assert heard.take() == [(EDGE, "")]
    sync.confirm_sync(2)
    sync.update_local({"n": 3})
    assert heard.take() == [(EDGE, "")]


def test_the_cloud_names_the_position_and_the_writer(client: Any, heard: Heard) -> None:
    cloud = RedisCloudStore(client)
    cloud.update("shop/1", {"n": 1})
    cursor = cloud.changes_since("", 10).cursor
    store_id = cursor.partition(":")[0]
    assert heard.take() == [(CLOUD, f"{cursor} {store_id}"), (f"{CLOUD}:shop", f"{cursor} {store_id}")]
    cloud.update("other", {"n": 1})
    assert heard.take() == [(CLOUD, f"{store_id}:2 {store_id}")]
    sync = EdgeSynchronizer(client, scope="shop/2")
    sync.update_local({"n": 1})
    heard.take()
    with CloudWorker(client, cloud) as worker:
        worker.run_once()
    hint = f"{store_id}:3 {client.get('er:{default:sync0}:replica_id').decode()}"
    assert heard.take() == [(CLOUD, hint), (f"{CLOUD}:shop", hint)]


def test_a_merge_and_an_answer_of_the_cloud_are_for_every_edge(client: Any, heard: Heard) -> None:
    cloud = RedisCloudStore(client)
    cloud.update("shop/1", {"n": 1})
    cloud.update("shop/1", {"n": 2})
    EdgeSynchronizer(client, scope="shop/1").update_local({"n": 3})
    EdgeSynchronizer(client, ConflictStrategy.MERGE, scope="shop/2").update_local({"n": 3})
    heard.take()
    with CloudWorker(client, cloud) as worker:
        worker.run_once()
        worker.run_once()
    names = {data.partition(" ")[2] for channel, data in heard.take() if channel == CLOUD}
    assert names <= {""}


def test_what_may_free_a_refused_scope_publishes(client: Any, heard: Heard) -> None:
    cloud = RedisCloudStore(client)
    cloud.apply("shop/1", [change(1, origin="one")], ConflictStrategy.LOCAL_WINS)
    sync = EdgeSynchronizer(client, scope="shop/1")
    sync.update_local({"n": 1})
    heard.take()
    assert cloud.release_authority("shop/1")
    assert heard.take() == [(CLOUD, ""), (f"{CLOUD}:shop", "")]
    assert not cloud.release_authority("shop/1")
    assert heard.take() == []
    sync.change_strategy(ConflictStrategy.LOCAL_WINS)
    assert heard.take() == [(EDGE, "")]
    with CloudWorker(client, cloud) as worker:
        worker.new_identity()
    assert heard.take() == [(EDGE, "")]
    for expected in [(EDGE, "")], []:
        sync.update_local({"n": 2})
        assert heard.take() == expected  # of the first write under the new identity


def test_a_script_that_may_not_publish_writes_all_the_same(real: Backend) -> None:
    with real.client() as admin:
        admin.execute_command("ACL", "SETUSER", "mute", "reset", "on", ">pw", "~*", "+@all", "resetchannels")
        with real.client(username="mute", password="pw") as client:
            assert EdgeSynchronizer(client).update_local({"n": 1}).version == 1
            assert RedisCloudStore(client).update("s", {"n": 1}).version == 1
        admin.execute_command("ACL", "DELUSER", "mute")
