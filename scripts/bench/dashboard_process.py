#!/usr/bin/env python3
"""Measure the page as a process of its own, with 1,000 nodes and 200 functions: first paint, CPU, commands, memory.

    .venv/bin/python scripts/bench/dashboard_process.py [--seconds 30] [--clients 1 10] [--memory-seconds 180]

Needs Linux; the first paint needs Chromium. Memory is measured with 20 ticks a second in place of one, so three
minutes stand for the ticks of an hour, if the process can keep up; what grows with time and not with ticks is not seen.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import redis

from dashboard import VIEWS, ask, fill, keep_alive
from edge_redis import aio as awaited
from edge_redis import embedded
from edge_redis.dashboard import dashboard

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.browser import Browser, find_chromium

SLOWER: Final = 4
IDLE_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 3.0
EXPIRY_SECONDS: Final = 13.0
"""After this time no reading is used again, so the next visitor is the first."""
MEMORY_INTERVAL: Final = 0.05
PAINT: Final = (
    "new Promise(done => new PerformanceObserver(list => done(list.getEntries()[0].startTime))"
    ".observe({type: 'paint', buffered: true}))"
)
SERVER: Final = "performance.getEntriesByType('navigation')[0].responseStart"


@contextmanager
def serve(url: str) -> Iterator[tuple[str, int]]:
    """Serve the page by its command; its URL and process id."""
    command = [sys.executable, "-m", "edge_redis", "dashboard", "--url", url, "--namespace", "bench", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+/", process.stdout.readline())
            assert found is not None
            yield f"{found[0]}s/bench/", process.pid
        finally:
            process.terminate()


def read_cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_rss_mb(pid: int | str = "self") -> float:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def find_live(page_url: str) -> str:
    """Return the URL of a page's stream."""
    with urllib.request.urlopen(page_url) as response:  # noqa: S310 -- of the server started here
        html = response.read().decode()
    return urljoin(page_url, unescape(re.findall(r'data-live="([^"]+)"', html)[0]))


async def follow(live_url: str, seconds: float) -> None:
    """Read a stream for some seconds, opening it again where it ends."""
    host = urlsplit(live_url)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection(host.hostname, host.port)
        writer.write(f"GET {host.path}?{host.query} HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode())
        try:
            async with asyncio.timeout(end - time.monotonic()):
                while await reader.read(1 << 16):
                    pass
        except TimeoutError:
            pass
        finally:
            writer.close()


async def follow_all(live_url: str, pid: int, seconds: float, clients: int) -> float:
    """Return the CPU time of the page in ms a second while clients read a stream, without the first page."""
    streams = [asyncio.create_task(follow(live_url, seconds + SETTLE_SECONDS)) for _ in range(clients)]
    await asyncio.sleep(SETTLE_SECONDS)
    before, began = read_cpu_seconds(pid), time.monotonic()
    await asyncio.wait(streams)
    return (read_cpu_seconds(pid) - before) * 1000 / (time.monotonic() - began)


def measure_cpu(site: str, pid: int, seconds: float, clients: list[int]) -> None:
    """Print the CPU of each view."""
    for view in VIEWS:
        line = f"{view or 'overview':10}"
        for count in clients:
            cpu = asyncio.run(follow_all(find_live(site + view), pid, seconds, count))
            line += f" {count} clients: {cpu:5.1f} ms a second in all, {cpu / count:5.1f} each;"
        print(line, flush=True)


def measure_idle(site: str, server: redis.Redis) -> None:
    """Print how many commands the page sends after its last visitor has left."""
    asyncio.run(follow(find_live(site), 2.0))
    time.sleep(2.0)
    before = server.info("stats")["total_commands_processed"]
    time.sleep(IDLE_SECONDS)
    commands = server.info("stats")["total_commands_processed"] - before - 1
    print(f"nobody looks: {commands} commands in {IDLE_SECONDS:.0f} s", flush=True)


def measure_paint(site: str) -> None:
    """Print when a browser shows each view, which has its content from the server, and the readings have expired."""
    for slower in (1, SLOWER):
        times = []
        for view in VIEWS:
            time.sleep(EXPIRY_SECONDS)
            with Browser() as browser:
                browser.call("Emulation.setCPUThrottlingRate", rate=slower)
                browser.open(site + view)
                times.append(f"{view or 'overview'} {browser.run(PAINT):.0f} ms (server {browser.run(SERVER):.0f})")
        print(f"first paint, browser's CPU slowed {slower} times: {', '.join(times)}", flush=True)


async def measure_memory(url: str, seconds: float) -> None:
    """Print the memory of a page with many ticks a second, in the middle and at the end."""
    page = dashboard(awaited.EdgeRedis.from_url(url, namespace="bench"), interval_seconds=MEMORY_INTERVAL)
    html = await ask(page, "/s/bench/")
    live = unescape(re.findall(r'data-live="([^"]+)"', html.decode())[0])
    sizes, ticks = [], 0
    for _ in range(6):
        ticks += (await ask(page, live, seconds=seconds / 6)).count(b"\n\n")
        sizes.append(read_rss_mb())
    await page.close()
    print(f"memory of the overview over {ticks:,} ticks: {', '.join(f'{size:.1f}' for size in sizes)} MB")


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--memory-seconds", type=float, default=180.0)
    parser.add_argument("--no-paint", action="store_true", help="do not start a browser")
    options = parser.parse_args()
    with embedded.start() as server:
        fill(server.url)
        spawned: Any = multiprocessing.get_context("spawn")
        writer = spawned.Process(target=keep_alive, args=(server.url,), daemon=True)
        with serve(server.url) as (site, pid), redis.Redis.from_url(server.url) as client:
            measure_idle(site, client)
            writer.start()
            try:
                if find_chromium() and not options.no_paint:
                    measure_paint(site)
                measure_cpu(site, pid, options.seconds, options.clients)
                print(f"memory of the process: {read_rss_mb(pid):.0f} MB")
                asyncio.run(measure_memory(server.url, options.memory_seconds))
            finally:
                writer.kill()


if __name__ == "__main__":
    main()
