#!/usr/bin/env python3
"""What a fleet of edges costs its cloud: memory, connections, commands, CPU, filtering, and the end of an outage.

    scripts/bench/run fleet [--edges 1000] [--scopes 100] [--seconds 60] [--node-bytes 4096] [--sql] [--json FILE]

Each edge is a namespace of one server, with a `CloudWorker` of its own (asyncio) that pushes and pulls `edge-<n>/*`,
and a client of its own to the cloud, a second server. Worker and store have default settings. Measured are

* ``memory``: the cloud's memory with one state of every scope, in all and by kind of key, and with a full history;
* ``connected``: connections of the running workers, and what they take;
* ``idle``: commands and CPU of the cloud while nothing changes;
* ``busy``: the same with a change a minute at each edge, of a field in a state of about 300 bytes;
* ``feed``: the cloud's CPU of one read after as many changes of others as there are edges, by the patterns of the edge;
* ``outage``: ten changes at each edge while no worker runs; then these are carried, by 20 edges at a time.

With ``--sql`` the cloud is a PostgreSQL (Debian: postgresql; ``edge-redis[sql]``, psycopg and the tests of this
checkout): choose fewer edges. CPU is that of the cloud's server without what it takes where nobody uses it; commands
are those inside scripts too. At the end the figures are computed for 10,000 edges with 100 scopes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import redis

import edge_redis.aio
from edge_redis import RedisCloudStore, embedded

NAMESPACE: Final = "fleet"
TAG: Final = "er:{fleet:cloud0}"
TEXT: Final = "0123456789abcdef" * 17
OUTAGE_CHANGES: Final = 10
BASE_SECONDS: Final = 5.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class RedisCloud:
    """A cloud in Redis, and what its server says of it."""

    def __init__(self, stack: ExitStack, node_bytes: int) -> None:
        config = {"maxclients": "15000", "stream-node-max-bytes": str(node_bytes)}
        server = stack.enter_context(embedded.start(config=config))
        self.url = server.url
        self.client: Any = stack.enter_context(redis.Redis.from_url(server.url))

    def store(self) -> tuple[Any, Any]:
        """Return a store of an edge, and its client."""
        client = redis.asyncio.Redis.from_url(self.url)
        return edge_redis.aio.RedisCloudStore(client, namespace=NAMESPACE), client

    def read(self) -> dict[str, float]:
        """Return CPU seconds, commands, connections and memory."""
        info = self.client.info()
        return {
            "cpu": info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"],
            "commands": info["total_commands_processed"],
            "connections": info["connected_clients"],
            "memory": info["used_memory"],
        }


class SqlCloud:
    """A cloud in PostgreSQL."""

    def __init__(self, stack: ExitStack) -> None:
        sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
        from support.postgres import Postgres  # noqa: PLC0415 -- only this cloud needs it

        self._server = Postgres()
        stack.callback(self._server.remove)
        from sqlalchemy import create_engine, text  # noqa: PLC0415 -- an extra

        self._engine: Any = create_engine(self._server.url)
        self._text = text
        stack.callback(self._engine.dispose)
        self._lost_cpu = 0.0

    def store(self) -> tuple[Any, Any]:
        """Return a store of an edge."""
        from edge_redis.cloudstores.sql import AsyncSqlCloudStore  # noqa: PLC0415 -- an extra

        return AsyncSqlCloudStore(self._server.url, namespace=NAMESPACE), None

    def read(self) -> dict[str, float]:
        """Return the same of PostgreSQL; CPU of all its processes, transactions as commands, bytes of its tables."""
        with self._engine.connect() as connection:
            row = connection.execute(
                self._text(
                    "SELECT (SELECT sum(xact_commit) FROM pg_stat_database), (SELECT count(*) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend'), (SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
                    " WHERE relname LIKE 'edge_redis%' AND relkind = 'r')"
                )
            ).one()
        return {
            "cpu": _cpu_of_group(self._server._process.pid),  # noqa: SLF001
            "commands": float(row[0] or 0),
            "connections": float(row[1]),
            "memory": float(row[2] or 0),
        }


def _cpu_of_group(parent: int) -> float:
    """Return the CPU seconds of a process, of its children, and of those children that have ended."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        if parent == int(stat.parent.name):
            total += sum(map(int, fields[11:15])) / _TICKS
        elif int(fields[1]) == parent:
            total += sum(map(int, fields[11:13])) / _TICKS
    return total


class Edge:
    """An edge with its worker."""

    def __init__(self, number: int, scopes: int, client: Any, cloud: Any) -> None:
        name = f"edge-{number:04}"
        self.namespace = name
        self.scopes = [f"{name}/sensor-{scope}" for scope in range(scopes)]
        self._client = client
        self._cloud = cloud
        self._edge = edge_redis.aio.EdgeRedis(client, namespace=name)
        self.worker: Any = None
        self._store: Any = None

    async def write(self, scope: int, number: int, *, whole: bool = False) -> None:
        """Change a scope."""
        data: dict[str, Any] = {"n": number, "text": TEXT} if whole else {"n": number}
        await self._edge.synchronizer(self.scopes[scope % len(self.scopes)]).update_local(data, is_delta=not whole)

    async def write_all(self) -> None:
        """Write every scope once."""
        await self._edge.update_many({scope: {"n": 0, "text": TEXT} for scope in self.scopes})

    def open_worker(self) -> Any:
        """Make the worker, with a client of its own to the cloud."""
        self._store, self._cloud_client = self._cloud.store()
        patterns = (f"{self.namespace}/*",)
        self.worker = edge_redis.aio.CloudWorker(
            self._client, self._store, namespace=self.namespace, push=patterns, pull=patterns
        )
        return self.worker

    async def carry(self) -> None:
        """Carry all that there is."""
        while await self.worker.run_once():
            pass

    async def pending(self) -> int:
        """Return how many scopes wait."""
        return int((await self.worker.lag())["scopes_waiting"])

    async def close(self) -> None:
        """End the worker and its connections."""
        await self.worker.close()
        await self._store.close()
        if self._cloud_client is not None:
            await self._cloud_client.aclose()


class Fleet:
    """The measurement."""

    def __init__(self, cloud: Any, edge_client: Any, edges: int, scopes: int, seconds: float) -> None:
        self.cloud = cloud
        self.edges = [Edge(number, scopes, edge_client, cloud) for number in range(edges)]
        self.seconds = seconds
        self.base_cpu = 0.0
        self.found: dict[str, Any] = {"edges": edges, "scopes": scopes}

    async def run(self) -> dict[str, Any]:
        """Measure everything."""
        self.base_cpu = await self._measure_base()
        await self.measure_memory()
        await self.measure_connections()
        await self.measure_idle("idle", changes=False)
        await self.measure_idle("busy", changes=True)
        for edge in self.edges:
            await edge.close()
        if isinstance(self.cloud, RedisCloud):
            self.measure_feed(self.cloud)
        await self.measure_outage()
        return self.found

    async def _measure_base(self) -> float:
        """Return the CPU a second of a server that nobody uses."""
        before = self.cloud.read()["cpu"]
        await asyncio.sleep(BASE_SECONDS)
        return float(self.cloud.read()["cpu"] - before) / BASE_SECONDS

    async def measure_memory(self) -> None:
        """Bring a state of every scope to the cloud."""
        before, began = self.cloud.read(), time.monotonic()
        for some in _parts(self.edges, 20):
            await asyncio.gather(*(edge.write_all() for edge in some))
            for edge in some:
                edge.open_worker()
            await asyncio.gather(*(edge.carry() for edge in some))
            for edge in some:
                await edge.close()
        after = self.cloud.read()
        count = sum(len(edge.scopes) for edge in self.edges)
        self.found["bytes_a_scope"] = (after["memory"] - before["memory"]) / count
        self.found["cpu_us_a_first_push"] = (after["cpu"] - before["cpu"]) / count * 1e6
        self.found["seed_seconds"] = time.monotonic() - began
        if isinstance(self.cloud, RedisCloud):
            self.found["bytes_by_kind"] = _measure_kinds(self.cloud.client, len(self.edges[0].scopes))
            self.found["bytes_a_pushed_change_of_history"] = _measure_history(self.cloud.client)

    async def measure_connections(self) -> None:
        """Start all workers."""
        before = self.cloud.read()
        for some in _parts(self.edges, 20):
            for edge in some:
                edge.open_worker()
            await asyncio.gather(*(edge.worker.run_once() for edge in some))
            for edge in some:
                await edge.worker.start()
            await asyncio.sleep(0.1)
        await self._settle()
        after = self.cloud.read()
        edges = len(self.edges)
        self.found["connections_an_edge"] = (after["connections"] - before["connections"]) / edges
        self.found["connection_bytes_an_edge"] = (after["memory"] - before["memory"]) / edges

    async def measure_idle(self, name: str, *, changes: bool) -> None:
        """Let the workers run, with a change a minute at each edge or with none."""
        before, began, written = self.cloud.read(), time.monotonic(), 0
        while (elapsed := time.monotonic() - began) < self.seconds:
            due = int(elapsed / 60 * len(self.edges)) if changes else 0
            while written < due:
                await self.edges[written % len(self.edges)].write(written, written)
                written += 1
            await asyncio.sleep(0.02)
        if changes:
            await self._settle()
        after, minutes = self.cloud.read(), (time.monotonic() - began) / 60
        edges = len(self.edges)
        cpu = after["cpu"] - before["cpu"] - self.base_cpu * minutes * 60
        self.found[f"{name}_commands_a_minute"] = (after["commands"] - before["commands"]) / minutes / edges
        self.found[f"{name}_cpu_us_a_minute"] = cpu / minutes / edges * 1e6
        if changes:
            self.found["busy_cpu_us_a_change"] = cpu / max(1, written) * 1e6
            self.found["busy_changes"] = written

    def measure_feed(self, cloud: RedisCloud) -> None:
        """Read once after a change of every edge, by an edge with patterns of several kinds."""
        store = RedisCloudStore(cloud.client, namespace=NAMESPACE)
        name = self.edges[0].namespace
        top = int(cloud.client.get(f"{TAG}:feed_number"))
        replica_id = cloud.client.get(f"{TAG}:replica_id").decode()
        cursor = f"{replica_id}:{max(0, top - len(self.edges))}"
        store.changes_since(cursor)  # now the position is one that was given
        for kind, patterns in {"literal": (f"{name}/*",), "wildcard": (f"{name[:-1]}?/*",)}.items():
            before, times = cloud.read()["cpu"], 100
            for _ in range(times):
                position, has_more = cursor, True
                while has_more:
                    feed = store.changes_since(position, 100, patterns)
                    position, has_more = feed.cursor, feed.has_more
            self.found[f"feed_{kind}_us_a_read"] = (cloud.read()["cpu"] - before) / times * 1e6
        store.close()

    async def measure_outage(self) -> None:
        """Write while no worker runs, then start all at once, as after an outage of the cloud."""
        for number in range(OUTAGE_CHANGES):
            for some in _parts(self.edges, 50):
                await asyncio.gather(*(edge.write(number, 100_000 + number) for edge in some))
        before, began = self.cloud.read(), time.monotonic()
        peak = before["memory"]
        for some in _parts(self.edges, 20):  # as many at once as one process can play
            for edge in some:
                edge.open_worker()
            await asyncio.gather(*(edge.carry() for edge in some))
            peak = max(peak, self.cloud.read()["memory"])
        after = self.cloud.read()
        changes = OUTAGE_CHANGES * len(self.edges)
        self.found["outage_seconds"] = time.monotonic() - began
        self.found["outage_cpu_us_a_change"] = (after["cpu"] - before["cpu"]) / changes * 1e6
        self.found["outage_peak_bytes_an_edge"] = (peak - before["memory"]) / len(self.edges)
        for edge in self.edges:
            await edge.close()

    async def _settle(self) -> None:
        """Wait until every change is in the cloud."""
        while any([await edge.pending() for edge in self.edges]):  # noqa: ASYNC110 -- there is no event of a fleet
            await asyncio.sleep(0.2)


def _measure_kinds(client: Any, scopes: int) -> dict[str, float]:
    """Return the bytes that a scope takes in the cloud, by kind of key; of those that have many, a part of each."""
    found = {}
    for kind in ("doc", "history"):
        keys = [*_some_keys(client, f"{TAG}:{kind}:*")]
        found[kind] = sum(client.memory_usage(key, samples=0) for key in keys) / len(keys)
    whole = client.zcard(f"{TAG}:feed")
    found["feed"] = client.memory_usage(f"{TAG}:feed", samples=1000) / whole
    found["feed:<segment>"] = client.memory_usage(f"{TAG}:feed:edge-0000", samples=0) / scopes
    return found


def _some_keys(client: Any, pattern: str) -> Iterator[bytes]:
    escaped = pattern.replace("[", "\\[")
    for number, key in enumerate(client.scan_iter(escaped, count=1000)):
        if number == 200:  # noqa: PLR2004 -- enough for an average
            return
        yield key


def _measure_history(client: Any) -> float:
    """Return the bytes of one pushed change in the history of a scope."""
    key = "er:{fleet:bench}:history"
    for number in range(1000):
        client.xadd(key, {"direction": "push", "version": number, "success": 1, "error": ""})
    size = float(client.memory_usage(key, samples=0)) / 1000
    client.delete(key)
    return size


def _parts(edges: list[Edge], size: int) -> Iterator[list[Edge]]:
    for at in range(0, len(edges), size):
        yield edges[at : at + size]


def compute(found: dict[str, Any], edges: int, scopes: int) -> dict[str, str]:
    """Return what a larger fleet takes, by the figures of a smaller one."""
    states = edges * scopes
    memory = states * found["bytes_a_scope"] + edges * found["connection_bytes_an_edge"]
    rows = {
        "memory": f"{memory / 1e9:.1f} GB",
        "connections": f"{edges * found['connections_an_edge']:,.0f}",
        "idle": f"{edges * found['idle_commands_a_minute'] / 60:,.0f} commands a second, "
        f"{edges * found['idle_cpu_us_a_minute'] / 60e6:.3f} cores",
        "busy": f"{edges * found['busy_commands_a_minute'] / 60:,.0f} commands a second, "
        f"{edges * found['busy_cpu_us_a_minute'] / 60e6:.3f} cores",
        "outage": f"{edges * OUTAGE_CHANGES * found['outage_cpu_us_a_change'] / 1e6:,.0f} s of one core",
    }
    if "bytes_a_pushed_change_of_history" in found:
        history = states * 1000 * found["bytes_a_pushed_change_of_history"]
        rows["full histories"] = f"{history / 1e9:.1f} GB (max_history=1000)"
    return rows


@contextmanager
def _servers(arguments: argparse.Namespace) -> Iterator[tuple[Any, Any]]:
    with ExitStack() as stack:
        server = stack.enter_context(embedded.start(config={"maxclients": "15000"}))
        yield SqlCloud(stack) if arguments.sql else RedisCloud(stack, arguments.node_bytes), server.url


async def _measure(arguments: argparse.Namespace, cloud: Any, edge_url: str) -> dict[str, Any]:
    client = redis.asyncio.Redis.from_url(edge_url)
    try:
        return await Fleet(cloud, client, arguments.edges, arguments.scopes, arguments.seconds).run()
    finally:
        await client.aclose()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--edges", type=int, default=1000)
    parser.add_argument("--scopes", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--node-bytes", type=int, default=4096, help="the cloud's stream-node-max-bytes")
    parser.add_argument("--sql", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with _servers(arguments) as (cloud, edge_url):
        found = asyncio.run(_measure(arguments, cloud, edge_url))
    for name, value in found.items():
        print(f"{name:34}  {value:,.1f}" if isinstance(value, float) else f"{name:34}  {value}")
    print("\n10,000 edges of 100 scopes:")
    for name, text in compute(found, 10_000, 100).items():
        print(f"{name:34}  {text}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
