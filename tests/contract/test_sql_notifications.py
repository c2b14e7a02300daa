"""A worker waits for changes of a cloud in PostgreSQL; SQLite it polls."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer
from edge_redis.cloudstores import Feed
from edge_redis.cloudstores.sql import SqlCloudStore
from support.clouds import Base, change
from support.deadline import eventually
from support.postgres import Postgres

REMOTE = ConflictStrategy.REMOTE_WINS


class Reader:
    """A worker that has read up to the beginning, of an edge whose store is ``till``."""

    def __init__(self, segments: Sequence[str] | None = None) -> None:
        self.cursor, self.store_id, self.segments = "", "till", segments
        self.wakes: queue.SimpleQueue[Callable[[str], bool] | None] = queue.SimpleQueue()

    def wake(self, is_news: Callable[[str], bool] | None = None) -> None:
        self.wakes.put(is_news)

    def deliver(self, after: str, page: Feed) -> None:
        raise AssertionError((after, page))  # notifications have no states

    def next(self) -> Callable[[str], bool] | None:
        return self.wakes.get(timeout=20)


@pytest.fixture
def base(postgres: Postgres) -> Iterator[Any]:
    made = Base(postgres.url)
    yield made
    made.close()


def test_a_reader_is_woken_of_the_changes_of_others_in_its_scopes(base: Base) -> None:
    store, reader = base.store(), Reader(["room"])
    listener = store.listen(reader)
    listener.start()
    assert reader.next() is None  # it listens, and may have missed something
    assert listener.is_listening
    store.apply("room/1", [change(1, {"n": 1}, origin="till")], REMOTE)  # its own
    store.update("hall", {"n": 2})  # of another part
    base.store(notifications=False).update("room/1", {"n": 3})
    store.update("room/2", {"n": 4})
    is_news = reader.next()
    assert is_news is not None
    assert is_news("")
    assert not is_news(store.changes_since().cursor)
    listener.close()
    assert reader.wakes.empty()


def test_a_worker_carries_a_change_of_the_cloud_without_polling(base: Base) -> None:
    client = fakeredis.FakeRedis()
    store = base.store()
    sync = EdgeSynchronizer(client, scope="room", namespace=base.namespace)
    with CloudWorker(client, store, namespace=base.namespace, poll_interval_seconds=3600) as worker:
        worker.start()
        for number in (1, 2):
            state = store.update("room", {"n": number})
            eventually(partial(lambda version: sync.local_version == version, state.version), seconds=20)


def test_sqlite_is_not_listened_to(tmp_path: Path) -> None:
    with SqlCloudStore(f"sqlite:///{tmp_path}/cloud.db") as store:
        listener = store.listen(Reader())
        listener.start()
        assert not listener.is_listening
        listener.close()
