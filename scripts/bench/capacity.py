#!/usr/bin/env python3
"""Measure what each operation costs a server, compute what sites and fleets of any size need, and check it on clusters.

    scripts/bench/run capacity [--calls 1000] [--rounds 3] [--masters 0 1 2 3] [--nodes 10 10000 1000000] [--json FILE]

Costs are measured on two servers, an edge's and a cloud's: CPU of the server's main thread for one operation, without
what it takes while nobody uses it; bytes read and written on the wire; and bytes kept; the medians of some rounds. From
them the model computes CPU, memory, network and connections of an edge and of the cloud, for the load that options
describe. The check makes a mixture of operations on a single server (0 masters) and on a cluster of each number of
masters, and compares their CPU with the sum of the costs.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import redis

from edge_redis import (
    CloudWorker,
    EdgeCache,
    EdgeMetrics,
    EdgeNode,
    EdgeSynchronizer,
    HealthMonitor,
    HealthWatch,
    InvocationRecord,
    RedisCloudStore,
    ResourceUsage,
    embedded,
)
from edge_redis._core.shards import CLUSTER_SHARDS
from shards import running

NAMESPACE: Final = "capacity"
VALUE: Final = {"reading": list(range(40)), "unit": "celsius", "site": "a name of thirty characters...", "ok": True}
STATE: Final = {f"field-{number}": "0123456789abcdef" for number in range(10)}
BATCH: Final = 100
FLUSH: Final = "flush of a record"
RECORD: Final = "further record of a flush"
FLUSHED_SHARDS: Final = CLUSTER_SHARDS * (1 - (1 - 1 / CLUSTER_SHARDS) ** 20)
"""The shards of a cluster to which the twenty series of a batch belong, on average."""
NODES: Final = 200
SCOPES: Final = 100
BASE_SECONDS: Final = 3.0
TIMEOUT_SECONDS: Final = 60.0

IDLE_CPU_US_A_MINUTE: Final = 320.0
IDLE_COMMANDS_A_MINUTE: Final = 9.2
CONNECTIONS_AN_EDGE: Final = 2
CONNECTION_BYTES_AN_EDGE: Final = 5800.0
"""What an edge costs its cloud while nothing changes: scripts/bench/run fleet --edges 1000."""


class Usage(NamedTuple):
    """What a server has done and holds."""

    cpu_us: float
    received: int
    sent: int
    memory: int

    @classmethod
    def read(cls, client: Any) -> Usage:
        """Return what a server says of itself."""
        info = client.info()
        cpu = info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"]
        return cls(cpu * 1e6, info["total_net_input_bytes"], info["total_net_output_bytes"], info["used_memory"])


@dataclass(frozen=True)
class Cost:
    """What one operation costs a server."""

    cpu_us: float
    received: float
    sent: float
    kept: float = 0.0
    """Bytes of memory for each thing that was made, where things were made."""


class Server:
    """A server, and what it takes while nobody uses it."""

    def __init__(self, server: embedded.EmbeddedServer, stack: ExitStack) -> None:
        self.client: Any = stack.enter_context(server.client())
        before, began = Usage.read(self.client), time.monotonic()
        time.sleep(BASE_SECONDS)
        self._base = (Usage.read(self.client).cpu_us - before.cpu_us) / (time.monotonic() - began)

    def begin(self) -> Callable[..., Cost]:
        """Begin to measure; call what this returns with the number of operations, and of things made."""
        before, began = Usage.read(self.client), time.monotonic()

        def end(operations: int, made: int = 0) -> Cost:
            after = Usage.read(self.client)
            cpu = after.cpu_us - before.cpu_us - self._base * (time.monotonic() - began)
            kept = (after.memory - before.memory) / made if made else 0.0
            received, sent = after.received - before.received, after.sent - before.sent
            return Cost(cpu / operations, received / operations, sent / operations, kept)

        return end


def measure_cache(server: Server, calls: int) -> Iterator[tuple[str, Cost]]:
    """Measure puts of new keys, and reads."""
    with EdgeCache(server.client, namespace=NAMESPACE, max_size=2 * calls) as cache:
        cache.put("first", VALUE)
        end = server.begin()
        for number in range(calls):
            cache.put(f"key:{number:06}", VALUE)
        yield "cache put", end(calls, calls)
        end = server.begin()
        for number in range(calls):
            cache.get(f"key:{number:06}")
        cache.flush()
        yield "cache get", end(calls)


def measure_health(server: Server, calls: int) -> Iterator[tuple[str, Cost]]:
    """Measure heartbeats with resources, and the checks of a watch; nodes are kept with a full history."""
    monitor = HealthMonitor(server.client, TIMEOUT_SECONDS, namespace=NAMESPACE)
    before = Usage.read(server.client).memory
    nodes = [f"node-{number:04}" for number in range(NODES)]
    for name in nodes:
        monitor.register(EdgeNode(name, name))
    end = server.begin()
    for number in range(calls):
        monitor.heartbeat(nodes[number % NODES], resources=ResourceUsage(float(number % 100), 100.0, 512.0))
    yield "heartbeat", end(calls)
    with HealthWatch(server.client, TIMEOUT_SECONDS, namespace=NAMESPACE) as watch:
        watch.run_once()
        end, rounds = server.begin(), 105
        for _ in range(rounds):
            watch.run_once()
        cost = end(rounds * NODES)
    kept = (Usage.read(server.client).memory - before) / NODES
    yield "check of a node", Cost(cost.cpu_us, cost.received, cost.sent, kept)


def measure_metrics(server: Server, calls: int) -> Iterator[tuple[str, Cost]]:
    """Measure flushes of one record, and what each further one adds; what is kept is by (function, node) pair."""
    with EdgeMetrics(server.client, namespace=NAMESPACE, flush_every=1_000_000, flush_interval=3600) as metrics:
        before, end = Usage.read(server.client).memory, server.begin()
        for number in range(calls):
            record_batch(metrics, number, 1)
        single = end(calls)
        flushes, end = max(50, calls // 10), server.begin()
        for number in range(flushes):
            record_batch(metrics, number, BATCH)
        whole = end(flushes)
        metrics.total_invocations()
        kept = (Usage.read(server.client).memory - before) / len(metrics.series())
        yield FLUSH, Cost(single.cpu_us, single.received, single.sent, kept)
        more = ((getattr(whole, name) - getattr(single, name)) / (BATCH - 1) for name in ("cpu_us", "received", "sent"))
        yield RECORD, Cost(*more)


def record_batch(metrics: EdgeMetrics, number: int, records: int) -> None:
    """Deliver some records of one of twenty nodes, of twenty functions in turn."""
    node = f"node-{number % 20:04}"
    first = number // 20
    metrics.record_many(
        InvocationRecord(f"function-{(first + at) % 20}", node, 1.0 + (37 * (first + at)) % 200, success=True)
        for at in range(records)
    )
    metrics.flush()


def measure_sync(edge: Server, cloud: Server, calls: int) -> Iterator[tuple[str, Cost]]:
    """Measure an update of one field at the edge, and what carrying it costs both ends; then the way down."""
    scopes = [f"edge-1/scope-{number:03}" for number in range(SCOPES)]
    syncs = [EdgeSynchronizer(edge.client, scope=scope, namespace=NAMESPACE) for scope in scopes]
    store = RedisCloudStore(cloud.client, namespace=NAMESPACE)
    with CloudWorker(edge.client, store, namespace=NAMESPACE) as worker:
        at_edge, at_cloud = edge.begin(), cloud.begin()
        for sync in syncs:
            sync.update_local(STATE)
        carry(worker)
        yield "scope at the edge", at_edge(SCOPES, SCOPES)
        yield "scope in the cloud", at_cloud(SCOPES, SCOPES)
        end = edge.begin()
        for number in range(calls):
            syncs[number % SCOPES].update_local({"field-1": f"{number:016}"}, is_delta=True)
        yield "update at the edge", end(calls)
        at_edge, at_cloud = edge.begin(), cloud.begin()
        carry(worker)
        yield "push, at the edge", at_edge(calls)
        yield "push, in the cloud", at_cloud(calls)
        end = cloud.begin()
        for number in range(SCOPES):
            store.update(scopes[number], {"field-2": f"{number:016}"}, is_delta=True)
        yield "update in the cloud", end(SCOPES)
        at_edge, at_cloud = edge.begin(), cloud.begin()
        carry(worker)
        yield "pull, at the edge", at_edge(SCOPES)
        yield "pull, in the cloud", at_cloud(SCOPES)


def carry(worker: CloudWorker) -> None:
    """Carry all that there is, both ways."""
    while worker.run_once():
        pass
    worker.run_once()


@contextmanager
def servers() -> Iterator[tuple[Server, Server]]:
    """Start a server of an edge and one of a cloud."""
    with ExitStack() as stack:
        edge, cloud = (Server(stack.enter_context(embedded.start()), stack) for _ in range(2))
        yield edge, cloud


def measure(calls: int, rounds: int) -> dict[str, Cost]:
    """Return the cost of each operation: the median of some rounds, each on new servers."""
    found = [measure_once(calls) for _ in range(rounds)]
    return {
        name: Cost(*(statistics.median(getattr(costs[name], field.name) for costs in found) for field in fields(Cost)))
        for name in found[0]
    }


def measure_once(calls: int) -> dict[str, Cost]:
    """Return the cost of each operation in one round."""
    with servers() as (edge, cloud):
        return {
            **dict(measure_cache(edge, calls)),
            **dict(measure_health(edge, calls)),
            **dict(measure_metrics(edge, calls)),
            **dict(measure_sync(edge, cloud, calls)),
        }


@dataclass(frozen=True)
class Load:
    """What the nodes of a site do; rates are of one node."""

    heartbeats_a_minute: float = 3.0
    checks_a_minute: float = 12.0
    calls_a_second: float = 1.0
    """Invocations of functions; each is recorded, and reads the cache once."""
    near_hits: float = 0.5
    """Share of reads that a near cache answers."""
    misses: float = 0.2
    """Share of the other reads that put what they computed."""
    entries: float = 100.0
    """Cached values a node."""
    functions: float = 20.0
    """Functions that run on a node, each a series of it."""
    scopes: float = 1.0
    changes_up_a_minute: float = 1.0
    changes_down_a_minute: float = 0.1


class Need(NamedTuple):
    """What is needed of servers."""

    cpu: float
    """Cores."""
    slot: float
    """Cores for the hash slot that has most of it: one master serves a slot."""
    operations: float
    """A second."""
    memory: float
    network: float
    """Bytes a second, both ways."""
    connections: float


def operations_at_edge(load: Load) -> dict[str, dict[str, float]]:
    """Return by component how often a node makes each operation in a second."""
    shared = load.calls_a_second * (1 - load.near_hits)
    up, down = load.changes_up_a_minute / 60, load.changes_down_a_minute / 60
    flushes = min(load.calls_a_second, 1.0)
    return {
        "health": {"heartbeat": load.heartbeats_a_minute / 60, "check of a node": load.checks_a_minute / 60},
        "cache": {"cache get": shared, "cache put": shared * load.misses},
        "metrics": {FLUSH: flushes, RECORD: load.calls_a_second - flushes},
        "sync": {"update at the edge": up, "push, at the edge": up, "pull, at the edge": down},
    }


def cores_for(costs: dict[str, Cost], rates: dict[str, float]) -> float:
    """Return the CPU that operations take at these rates a second."""
    return sum(rate * costs[name].cpu_us for name, rate in rates.items()) / 1e6


def bytes_for(costs: dict[str, Cost], rates: dict[str, float]) -> float:
    """Return the bytes a second on the wire."""
    return sum(rate * (costs[name].received + costs[name].sent) for name, rate in rates.items())


def edge_need(costs: dict[str, Cost], load: Load, nodes: int) -> Need:
    """Return what the server of a site needs; a node is a process with two connections."""
    components = operations_at_edge(load)
    rates = {name: rate for some in components.values() for name, rate in some.items()}
    memory = (
        costs["check of a node"].kept
        + load.entries * costs["cache put"].kept
        + load.functions * costs[FLUSH].kept
        + load.scopes * costs["scope at the edge"].kept
    )
    slot = max(cores_for(costs, some) for some in components.values()) / CLUSTER_SHARDS
    return Need(
        cpu=nodes * cores_for(costs, rates),
        slot=nodes * slot,
        operations=nodes * sum(rates.values()),
        memory=nodes * memory,
        network=nodes * bytes_for(costs, rates),
        connections=2 * nodes + 3,
    )


def cloud_need(costs: dict[str, Cost], load: Load, nodes: int, edges: int) -> Need:
    """Return what the cloud of all sites needs."""
    up, down = load.changes_up_a_minute / 60, load.changes_down_a_minute / 60
    rates = {"push, in the cloud": up, "update in the cloud": down, "pull, in the cloud": down}
    cpu = nodes * cores_for(costs, rates) + edges * IDLE_CPU_US_A_MINUTE / 60e6
    return Need(
        cpu=cpu,
        slot=cpu / CLUSTER_SHARDS,
        operations=nodes * sum(rates.values()) + edges * IDLE_COMMANDS_A_MINUTE / 60,
        memory=nodes * load.scopes * costs["scope in the cloud"].kept + edges * CONNECTION_BYTES_AN_EDGE,
        network=nodes * bytes_for(costs, rates),
        connections=edges * CONNECTIONS_AN_EDGE,
    )


BUDGET: Final = {"cpu": 0.5, "memory": 16e9, "network": 50e6, "connections": 10_000}
"""What one master may carry: half of its core, 16 GB, 400 Mbit/s, and the default of maxclients."""


def masters_for(wanted: Need) -> tuple[str, str]:
    """Return how many masters are needed, and of what there is too little first."""
    shares = {name: getattr(wanted, name) / most for name, most in BUDGET.items()}
    scarce = max(shares, key=lambda name: shares[name])
    if wanted.slot > BUDGET["cpu"]:
        return "none: more sites", "one slot's CPU"
    return f"{max(1, math.ceil(shares[scarce])):,}", scarce


def print_needs(costs: dict[str, Cost], load: Load, sizes: list[int], site: int) -> None:
    """Print the table of the model."""
    print("\n| nodes | sites | server | cores | of one slot | operations/s | memory | network | connections", end="")
    print(" | masters | scarce |\n|---|---|---|---|---|---|---|---|---|---|---|")
    for nodes in sizes:
        for sites in dict.fromkeys((1, math.ceil(nodes / site))):
            own = math.ceil(nodes / sites)
            rows = {"an edge": edge_need(costs, load, own), "the cloud": cloud_need(costs, load, nodes, sites)}
            for name, wanted in rows.items():
                masters, scarce = masters_for(wanted)
                print(
                    f"| {nodes:,} | {sites:,} | {name} | {wanted.cpu:.2g} | {wanted.slot:.2g} "
                    f"| {wanted.operations:,.0f} | {wanted.memory / 1e6:,.0f} MB | {wanted.network / 1e3:,.0f} kB/s "
                    f"| {wanted.connections:,.0f} | {masters} | {scarce} |"
                )


def check(costs: dict[str, Cost], masters: int, calls: int) -> str:
    """Make a mixture of operations; return the line that compares its CPU with the model's."""
    with ExitStack() as stack:
        client: Any
        if masters:
            nodes = stack.enter_context(running(masters))
            client = stack.enter_context(redis.RedisCluster(host=nodes[0].host, port=nodes[0].port))
        else:
            nodes = [stack.enter_context(embedded.start())]
            client = stack.enter_context(nodes[0].client())
        ends = [Server(node, stack).begin() for node in nodes]
        counts = mix(client, calls, FLUSHED_SHARDS if masters else 1.0)
        used = [end(1).cpu_us for end in ends]
    predicted = sum(number * costs[name].cpu_us for name, number in counts.items())
    total = round(sum(counts.values()))
    return (
        f"| {masters or 'no cluster'} | {predicted / total:.0f} us | {sum(used) / total:.0f} us "
        f"| {sum(used) / predicted:.2f} | {total / sum(used) * 1e6:,.0f} | {max(used) * len(used) / sum(used):.2f} |"
    )


def mix(client: Any, calls: int, flushed_shards: float) -> dict[str, float]:
    """Make operations of a site and of a cloud; return how many of each: a flush for each shard that it writes to."""
    puts, flushes, updates = calls // 4, calls // 20, calls // 10
    with (
        EdgeCache(client, namespace=NAMESPACE, max_size=4 * calls) as cache,
        EdgeMetrics(client, namespace=NAMESPACE, flush_every=1_000_000, flush_interval=3600) as metrics,
        RedisCloudStore(client, namespace=NAMESPACE) as store,
    ):
        for number in range(puts):
            cache.put(f"key:{number:06}", VALUE)
        for number in range(calls):
            cache.get(f"key:{number % puts:06}")
        for number in range(flushes):
            record_batch(metrics, number, BATCH)
        for number in range(updates):
            store.update(f"edge-1/scope-{number % SCOPES:03}", {**STATE, "field-1": f"{number:016}"})
    return {
        "cache put": puts,
        "cache get": calls,
        FLUSH: flushes * flushed_shards,
        RECORD: flushes * (BATCH - flushed_shards),
        "update in the cloud": updates,
    }


def main() -> None:
    """Measure, print the model, and check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1000, help="of each operation in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--masters", type=int, nargs="*", default=[0, 1, 2, 3])
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 10_000, 1_000_000])
    parser.add_argument("--site-nodes", type=int, default=100, help="nodes of a site, where there are several sites")
    parser.add_argument("--costs", type=Path, help="take the costs that --json wrote, and measure none")
    parser.add_argument("--json", type=Path)
    for field in fields(Load):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    options = parser.parse_args()
    if options.costs:
        costs = {name: Cost(**cost) for name, cost in json.loads(options.costs.read_text()).items()}
    else:
        costs = measure(options.calls, options.rounds)
    print("| operation | CPU | received | sent | kept |\n|---|---|---|---|---|")
    for name, cost in costs.items():
        print(f"| {name} | {cost.cpu_us:.0f} us | {cost.received:.0f} | {cost.sent:.0f} | {cost.kept or 0:,.0f} |")
    load = Load(**{field.name: getattr(options, field.name) for field in fields(Load)})
    print_needs(costs, load, options.nodes, options.site_nodes)
    if options.json:
        options.json.write_text(json.dumps({name: asdict(cost) for name, cost in costs.items()}, indent=2))
    print("\n| masters | model | measured | ratio | operations a CPU second | busiest to mean |")
    print("|---|---|---|---|---|---|")
    for masters in options.masters:
        print(check(costs, masters, options.calls), flush=True)


if __name__ == "__main__":
    main()
