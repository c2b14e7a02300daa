#!/usr/bin/env python3
"""Sync over a link: bytes, time and memory of changes between an edge and its cloud, beside other systems.

    scripts/bench/run link [--only NAME ...] [--peers] [--json FILE]

The worker is `edge-redis worker` with its default settings, in a process of its own; between it and the cloud's server
is a relay that counts bytes, delays, limits and cuts. Figures are those of the payload of TCP. Measured are

* ``field``: a change of one field of 20 bytes in a scope of 90 KB, after one such change, up and down, each strategy;
* ``batch``: 100 such changes that were made while the link was cut;
* ``idle``: a minute in which nothing changes, times 1,440;
* ``latency``: from a write at one end until it is at the other, the link without delay and with 25 ms of round trip;
* ``memory``: keys of the edge with 100 changes of one number in a state of 1 MB;
* ``drain``: 10,000 changes of 1,000 scopes, with 25 ms of round trip;
* ``slow``: 5,000 changes of 200 scopes over 64 kbit/s that are cut every 30 s (takes minutes; only where it is named);
* with ``--peers``, the same state, time and idling of NATS JetStream, an MQTT bridge and PouchDB (`_link_peers.py`).

Exits with 1 where a change did not arrive. The bars are printed beside what was measured.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from _link_relay import Link, Traffic
from edge_redis import ConflictStrategy, EdgeRedis, EdgeSynchronizer, RedisCloudStore, connect, embedded

NAMESPACE: Final = "link"
PROGRAM: Final = (sys.executable, "-m", "edge_redis")
ROUND_TRIP: Final = 0.025
QUIET_SECONDS: Final = 0.4
MAX_SETTLE_SECONDS: Final = 2.0
TEXTS: Final = ("first text of 20 b..", "other text of 20 b..")

Row = tuple[str, str, str]


class Site:
    """An edge with its worker, a cloud, and the link between them."""

    def __init__(self, edge_url: str, cloud_url: str, link: Link) -> None:
        self.edge, self.cloud_client = connect(edge_url), connect(cloud_url)
        self.link = link
        self.cloud = RedisCloudStore(self.cloud_client, namespace=NAMESPACE)
        self._edge_url = edge_url
        self._link_url = re.sub(r":\d+(/|$)", rf":{link.port}\1", cloud_url)

    @contextmanager
    def working(self, *options: str, begun: str = "begun") -> Iterator[None]:
        """Run the worker, from when it has carried the scope ``begun``."""
        urls = ["--url", self._edge_url, "--cloud-url", self._link_url]
        command = [*PROGRAM, "worker", *urls, "--namespace", NAMESPACE, *options]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                with self.synchronizer(begun, ConflictStrategy.LATEST_WINS) as sync:
                    sync.update_local({})
                    wait(lambda: sync.is_synced, "the start of the worker")
                yield
            finally:
                process.terminate()

    def synchronizer(self, scope: str, strategy: ConflictStrategy, **options: Any) -> EdgeSynchronizer:
        """Return a synchronizer of a scope."""
        return EdgeSynchronizer(self.edge, strategy, scope=scope, namespace=NAMESPACE, **options)

    def settle(self) -> None:
        """Wait until nothing goes over the link, or a little longer where a worker polls."""
        end, before = time.monotonic() + MAX_SETTLE_SECONDS, self.link.count()
        while time.monotonic() < end:
            time.sleep(QUIET_SECONDS)
            after = self.link.count()
            if after == before:
                return
            before = after

    def count(self, action: Callable[[], object]) -> Traffic:
        """Return the bytes that went over the link for an action."""
        self.settle()
        before = self.link.count()
        action()
        self.settle()
        return self.link.count() - before


def wait(condition: Callable[[], bool], what: str, *, seconds: float = 60.0, every: float = 0.001) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(every)


def state_of_90_kb() -> dict[str, Any]:
    """Return a state of some 90 KB."""
    return {f"sensor/{number:04}": {"target": number / 7, "unit": "C", "note": "n" * 50} for number in range(900)}


def measure_field(site: Site) -> Iterator[Row]:
    """Measure a change of one field, up and down, in each strategy."""
    for strategy in ConflictStrategy:
        scope = f"field/{strategy.value}"
        with site.synchronizer(scope, strategy) as sync:
            sync.update_local(state_of_90_kb())
            wait(lambda: sync.is_synced, "the first push")

            def push(text: str) -> None:
                sync.update_local({"changed": text}, is_delta=True)
                wait(lambda: sync.is_synced, "a push")

            site.count(lambda: push(TEXTS[0]))
            up = site.count(lambda: push(TEXTS[1]))
            yield f"one field up, {strategy.value}", f"{up.up} up, {up.down} down", "1,000 up"
            if strategy is ConflictStrategy.LOCAL_WINS:
                continue  # nothing that the cloud writes comes down

            def pull(text: str, scope: str = scope) -> None:
                site.cloud.update(scope, {"changed": text}, is_delta=True)
                wait(lambda: (sync.get_local_state() or _NONE).data.get("changed") == text, "a pull")

            site.count(lambda: pull(TEXTS[0]))
            down = site.count(lambda: pull(TEXTS[1]))
            yield f"one field down, {strategy.value}", f"{down.up} up, {down.down} down", "500 down"


def measure_batch(site: Site) -> Iterator[Row]:
    """Measure 100 changes of one field each that were made while the link was cut."""
    for strategy in ConflictStrategy:
        with site.synchronizer(f"batch/{strategy.value}", strategy, max_pending=1000) as sync:
            sync.update_local(state_of_90_kb())
            sync.update_local({"changed": "x"}, is_delta=True)
            wait(lambda: sync.is_synced, "the first push")
            site.settle()
            before = site.link.set(is_cut=True)
            for number in range(100):
                sync.update_local({"changed": f"{number:020}"}, is_delta=True)
            site.link.set(is_cut=False)
            wait(lambda: sync.is_synced, "the push of the batch")
            site.settle()
            found = site.link.count() - before
            yield f"100 changes, {strategy.value}", f"{found.up / 100:.0f} up each, {found.down} down", "300 up each"


def measure_idle(site: Site) -> Iterator[Row]:
    """Measure a minute in which nothing changes."""
    site.settle()
    before, commands = site.link.count(), site.cloud_client.info("stats")["total_commands_processed"]
    time.sleep(60)
    found = site.link.count() - before
    calls = site.cloud_client.info("stats")["total_commands_processed"] - commands - 1
    yield "idle", f"{(found.up + found.down) * 1440 / 1e6:.2f} MB a day, {calls} commands a minute", "2 MB a day"


def measure_latency(site: Site) -> Iterator[Row]:
    """Measure how long a change takes, both ways."""
    for round_trip, bar in ((0.0, "20 ms"), (ROUND_TRIP, "35 ms")):
        site.link.set(delay=round_trip / 2)
        with site.synchronizer("latency", ConflictStrategy.LATEST_WINS) as sync:
            up, down = [], []
            for number in range(60):
                began = time.perf_counter()
                sync.update_local({"n": number})
                wait(lambda: _value(site.cloud.get("latency")) == number, "a push")  # noqa: B023 -- called at once
                up.append(time.perf_counter() - began)
                time.sleep(0.05 + number % 7 / 100)
                began = time.perf_counter()
                site.cloud.update("latency", {"n": -number - 1})
                wait(lambda: _value(sync.get_local_state()) == -number - 1, "a pull")  # noqa: B023 -- called at once
                down.append(time.perf_counter() - began)
                time.sleep(0.05 + number % 7 / 100)
        for way, found in (("up", up), ("down", down)):
            text = f"{statistics.median(found) * 1e3:.1f} ms median, {max(found) * 1e3:.0f} ms at worst"
            yield f"latency {way}, round trip {round_trip * 1e3:.0f} ms", text, bar
    site.link.set(delay=0.0)


def measure_memory(site: Site) -> Iterator[Row]:
    """Measure the keys of the edge with 100 changes of one number in a state of 1 MB."""
    site.link.set(is_cut=True)
    with site.synchronizer("memory", ConflictStrategy.LATEST_WINS, max_pending=1000) as sync:
        sync.update_local({f"row {number:05}": "v" * 90 for number in range(10_000)} | {"n": -1})
        for number in range(100):
            sync.update_local({"n": number}, is_delta=True)
        keys = site.edge.keys(f"er:{{{NAMESPACE}:sync*:memory")
        used = sum(site.edge.memory_usage(key, samples=0) or 0 for key in keys)
        yield "100 changes of 1 MB at the edge", f"{used / 1e6:.2f} MB", "3 MB"
        site.link.set(is_cut=False)
        wait(lambda: sync.is_synced, "the push of the large state")


def measure_drain(site: Site) -> Iterator[Row]:
    """Measure the push of 10,000 changes of 1,000 scopes with 25 ms of round trip."""
    site.link.set(is_cut=True)
    writer = EdgeRedis(site.edge, namespace=NAMESPACE)
    for number in range(10):
        writer.update_many({f"drain/{scope}": {"n": number, "text": "x" * 60} for scope in range(1000)})
    site.link.set(delay=ROUND_TRIP / 2, is_cut=False)
    work = f"er:{{{NAMESPACE}:sync0}}:work"
    first = site.edge.zcard(work)
    wait(lambda: site.edge.zcard(work) < first, "the first push", every=0.0005)
    began = time.perf_counter()
    wait(lambda: site.edge.zcard(work) == 0, "the drain", seconds=300.0)
    taken = time.perf_counter() - began
    site.link.set(delay=0.0)
    wrong = sum(_value(site.cloud.get(f"drain/{scope}")) != 9 for scope in range(1000))  # noqa: PLR2004 -- the last
    if wrong:
        raise SystemExit(f"{wrong} scopes did not arrive")
    yield "drain at 25 ms of round trip", f"{10_000 / taken:.0f} changes a second", "10,000"


def measure_slow(site: Site) -> Iterator[Row]:
    """Measure the push of 5,000 changes of 200 scopes over a slow link that is cut every 30 s."""
    site.link.set(is_cut=True)
    writer = EdgeRedis(site.edge, namespace=NAMESPACE)
    for number in range(25):
        writer.update_many({f"slow/{scope}": {"n": number, "text": "x" * 60} for scope in range(200)})
    work, began = f"er:{{{NAMESPACE}:sync0}}:work", time.perf_counter()
    before, cuts = site.link.set(rate=8000.0), 0
    while site.edge.zcard(work):
        site.link.set(is_cut=False)
        end = time.monotonic() + 30.0
        while site.edge.zcard(work) and time.monotonic() < end:
            time.sleep(0.05)
        if site.edge.zcard(work):
            site.link.set(is_cut=True)
            cuts += 1
            time.sleep(1.0)
        if time.perf_counter() - began > 1800:  # noqa: PLR2004 -- seconds
            raise SystemExit("the backlog did not arrive within half an hour")
    taken = time.perf_counter() - began
    found = site.link.set(rate=0.0) - before
    wrong = sum(_value(site.cloud.get(f"slow/{scope}")) != 24 for scope in range(200))  # noqa: PLR2004 -- the last
    twice = 0
    for scope in range(200):
        events = site.cloud.sync_history(f"slow/{scope}", 1000)
        twice += len(events) - len({event.version for event in events})
    if wrong:
        raise SystemExit(f"{wrong} scopes did not arrive")
    text = f"{taken:.0f} s, {cuts} cuts, {found.up / 5000:.0f} bytes up a change, {twice} changes sent twice"
    yield "5,000 changes at 64 kbit/s", text, "all arrive, none twice"


def measure_urgent(site: Site) -> Iterator[Row]:
    """Measure how soon an urgent change arrives, while 100,000 changes of other scopes are on their way."""
    site.link.set(delay=ROUND_TRIP / 2)
    writer = EdgeRedis(site.edge, namespace=NAMESPACE)
    for part in range(100):
        writer.update_many({f"backlog/{part}/{number}": {"n": number, "text": "x" * 60} for number in range(1000)})
    work, scopes = f"er:{{{NAMESPACE}:sync0}}:work", f"er:{{{NAMESPACE}:sync0}}:scopes"
    with site.working("--urgent", "urgent/*", begun="urgent/begun"):
        taken, left = [], []
        with site.synchronizer("urgent/up", ConflictStrategy.LATEST_WINS) as sync:
            for number in range(10):
                time.sleep(0.2 + number % 3 / 20)
                left.append(site.edge.zcard(work))
                began = time.perf_counter()
                sync.update_local({"n": number})
                wait(lambda: _value(site.cloud.get("urgent/up")) == number, "a push")  # noqa: B023 -- called at once
                taken.append(time.perf_counter() - began)
        yield _urgent_row("up", taken, left)
    site.edge.flushall()
    site.cloud_client.flushall()
    for number in range(100_000):
        site.cloud.update(f"other/{number}", {"n": number, "text": "x" * 60})
    before = site.edge.hlen(scopes)
    with site.working("--urgent", "urgent/*", begun="urgent/begun again"):
        taken, left = [], []
        with site.synchronizer("urgent/down", ConflictStrategy.LATEST_WINS) as sync:
            for number in range(10):
                time.sleep(0.2 + number % 3 / 20)
                left.append(before + 100_000 - site.edge.hlen(scopes))
                began = time.perf_counter()
                site.cloud.update("urgent/down", {"n": number})
                wait(lambda: _value(sync.get_local_state()) == number, "a pull")  # noqa: B023 -- called at once
                taken.append(time.perf_counter() - began)
        yield _urgent_row("down", taken, left)
    site.link.set(delay=0.0)


def _urgent_row(way: str, taken: list[float], left: list[int]) -> Row:
    text = f"{statistics.median(taken) * 1e3:.0f} ms median, {max(taken) * 1e3:.0f} ms at worst"
    return f"urgent {way}, before {left[0]:,} to {left[-1]:,} others", text, "not behind them"


class _Empty:
    data: Final[dict[str, Any]] = {}


_NONE: Final = _Empty()


def _value(state: Any) -> object:
    return None if state is None else state.data.get("n")


MEASURES: Final = {
    "field": measure_field,
    "batch": measure_batch,
    "memory": measure_memory,
    "latency": measure_latency,
    "drain": measure_drain,
    "idle": measure_idle,
    "slow": measure_slow,
    "urgent": measure_urgent,
}

LONG: Final = ("slow", "urgent")
"""Measured only if named."""


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=[name for name in MEASURES if name not in LONG])
    parser.add_argument("--peers", action="store_true", help="measure NATS and MQTT too")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    rows: list[Row] = []

    def show(found: Iterator[Row]) -> None:
        for name, figure, bar in found:
            rows.append((name, figure, bar))
            print(f"{name:40} {figure:48} bar: {bar}", flush=True)

    with embedded.start() as edge, embedded.start() as cloud, Link(urlsplit(cloud.url).port or 6379) as link:
        site = Site(edge.url, cloud.url, link)
        with site.working() if set(options.only) != {"urgent"} else nullcontext():
            for name in options.only:
                if name != "urgent":
                    show(MEASURES[name](site))
        if "urgent" in options.only:  # with a worker of its own
            show(measure_urgent(site))
        site.edge.close()
        site.cloud_client.close()
    if options.peers:
        from _link_peers import measure_peers  # noqa: PLC0415 -- the peers are installed for this alone

        show(measure_peers(state_of_90_kb()))
    if options.json:
        options.json.write_text(
            json.dumps([dict(zip(("name", "figure", "bar"), row, strict=True)) for row in rows], indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
