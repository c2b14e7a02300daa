#!/usr/bin/env python3
"""Measure what a change of a large state costs between a worker and a cloud in PostgreSQL, in bytes and in time.

    scripts/bench/run sql_cloud [--changes N] [--delay MILLISECONDS]

A state of 90 KB of which one field of 20 bytes changes, with REMOTE_WINS and with MERGE. The worker reaches PostgreSQL
by a relay that counts the bytes of the TCP payload, and delays them where asked to. Needs PostgreSQL's server programs
(Debian: postgresql), ``edge-redis[sql,embedded]``, psycopg, and the tests of this checkout.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from _link_relay import Link, Traffic
from edge_redis import CloudWorker, ConflictStrategy, EdgeSynchronizer, embedded
from edge_redis.cloudstores.sql import SqlCloudStore
from link import state_of_90_kb
from support.postgres import Postgres

FIELD = "sensor/0450"


def value_of(number: int) -> dict[str, Any]:
    """Return a value of the field that changes."""
    return {"target": number / 7, "unit": "C", "note": f"n{number:019}" + "n" * 30}


class Cost:
    """What each of several calls cost."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._traffic: list[Traffic] = []
        self._seconds: list[float] = []

    def measure(self, call: Callable[[], object]) -> None:
        """Make one call, and note what it cost."""
        before, began = self._link.count(), time.perf_counter()
        call()
        self._seconds.append(time.perf_counter() - began)
        self._traffic.append(self._link.count() - before)

    def __str__(self) -> str:
        up, down = (statistics.median(getattr(each, way) for each in self._traffic) for way in ("up", "down"))
        return f"{up:>10,.0f} {down:>10,.0f} {1000 * statistics.median(self._seconds):>9.1f}"


def measure(link: Link, port: int, client: Any, strategy: ConflictStrategy, changes: int) -> Iterator[tuple[str, Cost]]:
    """Yield what a change costs on each of its ways."""
    base, namespace = "postgresql+psycopg://postgres@127.0.0.1", strategy.value
    with (
        SqlCloudStore(f"{base}:{link.port}/postgres?sslmode=disable", namespace=namespace) as near,
        SqlCloudStore(f"{base}:{port}/postgres", namespace=namespace) as far,
        CloudWorker(client, near, namespace=namespace) as worker,
        EdgeSynchronizer(client, strategy, scope="room", namespace=namespace) as sync,
    ):
        sync.update_local(state_of_90_kb())
        _carry(worker)
        ways = {name: Cost(link) for name in ("pushed", "its echo read", "of the cloud, pulled")}
        pusher, puller = worker._component.pusher, worker._component.puller  # noqa: SLF001 -- one way at a time
        for number in range(changes):
            sync.update_local({FIELD: value_of(number)}, is_delta=True)
            ways["pushed"].measure(lambda: worker._run(pusher.push()))  # noqa: SLF001
            ways["its echo read"].measure(lambda: worker._run(puller.pull()))  # noqa: SLF001
        for number in range(changes):
            far.update("room", {FIELD: value_of(-1 - number)}, is_delta=True)
            ways["of the cloud, pulled"].measure(lambda: worker._run(puller.pull()))  # noqa: SLF001
        _carry(worker)
        state = far.get("room")
        assert state is not None
        assert state == sync.get_local_state()
        yield from ways.items()


def _carry(worker: CloudWorker) -> None:
    while worker.run_once():
        pass


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=20, help="of each kind (default: 20)")
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds one way (default: 0)")
    arguments = parser.parse_args()
    port = _free_port()
    postgres = Postgres(port)
    try:
        with Link(port) as link, embedded.start() as edge, edge.client() as client:
            link.set(delay=arguments.delay / 1000)
            print(f"{'':<34} {'bytes up':>10} {'down':>10} {'ms':>9}")
            for strategy in (ConflictStrategy.REMOTE_WINS, ConflictStrategy.MERGE):
                for name, cost in measure(link, port, client, strategy, arguments.changes):
                    print(f"{strategy.value + ', ' + name:<34} {cost}")
    finally:
        postgres.remove()


if __name__ == "__main__":
    main()
