"""CloudWorker counts what goes over its link and how long changes take, for all workers of an edge together."""

from typing import Any

import pytest
from conftest import Maker

from edge_redis import CloudWorker, EdgeSynchronizer, RedisCloudStore, StoreUnavailableError
from edge_redis._core.sketch import bucket_index
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._sync import scripts
from support.servers import Backend
from support.sync import EDGE, FailingStore

BODY = {f"field {number:03}": number / 7 for number in range(100)}


@pytest.fixture
def sync(make: Maker) -> Any:
    return make("EdgeSynchronizer", scope="room")


@pytest.fixture
def redis_cloud(backend: Backend) -> None:
    if backend.sql is not None:
        pytest.skip("an SQL store does not count")


def of_api(store: Any) -> Any:
    """Return a store as a worker of its API takes it."""
    return getattr(store, "_target", store)


def test_a_worker_that_did_nothing_has_counted_nothing(worker: Any) -> None:
    found = worker.status()
    assert set(found["link"].values()) == {0}
    assert set(found["time_to_cloud"].values()) == {0}


@pytest.mark.usefixtures("redis_cloud")
def test_states_bytes_and_round_trips_are_those_of_the_store(make: Maker, sync: Any) -> None:
    store = make.store()
    worker = make("CloudWorker", of_api(store))
    for number in range(3):
        sync.update_local(BODY | {"number": number})
        worker.run_once()
    store.update("room", BODY | {"number": -1})
    worker.run_once()
    assert worker.run_once() == 0
    found = worker.status()["link"]
    assert found == store.link
    assert (found["full_states_up"], found["splices_up"], found["splices_refused"]) == (1, 2, 0)
    assert (found["full_states_down"], found["headers_down"], found["splices_down"]) == (0, 2, 1)
    assert found["bytes_up"] > len(BODY) * 9
    assert 0 < found["bytes_down"] < 3000
    assert found["round_trips"] == 8  # each of five rounds reads the feed, and three push


@pytest.mark.usefixtures("redis_cloud")
def test_scopes_that_are_pushed_together_take_one_round_trip(make: Maker) -> None:
    store = make.store()
    worker = make("CloudWorker", of_api(store))
    worker.run_once()
    before = store.link["round_trips"]
    for number in range(20):
        make("EdgeSynchronizer", scope=f"s{number}").update_local({"n": number})
    assert worker.run_once() == 20
    assert store.link["round_trips"] - before == 2  # the changes, and the feed


@pytest.mark.usefixtures("redis_cloud")
def test_workers_of_one_edge_add_up_and_a_closed_one_stays_counted(make: Maker, sync: Any) -> None:
    stores = [make.store() for _ in range(2)]
    workers = [make("CloudWorker", of_api(store)) for store in stores]
    for worker in workers:
        sync.update_local(BODY)
        worker.run_once()
        worker.close()
    successor = make("CloudWorker", make.cloud())
    sums = {name: sum(store.link[name] for store in stores) for name in stores[0].link}
    assert successor.status()["link"] == sums


def test_the_time_of_every_change_is_counted_once(make: Maker, sync: Any, worker: Any) -> None:
    for number in range(5):
        sync.update_local({"n": number})
    make("EdgeSynchronizer", scope="hall").update_local({"n": 0})
    worker.run_once()
    status, totals = worker.status_and_totals()
    times = status["time_to_cloud"]
    assert totals == worker.totals()
    assert totals.pushed == totals.timed == times["count"] == 6
    assert 0 < times["p50_seconds"] <= times["p99_seconds"] < 60
    assert 0 < times["average_seconds"] < 60
    assert times["average_seconds"] * 6 == pytest.approx(totals.time_us / 1e6)
    assert worker.run_once() == 0
    assert (worker.totals().time_us, worker.totals().buckets) == (totals.time_us, totals.buckets)


@pytest.mark.parametrize("waited_seconds", [0.25, 10_000, -60])
def test_a_time_is_in_its_bucket_and_unknown_where_the_clock_is_ahead(client: Any, waited_seconds: float) -> None:
    outbox = f"{EDGE}:pending:room"
    with EdgeSynchronizer(client, scope="room") as sync, CloudWorker(client, FailingStore(-1)) as worker:
        sync.update_local({"n": 0})
        [(entry_id, fields)] = client.xrange(outbox)
        clock = b"%018d" % (int(fields[b"clock"]) - round(waited_seconds * 1_000_000))
        client.delete(outbox)
        client.xadd(outbox, fields | {b"clock": clock}, id=entry_id)
        assert worker.run_once() == 1
        totals = worker.totals()
    assert totals.pushed == 1
    if waited_seconds < 0:
        assert (totals.timed, totals.time_us) == (0, 0)
    else:
        assert totals.buckets == {bucket_index(totals.time_us / 1000): 1}
        assert 0 <= totals.time_us / 1_000_000 - waited_seconds < 60


@pytest.mark.usefixtures("redis_cloud")
def test_a_save_that_is_repeated_after_a_lost_reply_counts_once(client: Any) -> None:
    class LosesReplies(BlockingRunner):
        lost = 0

        def perform_operation(self, operation: Any) -> Any:
            result = super().perform_operation(operation)
            if operation.script is scripts.ADD_TOTALS and self.lost < 3:
                self.lost += 1
                raise StoreUnavailableError("the reply was lost")
            return result

    store = RedisCloudStore(client)
    with EdgeSynchronizer(client, scope="room") as sync, CloudWorker(client, store) as worker:
        sync.update_local(BODY)
        worker.run_once()
        runner = LosesReplies(client)
        for _ in range(3):
            runner.run(worker._component.tick())
            assert not worker._component.has_flushed
        runner.run(worker._component.tick())
        assert worker._component.has_flushed
        assert worker.status()["link"] == store.link


def test_damaged_counters_begin_again(client: Any) -> None:
    store = RedisCloudStore(client)
    with EdgeSynchronizer(client, scope="room") as sync, CloudWorker(client, store) as worker:
        client.hset(f"{EDGE}:totals", mapping={"pushed": "many", "bytes_up": "-", "time_us": "1.5", "time:x": 3})
        sync.update_local(BODY)
        assert worker.run_once() == 1
        totals = worker.totals()
        assert (totals.pushed, totals.timed) == (1, 1)
        assert totals.link == store.link
