"""Every public operation of the services, in one table: what it is called on, and what shows its effect."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import edge_redis
import edge_redis.aio
from edge_redis import ConflictStrategy, EdgeNode, InvocationRecord
from support.clouds import change
from support.portal import Portal
from support.sync import remote

LONG: Final = 3600.0
"""Seconds between two rounds of background work, of which the tests make none."""


@dataclass
class Scene:
    """One service in a namespace of its own, whose values all carry its mark."""

    service_name: str
    namespace: str
    mark: str
    api: str
    client: Any
    direct: Any
    """A client of the API on the server itself, which faults of a link do not concern."""
    healthy: Any
    """A blocking client of the server itself."""
    portal: Portal | None
    found: Any = None
    """What the preparation has found that the operation needs."""
    service: Any = None
    stack: ExitStack = field(default_factory=ExitStack)

    def make(self, name: str, *args: Any, client: Any = None, **kwargs: Any) -> Any:
        """Return a service on the scene's client, or on another one."""
        client = self.client if client is None else client
        if self.portal:
            return self.portal.make(getattr(edge_redis.aio, name), client, *args, **kwargs)
        return getattr(edge_redis, name)(client, *args, **kwargs)

    def healthy_service(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Return a blocking service on the server itself, closed with the scene."""
        made = getattr(edge_redis, name)(self.healthy, *args, namespace=self.namespace, **kwargs)
        return self.stack.enter_context(made)

    def finish(self, result: Any) -> Any:
        """Return a result, awaited where it has to be."""
        return self.portal.run(result) if self.portal and inspect.isawaitable(result) else result

    def record(self) -> InvocationRecord:
        return InvocationRecord(self.mark, "n", 2.0, success=False, error=self.mark)


@dataclass(frozen=True)
class Service:
    """How a service is made and prepared, what shows the effects on it, and its operations."""

    make: Callable[[Scene], Any]
    prepare: Callable[[Scene], Any]
    observe: Callable[[Scene], Any]
    """Returns what the operations change."""
    use: Callable[[Any, Scene], Any]
    """Reads with the service itself; returns something that carries the scene's mark, or None."""
    operations: dict[str, Callable[[Any, Scene], Any]]
    excluded: dict[str, str] = field(default_factory=dict)
    """Public names that are no operations, each with the reason."""
    is_fail_open: bool = False
    has_steps: bool = False
    """Whether operations are made of several steps, each of which may have been the last."""
    is_eventual: bool = False
    """Whether the effects come in the end, whatever the operation has raised."""
    buffered: Collection[str] = ()
    """Operations that keep what they could not write, and write it later."""
    varying: Collection[str] = ()
    """Operations whose result, if its reply was lost, is documented to be another."""
    of: str = ""
    """The class, where the service's name is another."""


_LOOPS: Final = {
    "run": "calls run_once again and again",
    "start": "calls run_once in the background",
    "stop": "calls no server",
    "latest": "calls no server",
}
_ALL: Final = {"namespace": "calls no server", "close": "sends what flush sends"}


def _prepare_cache(scene: Scene) -> None:
    cache = scene.healthy_service("EdgeCache")
    cache.put("k", scene.mark)
    cache.put("t", scene.mark, tags=["tag"])
    cache.put("n", 1)


def _observe_cache(scene: Scene) -> Any:
    cache = scene.healthy_service("EdgeCache")
    return cache.get_many(["k", "t", "n", "new", "new2"]), cache.size, sorted(cache.keys())


def _compute_cached(cache: Any, scene: Scene) -> Any:
    def compute() -> str:
        return scene.mark

    return scene.finish(cache.cached(key=lambda: "new")(compute)())


_CACHE: Final[dict[str, Callable[[Any, Scene], Any]]] = {
    "get": lambda cache, _: cache.get("k"),
    "get_many": lambda cache, _: cache.get_many(["k", "t"]),
    "put": lambda cache, scene: cache.put("new", scene.mark),
    "put_many": lambda cache, scene: cache.put_many({"new": scene.mark, "new2": scene.mark}),
    "add": lambda cache, scene: cache.add("new", scene.mark),
    "incr": lambda cache, _: cache.incr("n"),
    "compare_and_set": lambda cache, scene: cache.compare_and_set("k", scene.mark, scene.mark + "2"),
    "compare_and_delete": lambda cache, scene: cache.compare_and_delete("k", scene.mark),
    "pop": lambda cache, _: cache.pop("k"),
    "ttl": lambda cache, _: cache.ttl("k"),
    "delete": lambda cache, _: cache.delete("k"),
    "delete_many": lambda cache, _: cache.delete_many(["k", "t"]),
    "contains": lambda cache, _: cache.contains("k"),
    "touch": lambda cache, _: cache.touch("k", 100),
    "get_or_compute": lambda cache, scene: cache.get_or_compute("new", lambda: scene.mark),
    "invalidate_tag": lambda cache, _: cache.invalidate_tag("tag"),
    "invalidate_prefix": lambda cache, _: cache.invalidate_prefix("t"),
    "entry": lambda cache, _: cache.entry("k"),
    "clear": lambda cache, _: cache.clear(),
    "purge_expired": lambda cache, _: cache.purge_expired(),
    "flush": lambda cache, _: [cache.get("k"), cache.flush()],
    "stats": lambda cache, _: cache.stats(),
    "size": lambda cache, _: cache.size,
    "hit_rate": lambda cache, _: cache.hit_rate,
    "keys": lambda cache, _: list(cache.keys()),
    "cached": _compute_cached,
}


def _use_cache(cache: Any, scene: Scene) -> Any:
    cache.put("used", scene.mark)
    found = cache.get("used")
    cache.delete("used")
    return found


def _cache(on_error: str) -> Service:
    return Service(
        lambda scene: scene.make("EdgeCache", namespace=scene.namespace, flush_interval=LONG, on_error=on_error),
        _prepare_cache,
        _observe_cache,
        _use_cache,
        _CACHE,
        _ALL,
        is_fail_open=on_error == "miss",
        of="EdgeCache",
    )


def _prepare_health(scene: Scene) -> None:
    monitor = scene.healthy_service("HealthMonitor")
    for each in ("a", "b"):
        monitor.register(EdgeNode(each, scene.mark))
    monitor.set_maintenance("b", None, scene.mark)
    monitor.check_node("a")


def _observe_health(scene: Scene) -> Any:
    monitor = scene.healthy_service("HealthMonitor")
    nodes = [(node.id, node.name, node.status) for node in monitor.nodes()]
    maintenance = [each.in_maintenance for each in monitor.snapshot()]
    states = sorted((each.node_id, each.state) for each in monitor.transitions())
    return nodes, maintenance, states, [len(monitor.get_history(each)) for each in ("a", "b")]


_HEALTH: Final[dict[str, Callable[[Any, Scene], Any]]] = {
    "register": lambda monitor, scene: monitor.register(EdgeNode("c", scene.mark)),
    "deregister": lambda monitor, _: monitor.deregister("a"),
    "heartbeat": lambda monitor, _: monitor.heartbeat("a", edge_redis.EdgeNodeStatus.DEGRADED),
    "set_maintenance": lambda monitor, scene: monitor.set_maintenance("a", 60.0, scene.mark),
    "end_maintenance": lambda monitor, _: monitor.end_maintenance("b"),
    "snapshot": lambda monitor, _: monitor.snapshot(),
    "availability": lambda monitor, _: monitor.availability("a", 60.0),
    "get_node": lambda monitor, _: monitor.get_node("a"),
    "nodes": lambda monitor, _: monitor.nodes(),
    "check_node": lambda monitor, _: monitor.check_node("a"),
    "check_cluster": lambda monitor, _: monitor.check_cluster(),
    "get_history": lambda monitor, _: monitor.get_history("a"),
    "detect_flapping": lambda monitor, _: monitor.detect_flapping("a"),
    "get_recovery_recommendation": lambda monitor, _: monitor.get_recovery_recommendation("a"),
    "heartbeat_age": lambda monitor, _: monitor.heartbeat_age("a"),
    "transitions": lambda monitor, _: monitor.transitions(),
    "summary": lambda monitor, _: monitor.summary(),
    "heartbeat_many": lambda monitor, _: monitor.heartbeat_many(["a", "b"]),
    "stale": lambda monitor, _: monitor.stale(60.0),
    "remove_stale": lambda monitor, _: monitor.remove_stale(0.000001),
    "watch": lambda monitor, _: list(monitor.watch("0", timeout=0.01)),
}


def _prepare_metrics(scene: Scene) -> None:
    metrics = scene.healthy_service("EdgeMetrics", flush_interval=LONG)
    metrics.record_many([scene.record(), scene.record()])
    metrics.flush()


def _observe_metrics(scene: Scene) -> Any:
    metrics = scene.healthy_service("EdgeMetrics", flush_interval=LONG)
    counts = [(each["function_id"], each["total"], each["error_count"]) for each in metrics.top()]
    return metrics.total_invocations(), len(metrics.recent()), len(metrics.errors()), metrics.series(), counts


def _track(metrics: Any, scene: Scene) -> None:
    if scene.portal is None:
        with metrics.track(scene.mark):
            pass
        return

    async def use() -> None:
        async with metrics._target.track(scene.mark):
            await asyncio.sleep(0)

    scene.portal.run(use())


_METRICS: Final[dict[str, Callable[[Any, Scene], Any]]] = {
    "record": lambda metrics, scene: metrics.record(scene.record()),
    "record_many": lambda metrics, scene: metrics.record_many([scene.record(), scene.record()]),
    "track": _track,
    "flush": lambda metrics, scene: [metrics.record(scene.record()), metrics.flush()],
    "total_invocations": lambda metrics, _: metrics.total_invocations(),
    "success_rate": lambda metrics, _: metrics.success_rate(),
    "avg_latency_ms": lambda metrics, _: metrics.avg_latency_ms(),
    "error_count": lambda metrics, _: metrics.error_count(),
    "percentile": lambda metrics, _: metrics.percentile(95),
    "summary": lambda metrics, _: metrics.summary(),
    "fraction_below": lambda metrics, _: metrics.fraction_below(5.0),
    "timeline": lambda metrics, _: metrics.timeline(minutes=2),
    "minute_totals": lambda metrics, scene: metrics.minute_totals([scene.mark], minutes=2),
    "slo_report": lambda metrics, _: metrics.slo_report(99.0),
    "top": lambda metrics, _: metrics.top(),
    "snapshot": lambda metrics, _: metrics.snapshot(),
    "recent": lambda metrics, _: metrics.recent(),
    "errors": lambda metrics, _: metrics.errors(),
    "series": lambda metrics, _: metrics.series(),
    "stats": lambda metrics, _: metrics.stats(),
    "forget": lambda metrics, _: metrics.forget(node_id="n"),
    "reset": lambda metrics, _: metrics.reset(),
}


def _prepare_sync(scene: Scene) -> None:
    edge = scene.healthy_service("EdgeSynchronizer", scope="s")
    edge.update_local({"a": scene.mark})
    edge.apply_remote(remote({"a": scene.mark, "c": 1}, 4, origin="cloud"))
    edge.update_local({"b": scene.mark}, is_delta=True)
    scene.found = edge.conflicts()[0]["id"]


def _observe_sync(scene: Scene) -> Any:
    edge = scene.healthy_service("EdgeSynchronizer", scope="s")
    state = edge.get_local_state()
    pending = [(each["type"], each["version"], each["data"]) for each in edge.get_pending_changes()]
    kept = (len(edge.conflicts()), len(edge.sync_history()), edge.summary()["conflict_strategy"])
    return edge.local_version, edge.remote_version, state and state.data, pending, kept


_SYNC: Final[dict[str, Callable[[Any, Scene], Any]]] = {
    "local_version": lambda edge, _: edge.local_version,
    "remote_version": lambda edge, _: edge.remote_version,
    "pending_count": lambda edge, _: edge.pending_count,
    "pending_bytes": lambda edge, _: edge.pending_bytes,
    "is_synced": lambda edge, _: edge.is_synced,
    "get_local_state": lambda edge, _: edge.get_local_state(),
    "change_strategy": lambda edge, _: edge.change_strategy(ConflictStrategy.LATEST_WINS),
    "update_local": lambda edge, scene: edge.update_local({"d": scene.mark}),
    "delete_fields": lambda edge, _: edge.delete_fields("c"),
    "delete": lambda edge, _: edge.delete(),
    "apply_remote": lambda edge, scene: edge.apply_remote(remote({"e": scene.mark}, 9, origin="cloud")),
    "changes": lambda edge, _: list(edge.changes(timeout=0.01)),
    "on_remote_change": lambda edge, _: edge.on_remote_change(lambda _: None, poll_seconds=LONG),
    "get_pending_changes": lambda edge, _: edge.get_pending_changes(),
    "confirm_sync": lambda edge, _: edge.confirm_sync(1),
    "sync_history": lambda edge, _: edge.sync_history(),
    "conflicts": lambda edge, _: edge.conflicts(),
    "resolve": lambda edge, scene: edge.resolve(scene.found),
    "summary": lambda edge, _: edge.summary(),
}


def _prepare_cloud(scene: Scene) -> None:
    store = scene.healthy_service("RedisCloudStore")
    store.keep_accepted(1000)
    store.apply("s", [change(1, {"a": scene.mark})], ConflictStrategy.LOCAL_WINS)
    store.update("deleted", {"a": scene.mark})
    store.delete("deleted")
    scene.found = [each.id for each in store.read_accepted("others", "c", claim_idle_seconds=LONG)]


def _observe_cloud(scene: Scene) -> Any:
    store = scene.healthy_service("RedisCloudStore")
    states = {name: store.get(name) for name in ("s", "t", "deleted")}
    status = store.accepted_status()
    counts = (len(store.sync_history("s")), len(store.sync_history("t")), len(store.conflicts("s")))
    return (
        {name: state and (state.version, state.data) for name, state in states.items()},
        status and (status["length"], [each["pending"] for each in status["groups"] if each["group"] == "others"]),
        counts,
        len(store.changes_since().changes),
    )


def _apply_many(store: Any, scene: Scene) -> Any:
    """Apply the changes of a scope; an error of the scope is raised."""
    found = store.apply_many({"t": ([change(1, {"b": scene.mark})], ConflictStrategy.REMOTE_WINS)})
    if isinstance(found["t"], Exception):
        raise found["t"]
    return found


_CLOUD: Final[dict[str, Callable[[Any, Scene], Any]]] = {
    "get": lambda store, _: store.get("s"),
    "update": lambda store, scene: store.update("s", {"b": scene.mark}),
    "delete_fields": lambda store, _: store.delete_fields("s", "a"),
    "delete": lambda store, _: store.delete("s"),
    "apply": lambda store, scene: store.apply("t", [change(1, {"b": scene.mark})], ConflictStrategy.REMOTE_WINS),
    "apply_many": _apply_many,
    "changes_since": lambda store, _: store.changes_since(),
    "keep_accepted": lambda store, _: store.keep_accepted(500),
    "drop_accepted": lambda store, _: store.drop_accepted(),
    "read_accepted": lambda store, _: store.read_accepted("g", "c"),
    "ack_accepted": lambda store, scene: store.ack_accepted("others", scene.found),
    "follow_accepted": lambda store, _: list(store.follow_accepted("g", "c", timeout=0.01, poll_seconds=0.01)),
    "accepted_status": lambda store, _: store.accepted_status(),
    "release_authority": lambda store, _: store.release_authority("s"),
    "purge_tombstones": lambda store, _: store.purge_tombstones(0.000001),
    "sync_history": lambda store, _: store.sync_history("s"),
    "conflicts": lambda store, _: store.conflicts("s"),
}


def _make_worker(scene: Scene) -> Any:
    return scene.make("CloudWorker", scene.client, namespace=scene.namespace)


def _worker_on_one_link(make: Callable[[Scene], Any]) -> Service:
    """Return a worker one of whose two servers cannot fail by its link."""
    chosen = {name: _WORKER[name] for name in ("run_once", "lag", "status")}
    return Service(
        make,
        _prepare_worker,
        _observe_worker,
        lambda worker, _: worker.lag() and None,
        chosen,
        _ALL | _LOOPS | {name: "as CloudWorker" for name in _WORKER if name not in chosen},
        is_eventual=True,
        of="CloudWorker",
    )


def _prepare_worker(scene: Scene) -> None:
    edge = scene.healthy_service("EdgeSynchronizer", scope="s")
    edge.update_local({"a": scene.mark})


def _observe_worker(scene: Scene) -> Any:
    """What was carried, at last: a worker carries on until nothing is left."""
    worker = scene.healthy_service("CloudWorker", scene.healthy)
    while worker.run_once():
        pass
    edge = scene.healthy_service("EdgeSynchronizer", scope="s")
    state = scene.healthy_service("RedisCloudStore").get("s")
    return state and (state.version, state.data), edge.is_synced, worker.status()["pushed_total"]


_WORKER: Final[dict[str, Callable[[Any, Scene], Any]]] = {
    "run_once": lambda worker, _: worker.run_once(),
    "lag": lambda worker, _: worker.lag(),
    "status": lambda worker, _: worker.status(),
    "totals": lambda worker, _: worker.totals(),
    "status_and_totals": lambda worker, _: worker.status_and_totals(),
    "dead_letters": lambda worker, _: worker.dead_letters(),
    "replay_dead_letters": lambda worker, _: worker.replay_dead_letters(),
    "discard_dead_letters": lambda worker, _: worker.discard_dead_letters(["1-1"]),
    "new_identity": lambda worker, _: worker.new_identity(),
    "purge_tombstones": lambda worker, _: worker.purge_tombstones(),
}


def _drop(service: Any, _scene: Scene) -> Any:
    return service.drop_namespace()


SERVICES: Final[dict[str, Service]] = {
    "EdgeCache": _cache("raise"),
    'EdgeCache(on_error="miss")': _cache("miss"),
    "HealthMonitor": Service(
        lambda scene: scene.make("HealthMonitor", namespace=scene.namespace),
        _prepare_health,
        _observe_health,
        lambda monitor, _: [monitor.heartbeat("x"), monitor.nodes()],
        _HEALTH,
        _ALL,
    ),
    "HealthWatch": Service(
        lambda scene: scene.make("HealthWatch", namespace=scene.namespace, lease_seconds=LONG),
        _prepare_health,
        lambda _: None,
        lambda watch, _: watch.run_once() and None,
        {"run_once": lambda watch, _: watch.run_once()},
        _ALL | _LOOPS,
    ),
    "TransitionRelay": Service(
        lambda scene: scene.make("TransitionRelay", lambda _: None, namespace=scene.namespace),
        _prepare_health,
        lambda _: None,
        lambda relay, _: relay.run_once() and None,
        {"run_once": lambda relay, _: relay.run_once(), "stats": lambda relay, _: relay.stats()},
        _ALL | _LOOPS,
    ),
    "EdgeMetrics": Service(
        lambda scene: scene.make("EdgeMetrics", namespace=scene.namespace, flush_interval=LONG),
        _prepare_metrics,
        _observe_metrics,
        lambda metrics, _: [metrics.flush(), metrics.recent()],
        _METRICS,
        _ALL,
        buffered=("flush",),
    ),
    "EdgeSynchronizer": Service(
        lambda scene: scene.make("EdgeSynchronizer", scope="s", namespace=scene.namespace),
        _prepare_sync,
        _observe_sync,
        lambda edge, _: [edge.get_local_state(), edge.get_pending_changes()],
        _SYNC,
        _ALL,
    ),
    "RedisCloudStore": Service(
        lambda scene: scene.make("RedisCloudStore", namespace=scene.namespace),
        _prepare_cloud,
        _observe_cloud,
        lambda store, _: store.get("s"),
        _CLOUD,
        _ALL
        | {
            "client": "calls no server",
            "scopes_at_once": "calls no server",
            "hints": "used by workers",
            "link": "calls no server",
            "take_link_counts": "calls no server",
            "count_bytes": "calls no server",
            "listen": "used by workers",
        },
        varying=("read_accepted", "follow_accepted"),
    ),
    "CloudWorker": Service(
        _make_worker,
        _prepare_worker,
        _observe_worker,
        lambda worker, _: worker.lag() and None,
        _WORKER,
        _ALL | _LOOPS,
        is_eventual=True,
    ),
    "CloudWorker(cloud by the link)": _worker_on_one_link(
        lambda scene: scene.make("CloudWorker", scene.client, client=scene.direct, namespace=scene.namespace)
    ),
    "CloudWorker(edge by the link)": _worker_on_one_link(
        lambda scene: scene.make("CloudWorker", scene.direct, namespace=scene.namespace)
    ),
    "NamespaceWorkers": Service(
        lambda scene: scene.make("NamespaceWorkers", scene.client, [scene.namespace]),
        _prepare_worker,
        _observe_worker,
        lambda workers, _: workers.lag() and None,
        {
            "run_once": lambda workers, _: workers.run_once(),
            "lag": lambda workers, _: workers.lag(),
            "status": lambda workers, _: workers.status(),
        },
        _ALL | _LOOPS | {"workers": "calls no server"},
        is_eventual=True,
    ),
    "EdgeRedis": Service(
        lambda scene: scene.make("EdgeRedis", namespace=scene.namespace),
        _prepare_sync,
        _observe_sync,
        lambda bundle, _: bundle.scopes() and None,
        {
            "update_many": lambda bundle, scene: bundle.update_many({"s": {"d": scene.mark}}),
            "scopes": lambda bundle, _: bundle.scopes(),
            "drop_namespace": _drop,
        },
        _ALL
        | {
            "from_url": "calls no server",
            "cache": "an EdgeCache",
            "health": "a HealthMonitor",
            "metrics": "an EdgeMetrics",
            "synchronizer": "an EdgeSynchronizer",
            "worker": "a CloudWorker",
            "watch": "a HealthWatch",
        },
        has_steps=True,
    ),
}
"""Every service with its operations. A test compares it to the public names."""


def every_operation() -> Iterator[tuple[str, str]]:
    """Yield the names of each service and operation."""
    for name, service in SERVICES.items():
        for operation in service.operations:
            yield name, operation
