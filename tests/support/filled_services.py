"""Services filled with data, and all their public calls: what tests of damaged data and replies go through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from edge_redis import (
    CacheEntry,
    ConflictStrategy,
    EdgeNode,
    EdgeNodeStatus,
    InvocationRecord,
    ResourceUsage,
    SyncState,
)

if TYPE_CHECKING:
    from conftest import Maker

BERLIN: Final = datetime(2026, 3, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))

Call = Callable[[], object]


@dataclass
class FilledServices:
    """The services of one component, filled with data: their public calls, and a check that they work."""

    calls: dict[str, Call] = field(default_factory=dict)
    check: Call = lambda: None


def fill_cache(make: Maker) -> FilledServices:
    cache = make("EdgeCache", max_size=6, max_bytes=4000, eviction="adaptive", flush_every=1)
    cache.put("when", {"at": BERLIN}, tags=("red", "blue"))
    cache.put_many({f"k{at}": at for at in range(7)}, tags=("many",))
    cache.put("when", {"at": BERLIN}, tags=("red", "blue"))
    cache.put("number", 5)
    cache.get_many(["when", "number", "k6"])
    cache.get("missing")
    cache.get_or_compute("computed", lambda: [1, 2], stale_ttl=100.0)
    cache.flush()

    def check() -> None:
        cache.put("check", {"a": 1})
        assert cache.get("check") == {"a": 1}
        assert cache.delete("check")

    return FilledServices(
        {
            "get": lambda: [cache.get(key) for key in ("when", "number", "computed", "k6")],
            "get_many": lambda: cache.get_many(["when", "number", "k5"]),
            "put": lambda: cache.put("new", 1, tags=("red",)),
            "overwrite": lambda: cache.put("when", 2, tags=("blue",)),
            "put_many": lambda: cache.put_many({"when": 1, "b": 2}),
            "add": lambda: cache.add("added", 1),
            "incr": lambda: cache.incr("number"),
            "compare_and_set": lambda: cache.compare_and_set("number", 5, 6),
            "compare_and_delete": lambda: cache.compare_and_delete("k6", 6),
            "ttl": lambda: cache.ttl("when"),
            "contains": lambda: "when" in cache,
            "touch": lambda: cache.touch("when"),
            "entry": lambda: isinstance(cache.entry("when"), CacheEntry),
            "get_or_compute": lambda: cache.get_or_compute("computed", lambda: 3),
            "get_or_compute anew": lambda: cache.get_or_compute("other", lambda: 3),
            "stats": cache.stats,
            "size": lambda: cache.size,
            "hit_rate": lambda: cache.hit_rate,
            "purge_expired": cache.purge_expired,
            "delete": lambda: cache.delete("k5"),
            "delete_many": lambda: cache.delete_many(["k4", "k3"]),
            "pop": lambda: cache.pop("when"),
            "invalidate_tag": lambda: cache.invalidate_tag("red"),
            "invalidate_prefix": lambda: cache.invalidate_prefix("k"),
            "flush": cache.flush,
            "clear": cache.clear,
        },
        check,
    )


def fill_health(make: Maker) -> FilledServices:
    health = make("HealthMonitor", 60.0)
    watch = make("HealthWatch", 60.0)
    relay = make("TransitionRelay", lambda _: None)
    node = EdgeNode("n1", "first", metadata={"at": BERLIN}, resources=ResourceUsage(5.0, 1.0, 2.0))
    health.register(node)
    health.register(EdgeNode("n2", "second"), heartbeat_timeout_seconds=5.0)
    for status in (EdgeNodeStatus.OFFLINE, EdgeNodeStatus.ONLINE, EdgeNodeStatus.OFFLINE, EdgeNodeStatus.ONLINE):
        health.heartbeat("n1", status)
        health.check_node("n1")
        watch.run_once()
    health.heartbeat("n2")
    health.set_maintenance("n2", 60.0, "why")
    relay.run_once()

    def check() -> None:
        health.register(EdgeNode("check", "check"))
        assert health.check_node("check").healthy
        assert health.deregister("check")

    return FilledServices(
        {
            "get_node": lambda: [health.get_node("n1"), health.get_node("n2")],
            "nodes": health.nodes,
            "snapshot": health.snapshot,
            "check_node": lambda: [health.check_node("n1"), health.check_node("n2")],
            "check_node of an object": lambda: health.check_node(node),
            "check_cluster": health.check_cluster,
            "heartbeat": lambda: health.heartbeat("n1"),
            "heartbeat of an object": lambda: health.heartbeat(node),
            "heartbeat with resources": lambda: health.heartbeat("n2", resources=ResourceUsage(1.0)),
            "heartbeat_many": lambda: health.heartbeat_many(["n1", "n2"]),
            "register": lambda: health.register(node),
            "get_history": lambda: health.get_history("n1"),
            "detect_flapping": lambda: health.detect_flapping("n1"),
            "recommendation": lambda: health.get_recovery_recommendation("n1"),
            "availability": lambda: health.availability("n1", 60.0),
            "heartbeat_age": lambda: health.heartbeat_age("n2"),
            "transitions": health.transitions,
            "transitions of a node": lambda: health.transitions(10, "n1"),
            "summary": health.summary,
            "stale": health.stale,
            "watch": watch.run_once,
            "relay": relay.run_once,
            "relay stats": relay.stats,
            "set_maintenance": lambda: health.set_maintenance("n1", 5.0),
            "end_maintenance": lambda: health.end_maintenance("n2"),
            "remove_stale": lambda: health.remove_stale(1000.0),
            "deregister": lambda: [health.deregister("n1"), health.deregister("n2")],
        },
        check,
    )


def fill_metrics(make: Maker) -> FilledServices:
    metrics = make("EdgeMetrics", flush_every=4, flush_interval=3600.0, max_series=3)
    others = make("EdgeMetrics", flush_every=2, flush_interval=3600.0, max_series=3)
    for at in range(12):
        metrics.record(InvocationRecord(f"f{at % 5}", "n", 1.5 + at, at % 3 > 0, error="" if at % 3 else "E: x"))
    metrics.flush()
    metrics.forget("f1", "n")
    for at in range(4):
        others.record(InvocationRecord("f0", "n", 1.0 + at, success=True))
    latest = InvocationRecord("f0", "n", 2.0, success=True)

    def check() -> None:
        metrics.reset()
        metrics.record(latest)
        assert metrics.total_invocations() == 1
        assert metrics.recent() == [latest]

    return FilledServices(
        {
            "total": metrics.total_invocations,
            "success_rate": lambda: metrics.success_rate("f0"),
            "avg_latency_ms": metrics.avg_latency_ms,
            "error_count": lambda: metrics.error_count("n"),
            "percentile": lambda: metrics.percentile(99.0),
            "summary": lambda: metrics.summary("f0", "n"),
            "fraction_below": lambda: metrics.fraction_below(5.0),
            "timeline": metrics.timeline,
            "minute_totals": lambda: metrics.minute_totals(["f0", "f1"]),
            "slo_report": lambda: metrics.slo_report(99.0),
            "top": metrics.top,
            "top pairs": lambda: metrics.top("p99", group_by="pair"),
            "snapshot": metrics.snapshot,
            "recent": metrics.recent,
            "errors": metrics.errors,
            "series": metrics.series,
            "stats": metrics.stats,
            "record": lambda: metrics.record_many([latest] * 4),
            "flush": metrics.flush,
            "forget": lambda: metrics.forget("f0"),
            "reset": metrics.reset,
        },
        check,
    )


def fill_sync(make: Maker) -> FilledServices:
    edge = make("EdgeSynchronizer", ConflictStrategy.MERGE, scope="s", max_pending=3)
    other = make("EdgeSynchronizer", scope="t")
    store = make.store()
    worker = make("CloudWorker", make.cloud(), claim_idle_seconds=0.001)
    for at in range(3):
        edge.update_local({"a": at, "when": BERLIN}, is_delta=at > 0)
        other.update_local({"b": at})
    worker.run_once()
    store.update("s", {"a": 9, "c": 1})
    worker.run_once()
    edge.apply_remote(SyncState.from_data({"a": 5}, 50))
    other.apply_remote(SyncState.from_data({"b": 5}, 50))
    for at in range(5):
        edge.update_local({"d": at}, is_delta=True)
    other.update_local({"e": 1})
    state = SyncState.from_data({"a": 7}, 70)

    def check() -> None:
        made = make("EdgeSynchronizer", scope="check")
        assert made.update_local({"a": 1}).data == {"a": 1}
        assert made.get_local_state().data == {"a": 1}

    return FilledServices(
        {
            "local_version": lambda: edge.local_version,
            "remote_version": lambda: edge.remote_version,
            "pending_count": lambda: edge.pending_count,
            "is_synced": lambda: edge.is_synced,
            "get_local_state": edge.get_local_state,
            "get_pending_changes": lambda: [edge.get_pending_changes(), other.get_pending_changes()],
            "sync_history": edge.sync_history,
            "conflicts": lambda: [edge.conflicts(), other.conflicts()],
            "summary": edge.summary,
            "update_local": lambda: edge.update_local({"f": 1}),
            "update_local with a delta": lambda: edge.update_local({"g": 1}, is_delta=True),
            "update_local elsewhere": lambda: other.update_local({"g": 1}),
            "apply_remote": lambda: edge.apply_remote(state),
            "apply_remote elsewhere": lambda: other.apply_remote(state),
            "delete_fields": lambda: edge.delete_fields("a"),
            "resolve": lambda: [other.resolve(each["id"]) for each in other.conflicts()],
            "confirm_sync": lambda: other.confirm_sync(1),
            "change_strategy": lambda: other.change_strategy(ConflictStrategy.REMOTE_WINS),
            "lag": worker.lag,
            "status": worker.status,
            "run_once": worker.run_once,
            "run_once again": worker.run_once,
            "dead_letters": worker.dead_letters,
            "replay_dead_letters": worker.replay_dead_letters,
            "purge_tombstones": worker.purge_tombstones,
            "store.get": lambda: [store.get("s"), store.get("t")],
            "store.update": lambda: store.update("s", {"h": 1}, is_delta=True),
            "store.changes_since": store.changes_since,
            "store.sync_history": lambda: store.sync_history("s"),
            "store.conflicts": lambda: store.conflicts("s"),
            "store.delete": lambda: store.delete("t"),
            "store.purge_tombstones": store.purge_tombstones,
            "delete": edge.delete,
            "new_identity": worker.new_identity,
        },
        check,
    )


FILLERS: Final = {"cache": fill_cache, "health": fill_health, "metrics": fill_metrics, "sync": fill_sync}
