"""Metrics, the nodes and the cloud of synchronization on a real cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Maker
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from edge_redis import EdgeNode, StoreError
from edge_redis._core.shard_record import choose_shard
from edge_redis._core.shards import name_shards
from edge_redis._core.slots import hash_slot
from edge_redis._site.resharding import change_shards, list_shards
from support.cluster import Cluster
from support.metrics import made, use_separate_buffer

# The library's asyncio client drops nodes with their connections open when it looks for its masters anew.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed (ClusterNode|Connection|transport):ResourceWarning"),
    pytest.mark.usefixtures("swept"),
]


@pytest.fixture(params=["blocking", "awaited"])
def make(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Maker]:
    maker = Maker(cluster, request.param)  # type: ignore[arg-type]
    yield maker
    maker.close()


def impatient_client(make: Maker) -> Any:
    """Return a client that does not try for long."""
    retry = AsyncRetry(NoBackoff(), 3) if make.api == "awaited" else Retry(NoBackoff(), 3)
    return make.client(retry=retry)


def new_metrics(make: Maker) -> Any:
    """Return metrics as in a process of its own."""
    return use_separate_buffer(make("EdgeMetrics", client=impatient_client(make), flush_interval=3600))


def test_masters_have_even_shares_and_answers_are_whole(make: Maker, cluster: Cluster) -> None:
    writer, reader = new_metrics(make), new_metrics(make)
    writer.record_many(made(f"f{at % 40}", f"n{at % 60}", float(at % 50), ok=at % 5 > 0) for at in range(2400))
    writer.flush()
    assert reader.total_invocations() == 2400
    assert reader.error_count() == 480
    assert reader.total_invocations("f7") == 60
    assert len(reader.series()) == 120
    assert len(reader.recent(5000)) == 2400
    assert sum(row["total"] for row in reader.timeline(minutes=2)) == 2400
    series = [sum(b":s:p:" in key for key in keys) for keys in cluster.keys_by_master()]
    assert sum(series) == 120
    assert min(series) > 20
    assert reader.forget("f7") == 3
    reader.reset()
    assert writer.total_invocations() == 0


def test_nothing_is_lost_or_counted_twice_while_a_slot_moves(make: Maker, cluster: Cluster) -> None:
    metrics, recorded = new_metrics(make), 0
    slot = hash_slot(f"default:metrics{name_shards('default', 'metrics', 12)[5]}")
    metrics.record_many(made(f"f{at}") for at in range(32))
    metrics.flush()
    recorded += 32
    failures = 0
    for step, _ in enumerate(cluster.moving_slot(slot)):
        if step % 40 == 0:
            metrics.record_many(made(f"f{at}") for at in range(32))
            recorded += 32
            try:
                metrics.flush()
            except StoreError:
                failures += 1
    assert failures
    with contextlib.closing(new_metrics(make)) as reader:
        metrics.flush()
        assert reader.total_invocations() == recorded
        assert all(series.count == recorded // 32 for series in reader.snapshot().values())
    cluster.flush()
    cluster.return_slot(slot)


def test_a_cloud_is_spread_and_keeps_every_update_while_a_slot_moves(make: Maker, cluster: Cluster) -> None:
    store = make("RedisCloudStore", client=impatient_client(make), shards=12)
    versions = {f"scope/{number}": 1 for number in range(60)}
    for scope in versions:
        store.update(scope, {"n": 1})
    docs = [sum(b":doc:" in key for key in keys) for keys in cluster.keys_by_master()]
    assert sum(docs) == 60
    assert min(docs) > 8
    page = store.changes_since("", 100)
    assert {scope: change.version for scope, change in page.changes} == versions
    moving = choose_shard("scope/7", 12)
    slot = hash_slot(f"default:cloud{name_shards('default', 'cloud', 12)[moving]}")
    for step, _ in enumerate(cluster.moving_slot(slot)):
        if step == 4:
            with pytest.raises(StoreError):
                store.update("scope/7", {"n": 2})
            other = next(scope for scope in versions if choose_shard(scope, 12) != moving)
            store.update(other, {"n": 2})
            versions[other] += 1
    store.update("scope/7", {"n": 3})
    versions["scope/7"] += 1
    changed = {scope: change.version for scope, change in store.changes_since(page.cursor, 100).changes}
    assert changed == {scope: version for scope, version in versions.items() if version > 1}
    assert {scope: change.version for scope, change in store.changes_since("", 100).changes} == versions
    cluster.flush()
    cluster.return_slot(slot)


def test_nodes_are_spread_and_judged_by_one_watch_while_a_slot_moves(make: Maker, cluster: Cluster) -> None:
    monitor, watch = (make(name, client=impatient_client(make)) for name in ("HealthMonitor", "HealthWatch"))
    names = [f"shop-{number}" for number in range(60)]
    monitor.heartbeat_many([EdgeNode(name, name) for name in names])
    records = [sum(b":node:" in key for key in keys) for keys in cluster.keys_by_master()]
    assert sum(records) == 60
    assert min(records) > 8
    assert watch.run_once().checked == 60
    moving = choose_shard(names[0], 12)
    slot = hash_slot(f"default:health{name_shards('default', 'health', 12)[moving]}")
    other = next(name for name in names if choose_shard(name, 12) != moving)
    for step, _ in enumerate(cluster.moving_slot(slot)):
        if step == 4:
            with pytest.raises(StoreError):
                monitor.heartbeat(names[0])
            assert monitor.heartbeat(other) is True
            with pytest.raises(StoreError):
                watch.run_once()
    assert monitor.heartbeat_many(names) == dict.fromkeys(names, True)
    done = watch.run_once()
    assert (done.leader, done.term, done.checked, done.unhealthy) == (True, 1, 60, 0)
    report = monitor.check_cluster()
    assert [check["node_id"] for check in report["checks"]] == sorted(names)
    assert monitor.transitions() == []
    cluster.flush()
    cluster.return_slot(slot)


def test_the_number_of_shards_changes_while_nodes_and_pairs_are_used(make: Maker, cluster: Cluster) -> None:
    monitor, metrics = make("HealthMonitor", client=impatient_client(make)), new_metrics(make)
    watch = make("HealthWatch", client=impatient_client(make))
    names = [f"shop-{number}" for number in range(40)]
    monitor.heartbeat_many([EdgeNode(name, name) for name in names])
    assert watch.run_once().term == 1
    metrics.record_many(made("f", name) for name in names)
    metrics.flush()
    with cluster.client() as client:
        for component in ("health", "metrics"):
            change_shards(client, "default", component, 6, lambda _: None)
        assert [(each.component, sum(each.units), len(each.units)) for each in list_shards(client, "default")] == [
            ("health", 40, 6),
            ("metrics", 40, 6),
        ]
    metrics.record_many(made("f", name) for name in names)
    assert metrics.total_invocations() == 80
    assert monitor.heartbeat_many(names) == dict.fromkeys(names, True)
    assert [node.id for node in monitor.nodes()] == sorted(names)
    done = watch.run_once()
    assert (done.leader, done.term, done.checked, done.unhealthy) == (True, 1, 40, 0)
