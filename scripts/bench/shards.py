"""Measure how evenly the masters of a cluster share each service, and what an operation costs by their number.

    scripts/bench/run shards [--masters 1 2 3] [--services cache metrics cloud edge] [--scale 1.0]

Starts a cluster of embedded servers for each number of masters. For each service that has shards it prints each
master's share of the commands, of the CPU time and of the memory that the service took, in percent, how far the
largest share is above the smallest, and the CPU time of all masters for one operation: a put or a get, a record, the
update of a scope or a scope that is read, a heartbeat or the check of a node; of an edge the update of a scope with its
way to the cloud.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import redis

from edge_redis import (
    CloudWorker,
    EdgeCache,
    EdgeMetrics,
    EdgeNode,
    EdgeRedis,
    HealthMonitor,
    HealthWatch,
    InvocationRecord,
    RedisCloudStore,
    embedded,
)
from edge_redis.errors import StoreError

SLOTS = 16384
CONFIG = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}


class Usage(NamedTuple):
    """What a master has done and holds."""

    commands: int
    cpu_us: float
    memory: int

    def minus(self, other: Usage) -> Usage:
        """Return what was added since."""
        return Usage(self.commands - other.commands, self.cpu_us - other.cpu_us, self.memory - other.memory)


@contextlib.contextmanager
def running(masters: int) -> Iterator[list[embedded.EmbeddedServer]]:
    """Start a cluster of this many masters, each with an even share of the slots."""
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(embedded.start(config=CONFIG, appendfsync="no", password="")) for _ in range(masters)
        ]
        for number, node in enumerate(nodes):
            with node.client() as client:
                first, end = SLOTS * number // masters, SLOTS * (number + 1) // masters
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
                for other in nodes[:number]:
                    client.execute_command("CLUSTER MEET", other.host, other.port)
        deadline = time.monotonic() + 30
        while not all(map(is_ready, nodes)):
            if time.monotonic() > deadline:
                raise SystemExit("the cluster did not come up")
            time.sleep(0.05)
        yield nodes


def is_ready(node: embedded.EmbeddedServer) -> bool:
    """Return whether a master knows of an owner for every slot."""
    with node.client() as client:
        info: Any = client.execute_command("CLUSTER INFO")
        return bool(info["cluster_state"] == "ok" and info["cluster_slots_ok"] == str(SLOTS))


def measure(node: embedded.EmbeddedServer) -> Usage:
    """Return what a master has done so far; commands are those of users."""
    with node.client() as client:
        stats: Any = client.info("commandstats")
        calls = sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha", "get", "mget"))
        cpu: Any = client.info("cpu")
        memory: Any = client.info("memory")
        seconds = cpu["used_cpu_user_main_thread"] + cpu["used_cpu_sys_main_thread"]
        return Usage(calls, seconds * 1e6, memory["used_memory"])


def use_cache(client: Any, scale: float) -> int:
    """Put sessions and read them, each call one key."""
    count = int(20_000 * scale)
    pick = random.Random(1)  # noqa: S311 -- not for security
    with EdgeCache(client, max_size=2 * count) as cache:
        keys = [f"session:{number:06d}" for number in range(count)]
        for key in keys:
            cache.put(key, {"user": key, "cart": [1, 2, 3]})
        for _ in range(count):
            cache.get(pick.choice(keys))
    return 2 * count


def use_metrics(client: Any, scale: float) -> int:
    """Record invocations of 40 functions on 60 nodes, and ask for the total now and then."""
    batches = int(60 * scale)
    pick = random.Random(1)  # noqa: S311 -- not for security
    with EdgeMetrics(client, flush_interval=3600, flush_every=1000) as metrics:
        for batch in range(batches):
            metrics.record_many(
                InvocationRecord(
                    f"function-{pick.randrange(40)}",
                    f"node-{pick.randrange(60)}",
                    pick.lognormvariate(3, 1),
                    success=True,
                )
                for _ in range(1000)
            )
            if batch % 10 == 0:
                metrics.summary()
    return batches * 1000


def use_health(client: Any, scale: float) -> int:
    """Let the nodes of a chain of shops send heartbeats, each one call, while a watch checks all of them."""
    names = [f"shop-{number:04d}-gateway" for number in range(int(2000 * scale))]
    rounds = 6
    with HealthMonitor(client) as monitor, HealthWatch(client) as watch:
        monitor.heartbeat_many([EdgeNode(name, name, location="a street") for name in names])
        for _ in range(rounds):
            for name in names:
                monitor.heartbeat(name)
            watch.run_once()
    return (2 * rounds + 1) * len(names)


def use_cloud(client: Any, scale: float) -> int:
    """Write the states of the tills of a chain of shops twice, and read them as an edge does."""
    shops = int(150 * scale)
    scopes = [f"shop/{shop:03d}/till/{till}" for shop in range(shops) for till in range(20)]
    with RedisCloudStore(client, shards=12) as store:
        for version in range(2):
            for scope in scopes:
                store.update(scope, {"prices": list(range(20)), "version": version})
        cursor, has_more, read = "", True, 0
        while has_more:
            feed = store.changes_since(cursor, 200)
            cursor, has_more, read = feed.cursor, feed.has_more, read + len(feed.changes)
    return 2 * len(scopes) + read


def use_edge(client: Any, scale: float) -> int:
    """Write the states of the tills of a chain of shops twice, and carry them to a cloud."""
    shops = int(75 * scale)
    scopes = [f"shop/{shop:03d}/till/{till}" for shop in range(shops) for till in range(20)]
    with (
        embedded.start(password="") as server,
        server.client() as cloud,
        EdgeRedis(client) as edge,
        CloudWorker(client, cloud) as worker,
    ):
        for version in range(2):
            edge.update_many({scope: {"prices": list(range(20)), "version": version} for scope in scopes})
            while worker.run_once() or worker.lag()["scopes_waiting"]:
                pass
    return 2 * len(scopes)


SERVICES: dict[str, Callable[[Any, float], int]] = {
    "cache": use_cache,
    "metrics": use_metrics,
    "health": use_health,
    "cloud": use_cloud,
    "edge": use_edge,
}


def report(service: str, operations: int, used: list[Usage]) -> None:
    """Print the lines of a service on a cluster."""
    cost = sum(each.cpu_us for each in used) / operations
    for what, values in zip(Usage._fields, zip(*used, strict=True), strict=True):
        shares = [100 * value / sum(values) for value in values]
        spread = 100 * (max(shares) / min(shares) - 1)
        print(
            f"{len(used)} masters  {service:<8} {what:<9}"
            f" {' '.join(f'{share:5.1f}%' for share in shares):<22} spread {spread:4.1f}%"
            + (f"  {cost:6.1f} us an operation" if what == "cpu_us" else "")
        )


def main() -> None:
    """Measure each service on each cluster."""
    parser = argparse.ArgumentParser(description="Measure the shards of each service on a cluster.")
    parser.add_argument("--masters", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--services", nargs="+", choices=SERVICES, default=[*SERVICES])
    parser.add_argument("--scale", type=float, default=1.0, help="of the work: 0.1 is a tenth")
    options = parser.parse_args()
    for masters in options.masters:
        for service in options.services:
            use = SERVICES[service]
            with running(masters) as nodes, redis.RedisCluster(host=nodes[0].host, port=nodes[0].port) as client:
                before = list(map(measure, nodes))
                try:
                    operations = use(client, options.scale)
                except StoreError as error:
                    raise SystemExit(f"{service}: {error}") from error
                after = list(map(measure, nodes))
                report(service, operations, [new.minus(old) for old, new in zip(before, after, strict=True)])


if __name__ == "__main__":
    main()
