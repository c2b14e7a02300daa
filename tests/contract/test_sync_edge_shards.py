"""An edge whose scopes are in several shards: written, carried, counted and looked after as with one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ConflictStrategy, InvalidArgumentError, LayoutVersionError, StoreOutOfMemoryError
from edge_redis._core.operation import Operation
from edge_redis._core.shard_record import choose_shard
from edge_redis._core.shards import name_shards
from edge_redis._sync.failures import perform_on_shards
from support.servers import Backend

SCOPES = [f"scope/{number}" for number in range(12)]
LATEST = ConflictStrategy.LATEST_WINS


def shard_tag(number: int) -> str:
    return f"er:{{default:sync{name_shards('default', 'sync', 3)[number]}}}"


def scopes_of(number: int) -> list[str]:
    return [scope for scope in SCOPES if choose_shard(scope, 3) == number]


def wipe(client: Any, number: int) -> None:
    """Take from a shard all that it has, as a master that comes back without data does."""
    client.delete(*client.scan_iter(match=f"{shard_tag(number)}*"))


@pytest.fixture
def edge(make: Maker) -> Any:
    bundle = make("EdgeRedis")
    bundle.update_many({scope: {"n": 1} for scope in SCOPES}, shards=3, conflict_strategy=LATEST)
    return bundle


def new_worker(make: Maker, **options: Any) -> tuple[Any, Any]:
    """Return a worker between the edge and a cloud of another namespace, and the cloud."""
    store = make("RedisCloudStore", namespace="cloud")
    return make("CloudWorker", getattr(store, "_target", store), **options), store


def work(*workers: Any) -> None:
    for _ in range(4):
        for worker in workers:
            worker.run_once()


def all_at(data: dict[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(SCOPES, data)


def states(make: Maker) -> dict[str, Any]:
    found = {}
    for scope in SCOPES:
        state = make("EdgeSynchronizer", LATEST, scope=scope).get_local_state()
        found[scope] = state and state.data
    return found


class TestTheEdge:
    def test_keeps_each_scope_in_a_shard_and_every_process_finds_the_number(
        self, make: Maker, edge: Any, backend: Backend
    ) -> None:
        with backend.client() as client:
            assert client.get("er:{default:sync0}:layout") == b"1/3"
            for scope in SCOPES:
                assert client.exists(f"{shard_tag(choose_shard(scope, 3))}:doc:{scope}")
        assert all(scopes_of(number) for number in range(3))
        later = make("EdgeSynchronizer", LATEST, scope=SCOPES[0])
        assert later.get_local_state().data == {"n": 1}
        assert later.update_local({"m": 2}, is_delta=True).version == 2
        assert later.pending_count == 2
        assert [row["scope"] for row in edge.scopes()] == sorted(SCOPES)
        with pytest.raises(InvalidArgumentError, match=r"sync .* has shards=3, not 2"):
            make("EdgeSynchronizer", scope="x", shards=2).update_local({})
        with pytest.raises(InvalidArgumentError, match=r"sync .* has shards=3, not 1"):
            new_worker(make, shards=1)[0].run_once()

    def test_has_one_shard_unless_more_are_asked_for(self, make: Maker, backend: Backend) -> None:
        make("EdgeSynchronizer").update_local({"n": 1})
        with backend.client() as client:
            assert client.get("er:{default:sync0}:layout") == b"1"
            assert client.exists("er:{default:sync0}:doc:default")

    def test_may_have_another_number_after_its_namespace_was_dropped(self, make: Maker, edge: Any) -> None:
        edge.drop_namespace()
        assert edge.scopes() == []
        edge.update_many({scope: {"n": 2} for scope in SCOPES}, shards=2, conflict_strategy=LATEST)
        assert states(make) == all_at({"n": 2})

    def test_writes_nothing_where_another_release_has_written(self, make: Maker, backend: Backend) -> None:
        with backend.client() as client:
            client.set("er:{default:sync0}:layout", "2/3")
            with pytest.raises(LayoutVersionError):
                make("EdgeSynchronizer", shards=3).update_local({"n": 1})
            assert client.keys("er:{default:sync3*") == []


class TestAWorker:
    def test_carries_all_shards_both_ways_and_reads_a_page_once(self, make: Maker, edge: Any) -> None:
        worker, cloud = new_worker(make)
        work(worker)
        assert {scope: cloud.get(scope).data for scope in SCOPES} == all_at({"n": 1})
        assert all(row["pending"] == 0 for row in edge.scopes())
        for scope in SCOPES:
            cloud.update(scope, {"n": 2})
        before = worker.status()["link"]["round_trips"]
        worker.run_once()
        assert states(make) == all_at({"n": 2})
        assert worker.status()["link"]["round_trips"] - before == 1
        status = worker.status()
        assert (status["scopes"], status["changes_waiting"], status["pushed_total"]) == (12, 0, 12)
        assert status["time_to_cloud"]["count"] == 12

    def test_takes_changes_of_many_shards_to_the_cloud_in_one_call(self, make: Maker, edge: Any) -> None:
        worker, cloud = new_worker(make)
        worker.run_once()
        edge.update_many({scope: {"n": 2} for scope in SCOPES}, conflict_strategy=LATEST)
        assert worker.lag()["scopes_waiting"] == 12
        before = worker.status()["link"]["round_trips"]
        worker.run_once()
        assert worker.status()["link"]["round_trips"] - before == 2  # up, and the look at the feed
        assert {scope: cloud.get(scope).data for scope in SCOPES} == all_at({"n": 2})

    def test_several_workers_share_the_shards(self, make: Maker, edge: Any) -> None:
        workers = [new_worker(make)[0] for _ in range(3)]
        cloud = new_worker(make)[1]
        for round_ in range(3):
            edge.update_many({scope: {"round": round_} for scope in SCOPES[::2]}, conflict_strategy=LATEST)
            for scope in SCOPES[1::2]:
                cloud.update(scope, {"round": round_})
            work(*workers)
            assert states(make) == all_at({"round": round_})
        for scope in SCOPES:
            versions = [event.version for event in cloud.sync_history(scope) if event.success]
            assert versions == sorted(set(versions))

    def test_a_shard_that_lost_its_data_gets_it_back_and_no_other_is_read_again(
        self, make: Maker, edge: Any, backend: Backend
    ) -> None:
        worker, cloud = new_worker(make)
        work(worker)
        with backend.client() as client:
            ids = [client.get(f"{shard_tag(number)}:replica_id") for number in range(3)]
            wipe(client, 1)
            assert states(make)[scopes_of(1)[0]] is None
            cloud.update(scopes_of(0)[0], {"n": 3})
            work(worker)
            wanted = all_at({"n": 1}) | {scopes_of(0)[0]: {"n": 3}}
            assert states(make) == wanted
            cursors = {client.get(f"{shard_tag(number)}:cursor") for number in range(3)}
            assert len(cursors) == 1
            after = [client.get(f"{shard_tag(number)}:replica_id") for number in range(3)]
            assert [one == other for one, other in zip(ids, after, strict=True)] == [True, False, True]
            scope = scopes_of(1)[0]
            make("EdgeSynchronizer", LATEST, scope=scope).update_local({"n": 4})
            work(worker)
            assert cloud.get(scope).data == {"n": 4}

    @pytest.mark.parametrize("batch_size", [1, 100])
    def test_shards_at_different_positions_come_together_and_miss_nothing(
        self, make: Maker, edge: Any, backend: Backend, batch_size: int
    ) -> None:
        worker, cloud = new_worker(make, batch_size=batch_size)
        work(worker)
        with backend.client() as client:
            for number in range(3):
                cloud.update(scopes_of(number)[0], {"at": number})
                wipe(client, number)
                worker.run_once()
                for scope in SCOPES:
                    cloud.update(scope, {"n": number})
                    worker.run_once()
            work(worker)
            assert states(make) == {scope: cloud.get(scope).data for scope in SCOPES}
            assert len({client.get(f"{shard_tag(number)}:cursor") for number in range(3)}) == 1

    def test_a_cloud_that_lost_its_data_is_offered_the_scopes_of_all_shards(
        self, make: Maker, edge: Any, backend: Backend
    ) -> None:
        worker, cloud = new_worker(make)
        work(worker)
        with backend.client() as client:
            client.delete(*client.scan_iter(match="er:{cloud:*"))
        work(worker)
        assert {scope: cloud.get(scope).data for scope in SCOPES} == all_at({"n": 1})

    def test_local_wins_holds_in_each_shard(self, make: Maker, backend: Backend) -> None:
        options: Any = {"conflict_strategy": ConflictStrategy.LOCAL_WINS, "origin": "till"}
        edge = make("EdgeRedis")
        edge.update_many(all_at({"n": 1}), shards=3, **options)
        worker, cloud = new_worker(make)
        work(worker)
        for scope in SCOPES:
            cloud.update(scope, {"from": "the cloud"})
        work(worker)
        assert {scope: cloud.get(scope).data for scope in SCOPES} == all_at({"n": 1})
        with backend.client() as client:
            wipe(client, 2)
        edge.update_many({scopes_of(2)[0]: {"n": 2}}, **options)
        work(worker)
        assert cloud.get(scopes_of(2)[0]).data == {"n": 2}

    def test_dead_letters_of_all_shards_are_read_replayed_and_discarded(
        self, make: Maker, edge: Any, backend: Backend
    ) -> None:
        worker, _ = new_worker(make)
        work(worker)
        with backend.client() as client:
            for number in range(3):
                entry = {"scope": "x", "version": 1, "deliveries": 1, "error": "no", "data": b"\x80"}
                client.xadd(f"{shard_tag(number)}:dead", entry, id="5-0")
        letters = worker.dead_letters()
        assert [letter["id"] for letter in letters] == ["5-0.0", "5-0.1", "5-0.2"]
        assert worker.status()["dead_letters"] == 3
        assert worker.discard_dead_letters(["5-0.1", "5-0"]) == 1
        assert [letter["id"] for letter in worker.dead_letters(1)] == ["5-0.0"]
        assert worker.replay_dead_letters() == 0
        with pytest.raises(InvalidArgumentError):
            worker.discard_dead_letters(["5-0.x"])

    def test_looks_after_all_shards(self, make: Maker, edge: Any) -> None:
        worker, _ = new_worker(make)
        work(worker)
        ids = worker.new_identity().split(",")
        assert len({*ids}) == 3
        for scope in SCOPES[:5]:
            make("EdgeSynchronizer", LATEST, scope=scope).delete()
        work(worker)
        assert worker.purge_tombstones(0) == 5
        assert len(edge.scopes()) == 7
        assert worker.status()["clone_seen_seconds"] is None

    def test_patterns_and_urgent_scopes_hold_over_shards(self, make: Maker, edge: Any) -> None:
        worker, cloud = new_worker(make, push=["scope/1*"], pull=["scope/?"], urgent=["scope/11"])
        work(worker)
        pushed = [scope for scope in SCOPES if cloud.get(scope) is not None]
        assert pushed == ["scope/1", "scope/10", "scope/11"]
        for scope in SCOPES:
            cloud.update(scope, {"n": 2})
        work(worker)
        found = states(make)
        assert {scope for scope in SCOPES if found[scope] == {"n": 2}} >= {"scope/10", "scope/11", "scope/1"}
        assert worker.status()["scopes_not_pushed"] == 9


def test_a_state_that_came_with_a_hint_to_a_shard_without_memory_is_read_once_more(
    make: Maker, edge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, cloud = new_worker(make)
    work(worker)
    puller = getattr(worker, "_target", worker)._component.puller
    for scope in (scopes_of(0)[0], scopes_of(1)[0]):
        cloud.update(scope, {"n": 2})
    puller.deliver(puller.cursor, cloud.changes_since(puller.cursor, 10))

    async def fail(operations: Sequence[Operation[Any]]) -> list[Any]:
        monkeypatch.undo()
        return [*(await perform_on_shards(operations[:1])), StoreOutOfMemoryError("full")]

    monkeypatch.setattr("edge_redis._sync.pull.perform_on_shards", fail)
    work(worker)
    found = states(make)
    assert [found[scopes_of(number)[0]] for number in (0, 1)] == [{"n": 2}] * 2
