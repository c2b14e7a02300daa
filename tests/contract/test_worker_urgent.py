"""Urgent scopes go before a backlog of others, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge_redis import CloudWorker, EdgeRedis, EdgeSynchronizer, RedisCloudStore
from edge_redis.cloudstores import Feed
from support.servers import Backend
from support.sync import EDGE, fake

BACKLOG = 700


class Sounding:
    """A store that has a function called in its second call, and notes how many scopes wait when the alarm goes up."""

    def __init__(self, store: RedisCloudStore, sound: Callable[[], object], count: Callable[[], int]) -> None:
        self.store, self.sound, self.count = store, sound, count
        self.get, self.changes_since = store.get, store.changes_since
        self.calls = 0
        self.left: list[int] = []

    def apply(self, scope: str, *arguments: Any) -> Any:
        return self.apply_many({scope: arguments})[scope]

    def apply_many(self, batches: Any) -> Any:
        self.calls += 1
        if self.calls == 2:
            self.sound()
        if "alarm/1" in batches:
            self.left.append(self.count())
        return self.store.apply_many(batches)


def drain(worker: Any) -> None:
    while worker.run_once():
        pass


def test_an_urgent_change_overtakes_a_backlog_on_its_way_up(valkey: Backend) -> None:
    with valkey.client() as client, EdgeRedis(client) as edge, EdgeSynchronizer(client, scope="alarm/1") as alarm:
        edge.update_many({f"meter/{number}": {"text": "x" * 1000} for number in range(BACKLOG)})
        store = Sounding(
            RedisCloudStore(client), lambda: alarm.update_local({"on": True}), lambda: client.zcard(f"{EDGE}:work")
        )
        with CloudWorker(client, store, urgent=("alarm/*",)) as worker:
            drain(worker)
        assert alarm.is_synced
        (left,) = store.left
        assert left > BACKLOG // 2, f"{left} of {BACKLOG}"
        assert client.zcard(f"{EDGE}:work") == 0


def test_an_urgent_state_overtakes_a_backlog_on_its_way_down(valkey: Backend) -> None:
    with valkey.client() as client, EdgeSynchronizer(client, scope="alarm/1") as alarm:
        cloud = RedisCloudStore(client)
        for number in range(BACKLOG):
            cloud.update(f"meter/{number}", {"n": number})
        cloud.update("alarm/1", {"on": True})
        with CloudWorker(client, cloud, urgent=("alarm/*",), batch_size=100) as worker:
            worker.run_once()
            assert alarm.get_local_state() is not None
            first = client.hlen(f"{EDGE}:scopes")
            assert first < BACKLOG // 2
            cloud.update("alarm/1", {"on": False})
            worker.run_once()
            state = alarm.get_local_state()
            assert state is not None
            assert state.data == {"on": False}
            assert client.hlen(f"{EDGE}:scopes") < BACKLOG
            drain(worker)
        assert client.hlen(f"{EDGE}:scopes") == BACKLOG + 1


@fake
def test_what_waited_before_a_worker_began_is_sorted(make: Any, client: Any, cloud: Any) -> None:
    for scope in ("meter", "alarm/1", "alarm/2"):
        make("EdgeSynchronizer", scope=scope).update_local({"n": 1})
    worker = make("CloudWorker", make.cloud(), push=("meter",), urgent=("alarm/*",))
    worker.run_once()
    assert client.zcard(f"{EDGE}:work") == 0  # no worker pushes the alarms yet
    other = make("CloudWorker", make.cloud(), push=("alarm/*",), urgent=("alarm/2",), batch_size=1)
    make("EdgeSynchronizer", scope="alarm/1").update_local({"n": 2})
    drain(other)
    assert cloud.get("alarm/2").data == {"n": 1}
    assert cloud.get("alarm/1").data == {"n": 2}


@fake
def test_an_urgent_scope_that_fails_holds_up_no_other_and_keeps_its_place(make: Any, client: Any) -> None:
    class Refusing:
        def __init__(self) -> None:
            self.got: list[str] = []

        def get(self, scope: Any) -> None:
            return None

        def apply(self, scope: Any, changes: Any, strategy: Any) -> None:
            self.got.append(scope)
            if scope == "alarm":
                raise RuntimeError("no room")

        def changes_since(self, cursor: Any, limit: Any) -> Any:
            return Feed(cursor, [])

    store = Refusing()
    worker = make("CloudWorker", store, urgent=("alarm",), max_deliveries=100)
    worker.run_once()
    for scope in ("meter", "alarm"):
        edge = make("EdgeSynchronizer", scope=scope)
        edge.update_local({"n": 1})
        edge.update_local({"n": 2})
    worker.run_once()
    assert client.zrange(f"{EDGE}:work", 0, -1, withscores=True)[0][1] < 0
    assert {"alarm", "meter"} <= set(store.got)
    assert make("EdgeSynchronizer", scope="meter").is_synced
    lag = worker.lag()
    assert 0 <= lag["oldest_seconds"] < 60
    assert lag["scopes_waiting"] == 1
