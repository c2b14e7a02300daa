#!/usr/bin/env python3
"""Measure the operator's page with 1,000 nodes and 200 functions: bytes of the first paint, and CPU of a tick.

    .venv/bin/python scripts/bench/dashboard.py [--seconds 8] [--clients 1 3]

A process of its own sends heartbeats of all nodes every two seconds and records of all functions, so that rows
change as at a real site. CPU is that of the page's process, divided by ticks and clients; a tick is a second.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import re
import resource
import time
from html import unescape
from typing import Any, Final

from edge_redis import EdgeNode, EdgeRedis, InvocationRecord, embedded
from edge_redis import aio as awaited
from edge_redis.dashboard import Dashboard, dashboard
from edge_redis.models import ResourceUsage

NODES: Final = 1000
FUNCTIONS: Final = 200
NODES_A_FUNCTION: Final = 5
VIEWS: Final = ("", "nodes", "functions", "sync", "events")


def fill(url: str) -> None:
    """Register the nodes, and record some calls of each function on a few nodes."""
    with EdgeRedis.from_url(url, namespace="bench") as edge:
        edge.health.heartbeat_many([EdgeNode(f"node-{n:04}", f"Till {n}", f"store {n // 10}") for n in range(NODES)])
        edge.health.check_cluster()
        edge.metrics.record_many(
            InvocationRecord(f"function-{f:03}", f"node-{f * 5 + n:04}", random.expovariate(0.1), success=n != 1)
            for f in range(FUNCTIONS)
            for n in range(NODES_A_FUNCTION)
            for _ in range(10)
        )
        for scope in range(100):
            edge.synchronizer(f"scope-{scope:03}").update_local({"value": scope})


def keep_alive(url: str) -> None:
    """Send heartbeats and records until the process is ended."""
    with EdgeRedis.from_url(url, namespace="bench") as edge:
        while True:
            edge.health.heartbeat_many([f"node-{n:04}" for n in range(NODES)])
            edge.health.heartbeat("node-0007", resources=ResourceUsage(50.0))
            edge.metrics.record_many(
                InvocationRecord(f"function-{f:03}", f"node-{f * 5:04}", random.expovariate(0.1), success=True)
                for f in range(FUNCTIONS)
            )
            time.sleep(2)


async def ask(page: Dashboard, path: str, *, seconds: float | None = None) -> bytes:
    """Return the body of a response, of a stream after so many seconds."""
    parts: list[bytes] = []
    path, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    ended = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if seconds is None:
            await ended.wait()
        else:
            await asyncio.sleep(seconds)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        parts.append(message.get("body", b""))

    await page(scope, receive, send)
    return b"".join(parts)


async def measure(url: str, seconds: float, clients: list[int]) -> None:
    """Print a line for each view."""
    page = dashboard(awaited.EdgeRedis.from_url(url, namespace="bench"))
    files = {name: await ask(page, f"/static/{name}") for name in ("page.css", "page.js", "icon.svg")}
    shared = sum(map(len, files.values()))
    print(f"files of every page: {', '.join(f'{name} {len(body):,} B' for name, body in files.items())}")
    for view in VIEWS:
        started = time.perf_counter()
        html = await ask(page, f"/s/bench/{view}")
        took = time.perf_counter() - started
        live = unescape(re.findall(r'data-live="([^"]+)"', html.decode())[0])
        line = f"{view or 'overview':10} {(len(html) + shared) / 1000:6.1f} kB cold, made in {took * 1000:5.0f} ms"
        for count in clients:
            before, began = time.process_time(), time.monotonic()
            sent = await asyncio.gather(*(ask(page, live, seconds=seconds) for _ in range(count)))
            ticks = time.monotonic() - began
            cpu = (time.process_time() - before) * 1000 / ticks
            line += f"; {count} clients: {cpu / count:5.1f} ms a tick and client, "
            line += f"{sum(map(len, sent)) / count / ticks / 1000:5.1f} kB/s each"
        print(line, flush=True)
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")
    await page.close()


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 3])
    options = parser.parse_args()
    with embedded.start() as server:
        fill(server.url)
        writer = multiprocessing.get_context("spawn").Process(target=keep_alive, args=(server.url,), daemon=True)
        writer.start()
        try:
            asyncio.run(measure(server.url, options.seconds, options.clients))
        finally:
            writer.kill()


if __name__ == "__main__":
    main()
