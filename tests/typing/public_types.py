"""What both type checkers must see of the public API. Checked, never run."""

from __future__ import annotations

from typing import Any, assert_type

import redis
import redis.asyncio

import edge_redis.aio
from edge_redis import (
    CacheEntry,
    CloudWorker,
    EdgeCache,
    EdgeMetrics,
    EdgeNode,
    EdgeNodeStatus,
    EdgeRedis,
    EdgeSynchronizer,
    HealthCheck,
    HealthMonitor,
    HealthWatch,
    InvocationRecord,
    NearCache,
    RedisCloudStore,
    SyncEvent,
    SyncState,
    Transition,
    TransitionRelay,
    WatchRound,
    connect,
)
from edge_redis.cloudstores.sql import AsyncSqlCloudStore, SqlCloudStore
from edge_redis.types import (
    CacheStats,
    ClusterHealth,
    DeadLetter,
    MetricsRanking,
    MetricsSummary,
    PendingChange,
    RelayStats,
    SyncSummary,
    TimelineMinute,
    WorkerStatus,
)


def cache(client: redis.Redis) -> None:
    store = EdgeCache(client, 10, 60.0, namespace="n")
    assert_type(store.put("k", 1, ttl=5.0), None)
    assert_type(store.delete("k"), bool)
    assert_type(store.touch("k", 5), bool)
    assert_type(store.clear(), int)
    assert_type(store.purge_expired(), int)
    assert_type(store.entry("k"), CacheEntry | None)
    assert_type(store.size, int)
    assert_type(store.hit_rate, float)
    assert_type(store.stats(), CacheStats)
    assert_type(store.get_many(["a"]), dict[str, Any])
    assert_type(store.put_many({"a": 1}), None)
    assert_type(store.delete_many(["a"]), int)
    assert_type("k" in store, bool)
    assert_type(store.get("k"), Any)
    EdgeCache(client, near_cache=NearCache(size=10, ttl=5), shards=4, on_error="miss", max_bytes=1000)
    EdgeCache(client, near_cache={"size": 10})
    store.put(1, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def awaited_cache(client: redis.asyncio.Redis) -> None:
    async with edge_redis.aio.EdgeCache(client) as store:
        assert_type(await store.delete("k"), bool)
        assert_type(await store.size, int)
        assert_type(await store.entry("k"), CacheEntry | None)
        assert_type(await store.contains("k"), bool)


def health(client: redis.Redis, node: EdgeNode) -> None:
    monitor = HealthMonitor(client, 30.0)
    assert_type(monitor.register(node), None)
    assert_type(monitor.heartbeat("id", EdgeNodeStatus.ONLINE), bool)
    assert_type(monitor.check_node(node), HealthCheck)
    assert_type(monitor.check_cluster(), ClusterHealth)
    assert_type(monitor.get_history("id", limit=3), list[HealthCheck])
    assert_type(monitor.detect_flapping("id"), bool)
    assert_type(monitor.get_recovery_recommendation("id"), str)
    assert_type(monitor.get_node("id"), EdgeNode | None)
    assert_type(monitor.nodes(), list[EdgeNode])


def metrics(client: redis.Redis, record: InvocationRecord) -> None:
    with EdgeMetrics(client) as counted:
        assert_type(counted.record(record), None)
        assert_type(counted.total_invocations("f"), int)
        assert_type(counted.success_rate(node_id="n"), float)
        assert_type(counted.percentile(99.0), float)
        assert_type(counted.recent(), list[InvocationRecord])


def state(client: redis.Redis) -> None:
    sync = EdgeSynchronizer(client, scope="s")
    assert_type(sync.update_local({"a": 1}), SyncState)
    assert_type(sync.apply_remote(SyncState.from_data({}, 1)), bool)
    assert_type(sync.local_version, int)
    assert_type(sync.is_synced, bool)
    assert_type(sync.get_local_state(), SyncState | None)
    assert_type(sync.get_pending_changes(), list[PendingChange])
    assert_type(sync.confirm_sync(1), int)
    assert_type(sync.sync_history(), list[SyncEvent])
    worker = CloudWorker(client, RedisCloudStore(client))
    assert_type(worker.run_once(), int)
    with SqlCloudStore("sqlite://", namespace="n", max_history=10) as cloud:
        assert_type(cloud.get("s"), SyncState | None)
        assert_type(cloud.update("s", {"a": 1}, is_delta=True), SyncState)
        assert_type(cloud.delete_fields("s", "a"), SyncState)
        assert_type(cloud.delete("s"), bool)
        assert_type(cloud.conflicts("s", limit=3), list[dict[str, Any]])
        CloudWorker(client, cloud)


async def awaited_state(client: redis.asyncio.Redis) -> None:
    async with AsyncSqlCloudStore("sqlite://") as cloud:
        assert_type(await cloud.get("s"), SyncState | None)
        assert_type(await cloud.update("s", {"a": 1}), SyncState)
        edge_redis.aio.CloudWorker(client, cloud)


def bundle() -> None:
    with EdgeRedis.from_url("redis://localhost", namespace="n") as edge:
        assert_type(edge.cache, EdgeCache)
        assert_type(edge.health, HealthMonitor)
        assert_type(edge.metrics, EdgeMetrics)
        assert_type(edge.synchronizer("s", overflow="reject"), EdgeSynchronizer)
        assert_type(edge.worker(redis.Redis(), batch_size=10), CloudWorker)
        assert_type(edge.watch(interval_seconds=5.0), HealthWatch)
    EdgeRedis(redis.Redis(), cache={"eviction": "lru", "max_size": 10}, health={"detector": "phi"})
    EdgeRedis(redis.Redis(), cache={"eviction": "oldest"})  # type: ignore[arg-type]
    EdgeCache(redis.Redis(), on_error="ignore")  # type: ignore[arg-type]


async def awaited_bundle() -> None:
    async with edge_redis.aio.EdgeRedis.from_url(metrics={"flush_every": 1}) as edge:
        assert_type(edge.cache, edge_redis.aio.EdgeCache)
        assert_type(edge.worker(redis.asyncio.Redis()), edge_redis.aio.CloudWorker)
        assert_type(edge.watch(), edge_redis.aio.HealthWatch)


def results(store: EdgeMetrics, worker: CloudWorker, edge: EdgeSynchronizer) -> None:
    assert_type(store.summary(), MetricsSummary)
    assert_type(store.timeline(), list[TimelineMinute])
    assert_type(store.top("p99", group_by="pair"), list[MetricsRanking])
    assert_type(worker.status(), WorkerStatus)
    assert_type(worker.dead_letters(), list[DeadLetter])
    assert_type(edge.conflicts()[0]["winner"]["version"], int)
    assert_type(edge.summary(), SyncSummary)
    assert_type(connect(), redis.Redis | redis.RedisCluster)
    assert_type(edge_redis.aio.connect(), redis.asyncio.Redis | redis.asyncio.RedisCluster)


def watch(client: redis.Redis) -> None:
    watching = HealthWatch(client, 60.0, suspicion_seconds=5.0, confirm=lambda node_id: node_id == "a")
    assert_type(watching.run_once(), WatchRound)
    assert_type(watching.latest, WatchRound | None)
    assert_type(watching.start(), HealthWatch)
    relay = TransitionRelay(client, print, states=["unhealthy"])
    assert_type(relay.run_once(), int)
    assert_type(relay.stats(), RelayStats)


async def watch_awaited(client: redis.asyncio.Redis) -> None:
    async def confirm(_: str) -> bool:
        return True

    async def sink(_: Transition) -> None: ...

    watching = edge_redis.aio.HealthWatch(client, confirm=confirm)
    assert_type(await watching.run_once(), WatchRound)
    assert_type(watching.latest, WatchRound | None)
    relay = await edge_redis.aio.TransitionRelay(client, sink).start()
    assert_type(relay, edge_redis.aio.TransitionRelay)
    assert_type(await relay.run_once(), int)
