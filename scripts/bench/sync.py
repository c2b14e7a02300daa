#!/usr/bin/env python3
"""What syncing costs, each figure beside the limit of the server and client it runs on, in one run.

    scripts/bench/run sync [--updates N] [--changes N] [--rounds N]

* ``update_local`` against a raw XADD of the same payload, and against a raw call of a script that does nothing;
* a worker's drain, end to end (read at the edge, applied in the cloud, confirmed at the edge; two servers), against a
  loop of raw XREADGROUP and XACK over the same payloads, with losses and duplicates counted;
* 100 busy scopes alone, and among 10,000 quiet ones.

Rounds of what is compared alternate, and the ratio is the median of the rounds'. Needs ``edge-redis[embedded]``.
Exits with 1 where a change was lost or took effect twice; the bars are printed beside what was measured.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import redis

from _alternation import Measurement
from edge_redis import CloudWorker, EdgeRedis, EdgeSynchronizer, RedisCloudStore, embedded
from edge_redis.cloudstores import encode_data

SCOPES = 50
DATA = {"target": 21.5, "mode": "auto", "setpoints": [18.0, 19.5, 21.0, 22.5], "note": "x" * 100}
UPDATE_BAR, DRAIN_BAR, QUIET_BAR = 1.6, 20_000, 1.2


def seconds(action: Callable[[], object]) -> float:
    """Return how long ``action`` took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def ways(client: Any, sync: EdgeSynchronizer, count: int) -> dict[str, Callable[[], object]]:
    """Return what is compared, XADD first."""
    body = encode_data(DATA)
    fields = {"data": body, "checksum": "0" * 64, "clock": "0" * 18, "origin": "o" * 16, "base": "", "is_delta": "0"}
    nothing = client.register_script("return ARGV[1]")
    calls: dict[str, Callable[[int], object]] = {
        "XADD": lambda _: client.xadd("raw", fields, maxlen=100),
        "update_local": lambda _: sync.update_local(DATA),
        "update_local, delta": lambda number: sync.update_local({"target": number}, is_delta=True),
        "a script that does nothing": lambda _: nothing(keys=["raw"], args=[body]),
    }

    def repeat(call: Callable[[int], object]) -> list[object]:
        return [call(number) for number in range(count)]

    return {name: partial(repeat, call) for name, call in calls.items()}


def update_times(client: Any, count: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of ``count`` calls of each way to update, a list of rounds."""
    with EdgeSynchronizer(client, scope="updates") as sync:
        compared = ways(client, sync, count)
        taken: dict[str, list[float]] = {name: [] for name in compared}
        for _ in range(rounds):
            for name, way in compared.items():
                taken[name].append(seconds(way))
    return taken


def measure_updates(client: Any, rounds: int, count: int = 300) -> Iterator[Measurement]:
    """Measure ``update_local`` and ``update_many`` beside what a server needs at least."""
    taken = {name: [1e6 * each / count for each in some] for name, some in update_times(client, count, rounds).items()}
    yield Measurement("update_local : XADD", taken["update_local"], taken["XADD"], 1.35)
    fields = {"data": encode_data(DATA), "checksum": "0" * 64, "clock": "0" * 18, "origin": "o" * 16}
    edge = EdgeRedis(client, namespace="many")
    scopes = [f"scope-{number}" for number in range(100)]

    def pipelined() -> None:
        with client.pipeline(transaction=False) as pipeline:
            for scope in scopes:
                pipeline.xadd(f"raw:{scope}", fields, maxlen=100)
            pipeline.execute()

    pairs = [(seconds(lambda: edge.update_many(dict.fromkeys(scopes, DATA))), seconds(pipelined)) for _ in range(50)]
    edge.close()
    ours, theirs = ([1e6 * each for each in some] for some in zip(*pairs[2:], strict=True))
    yield Measurement("update_many of 100 scopes : pipelined XADD", ours, theirs, 1.5)


def work(edge_url: str, cloud_url: str, namespace: str, ready: Any, go: Any, ended: Any) -> None:
    """Drain as one of several worker processes."""
    with redis.Redis.from_url(edge_url) as edge, redis.Redis.from_url(cloud_url) as cloud:
        store = RedisCloudStore(cloud, namespace=namespace)
        with CloudWorker(edge, store, namespace=namespace, batch_size=200) as worker:
            worker.run_once()
            ready.release()
            go.wait()
            while worker.run_once():
                pass
            ended.put(time.monotonic())


def drained_by(urls: tuple[str, str], namespace: str, changes: int, workers: int) -> float:
    """Return the changes a second of worker processes, from their start to the last one's end."""
    context = multiprocessing.get_context("spawn")
    ready, go, ended = context.Semaphore(0), context.Event(), context.Queue()
    processes = [context.Process(target=work, args=(*urls, namespace, ready, go, ended)) for _ in range(workers)]
    for process in processes:
        process.start()
        ready.acquire()  # before there are changes: they start together
    with redis.Redis.from_url(urls[0]) as edge:
        fill(edge, namespace, changes)
    began = time.monotonic()
    go.set()
    taken: float = max(ended.get() for _ in processes) - began
    for process in processes:
        process.join()
    return changes / taken


def measure_drain(urls: tuple[str, str], changes: int, rounds: int) -> Iterator[Measurement]:
    """Measure a worker's drain beside a loop of raw commands, and two worker processes beside one."""
    ours, raw, by_one, by_two = [], [], [], []
    with redis.Redis.from_url(urls[0]) as edge, redis.Redis.from_url(urls[1]) as cloud:
        for turn in range(rounds):
            raw.append(raw_loop(edge, changes))
            ours.append(drained(edge, cloud, f"drain{turn}", changes)[0])
            by_one.append(drained_by(urls, f"one{turn}", changes, 1))
            by_two.append(drained_by(urls, f"two{turn}", changes, 2))
    yield Measurement("drain : a loop of XREADGROUP and XACK", ours, raw, 1.0, "1/s", is_rate=True)
    yield Measurement("drain, two worker processes : one", by_two, by_one, 1.6, "1/s", is_rate=True)


def updates(client: Any, count: int, rounds: int) -> None:
    """Compare ``update_local`` with raw calls."""
    taken = update_times(client, count, rounds)
    base = taken["XADD"]
    for name, times in taken.items():
        ratio = statistics.median(one / other for one, other in zip(times, base, strict=True))
        bar = f" (bar {UPDATE_BAR})" if name.startswith("update") else ""
        print(f"{name}: {1e6 * min(times) / count:.0f} us, {ratio:.2f} times XADD{bar}")


def fill(edge: Any, namespace: str, changes: int) -> None:
    """Write that many changes to the scopes' outboxes."""
    for scope in range(SCOPES):
        with EdgeSynchronizer(edge, max_pending=changes, scope=f"s{scope}", namespace=namespace) as sync:
            for number in range(changes // SCOPES):
                sync.update_local({**DATA, "n": number})


def cpu(*clients: Any) -> float:
    """Return the seconds of CPU that this process and the servers have used."""
    infos = [client.info("cpu") for client in clients]
    used: float = sum(info["used_cpu_user"] + info["used_cpu_sys"] for info in infos)
    return time.process_time() + used


def drained(edge: Any, cloud: Any, namespace: str, changes: int) -> tuple[float, float, int]:
    """Return changes a second of time and of CPU, and how many were lost or took effect twice."""
    fill(edge, namespace, changes)
    store = RedisCloudStore(cloud, namespace=namespace, max_history=100_000)
    with CloudWorker(edge, store, namespace=namespace, batch_size=200) as worker:

        def drain() -> None:
            while worker.run_once():
                pass

        before = cpu(edge, cloud)
        taken = seconds(drain)
        used = cpu(edge, cloud) - before
    wrong = 0
    for scope in range(SCOPES):
        versions = [event.version for event in store.sync_history(f"s{scope}", 100_000) if event.success]
        wrong += len(set(range(1, changes // SCOPES + 1)) ^ set(versions)) + len(versions) - len(set(versions))
    return changes / taken, changes / used, wrong


def raw_loop(edge: Any, changes: int) -> float:
    """Return messages a second of XREADGROUP and XACK over as many messages of the same payload."""
    edge.delete("loop")
    body = encode_data(DATA)
    fields = {"data": body, "checksum": "0" * 64, "clock": "0" * 18, "origin": "o" * 16, "base": "", "is_delta": "0"}
    with edge.pipeline(transaction=False) as pipeline:
        for _ in range(changes):
            pipeline.xadd("loop", fields)
        pipeline.execute()
    edge.xgroup_create("loop", "g", "0")

    def loop() -> None:
        while found := edge.xreadgroup("g", "c", {"loop": ">"}, count=200):
            (messages,) = found.values() if isinstance(found, dict) else [found[0][1]]
            flat = messages[0] if isinstance(messages[0], list) else messages
            edge.xack("loop", "g", *(entry[0] for entry in flat))

    return changes / seconds(loop)


def quiet(edge: Any, cloud: Any, rounds: int) -> None:
    """Compare 100 busy scopes alone with 100 among 10,000 quiet ones."""
    worlds = {"alone": 0, "among quiet": 10_000}
    taken: dict[str, list[float]] = {name: [] for name in worlds}
    for name, others in worlds.items():
        with CloudWorker(edge, cloud, namespace=name.replace(" ", "-")) as worker:
            for scope in range(others):
                with EdgeSynchronizer(edge, scope=f"q{scope}", namespace=name.replace(" ", "-")) as sync:
                    sync.update_local({"n": 0})
            while worker.run_once():
                pass
    for _ in range(rounds):
        for name in worlds:
            namespace = name.replace(" ", "-")
            for scope in range(100):
                with EdgeSynchronizer(edge, scope=f"busy{scope}", namespace=namespace) as sync:
                    for number in range(10):
                        sync.update_local({**DATA, "n": number})
            with CloudWorker(edge, cloud, namespace=namespace) as worker:
                taken[name].append(seconds(partial(list, iter(worker.run_once, 0))))
    ratio = statistics.median(two / one for one, two in zip(*taken.values(), strict=True))
    print(f"100 busy scopes among 10,000 quiet ones: {ratio:.2f} times what they cost alone (bar {QUIET_BAR})")


def main() -> int:
    """Run all; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=2000, help="calls a round (default: 2000)")
    parser.add_argument("--changes", type=int, default=20_000, help="changes to drain (default: 20000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison (default: 5)")
    arguments = parser.parse_args()
    with (
        embedded.start(appendfsync="no") as one,
        embedded.start(appendfsync="no") as two,
        redis.Redis.from_url(one.url) as edge,
        redis.Redis.from_url(two.url) as cloud,
    ):
        updates(edge, arguments.updates, arguments.rounds)
        rates, by_cpu, ratios, wrong = [], [], [], 0
        for turn in range(arguments.rounds):
            raw = raw_loop(edge, arguments.changes)
            rate, cpu_rate, found = drained(edge, cloud, f"drain{turn}", arguments.changes)
            rates.append(rate)
            by_cpu.append(cpu_rate)
            ratios.append(raw / rate)
            wrong += found
        print(f"drain: {max(rates):,.0f} changes a second (bar {DRAIN_BAR:,}), median {statistics.median(rates):,.0f}")
        print(f"  a second of CPU of client and servers together: {statistics.median(by_cpu):,.0f}")
        print(f"a raw XREADGROUP and XACK loop does {statistics.median(ratios):.1f} times as many")
        print(f"changes lost or applied twice: {wrong}")
        quiet(edge, cloud, arguments.rounds)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
