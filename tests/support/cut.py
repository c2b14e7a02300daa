"""A long cut: edges' scopes are written while the cloud is not there, and what must hold meanwhile and afterwards.

The outbox is bounded, so the memory is: ``memory_bound`` says by how much, from the settings alone,
before anything is written. ``Watch`` reads the servers and the worker again and again while the
writers write, and keeps what it saw that must not be.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import redis

from edge_redis import CloudWorker, EdgeSynchronizer, RedisCloudStore
from edge_redis._sync.keys import SyncKeys
from edge_redis.cloudstores import encode_data
from edge_redis.embedded import EmbeddedServer
from support.deadline import eventually

spawn = multiprocessing.get_context("spawn")

NAMESPACE = "cut"
PAYLOAD = {"target": 21.5, "mode": "auto", "setpoints": [18.0, 19.5, 21.0, 22.5], "note": "x" * 100}
MAX_PENDING, MAX_HISTORY = 100, 1000  # the defaults
REPLACED = 10  # one write in so many replaces the state, the others change a field of it

NODE_BYTES = 4096  # a stream keeps its entries in nodes of at most so many bytes, and of a hundred entries
NODE_ENTRIES = 100
ENTRY_BYTES = 320  # of an outbox beside the data: its id, six names and lengths, checksum, clock, origin, base
HELD_BYTES = 160  # of an entry that a worker has taken: twice in an index, its id in each, and its record
EVENT_BYTES = 160  # of the history
DOCUMENT_BYTES = 2048  # beside the data: its fields, and the scope's places in the indexes
SLOT_BYTES = 256  # the last call of each slot, of which a writer or a worker has one
FIXED_BYTES = 1024 * 1024  # the scripts, and keys of which there is one
CLOCK_SECONDS = 0.1  # what the server's clock and ours may differ by
CLIENT_BYTES = 128 * 1024  # buffers of a connection, and its share of the buffer of the append-only file


@dataclass(frozen=True)
class Plan:
    """How much is written, and by how many."""

    updates: int
    scopes: int
    writers: int = 2

    @property
    def each(self) -> int:
        """Updates of a scope."""
        return self.updates // self.scopes

    def name(self, scope: int) -> str:
        return f"room-{scope}"


def largest_body() -> int:
    """Return the bytes of the largest state that is written."""
    return len(encode_data({**PAYLOAD, "n": 2**32, "by": "replaced"}))


def stream_bytes(entries: int, entry: int) -> int:
    """Return the most that a stream takes: whole nodes, two more for what is cut off its ends, and their index."""
    nodes = -(-entries // max(1, min(NODE_ENTRIES, NODE_BYTES // entry))) + 2
    return nodes * (NODE_BYTES + entry + 128)


def memory_bound(plan: Plan, connections: int) -> int:
    """Return the bytes that neither server may pass beyond what it used when it was empty.

    scopes x (outbox of max_pending entries + their records in the group + history of max_history
    events + document) + a slot a writer and worker + connections x buffers + what there is once.
    """
    body = largest_body()
    outbox = stream_bytes(MAX_PENDING, body + ENTRY_BYTES) + MAX_PENDING * HELD_BYTES
    history = stream_bytes(MAX_HISTORY, EVENT_BYTES)
    scope = outbox + history + 2 * body + DOCUMENT_BYTES
    return plan.scopes * scope + connections * (SLOT_BYTES + CLIENT_BYTES) + FIXED_BYTES


def write(url: str, plan: Plan, writer: int) -> None:
    """Write a writer's share: its scopes in turn, mixed deltas and replacements."""
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(redis.Redis.from_url(url))
        syncs = [
            stack.enter_context(EdgeSynchronizer(client, scope=plan.name(scope), namespace=NAMESPACE))
            for scope in range(writer, plan.scopes, plan.writers)
        ]
        for number in range(plan.each):
            for sync in syncs:
                if number % REPLACED == 0:
                    sync.update_local({**PAYLOAD, "n": number, "by": "replaced"})
                else:
                    sync.update_local({"n": number}, is_delta=True)


def used(client: redis.Redis) -> int:
    """Return the bytes that a server uses."""
    return int(client.info("memory")["used_memory"])


def outboxes(client: redis.Redis, plan: Plan) -> tuple[int, int]:
    """Return the number of entries in the longest outbox, and of the versions of all scopes together."""
    keys = SyncKeys(NAMESPACE, "sync")
    with client.pipeline(transaction=False) as pipeline:
        for scope in map(plan.name, range(plan.scopes)):
            pipeline.xlen(keys.pending(scope))
            pipeline.hget(keys.doc(scope), "version")
        found = pipeline.execute()
    return max(found[::2]), sum(int(version or 0) for version in found[1::2])


@dataclass
class Watch:
    """What was seen, sample by sample, and what of it must not be."""

    plan: Plan
    edge: EmbeddedServer
    cloud: EmbeddedServer
    bound: int
    empty: dict[str, int]
    samples: int = 0
    peak: dict[str, int] = field(default_factory=lambda: {"edge": 0, "cloud": 0})
    longest: int = 0
    written: int = 0
    oldest_seconds: float = 0.0
    since: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def sample(self, worker: CloudWorker, *, is_cut: bool) -> None:
        """Look once; while the cloud is away the lag must also tell of it."""
        with self.edge.client() as client:
            self._memory("edge", client)
            longest, self.written = outboxes(client, self.plan)
            self.longest = max(self.longest, longest)
        if not is_cut:
            with self.cloud.client() as client:
                self._memory("cloud", client)
        if self.longest > MAX_PENDING:
            self.wrong.append(f"{self.longest} entries in an outbox")
        if is_cut:
            self._lag(worker)
        self.samples += 1

    def _memory(self, name: str, client: redis.Redis) -> None:
        grown = used(client) - self.empty[name]
        self.peak[name] = max(self.peak[name], grown)
        if grown > self.bound:
            self.wrong.append(f"{name}: {grown:,} bytes, {self.bound:,} are the bound")

    def _lag(self, worker: CloudWorker) -> None:
        status = worker.status()
        if not status["changes_waiting"]:
            return  # nothing was written yet
        if not 0 < status["changes_waiting"] <= self.plan.scopes * MAX_PENDING:
            self.wrong.append(f"{status}")
        if status["pushed_total"] or status["dead_letters"]:
            self.wrong.append(f"carried, with no cloud there: {status}")
        self.since = self.since or time.monotonic()  # something waits since then at the latest
        if status["oldest_seconds"] < time.monotonic() - self.since - CLOCK_SECONDS:
            self.wrong.append(f"{status}, and something has waited for {time.monotonic() - self.since} s")
        self.oldest_seconds = status["oldest_seconds"]


@dataclass(frozen=True)
class Report:
    """What a cut came to."""

    watch: Watch
    writing_seconds: float
    catching_up_seconds: float
    effects: int


@contextlib.contextmanager
def working(edge: EmbeddedServer, cloud: EmbeddedServer) -> Iterator[CloudWorker]:
    """Let a worker run in a thread, whether the cloud is there or not."""
    with edge.client() as client, cloud.client(retry=None, socket_connect_timeout=1) as far:
        worker = CloudWorker(client, RedisCloudStore(far, namespace=NAMESPACE), namespace=NAMESPACE)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield worker
        finally:
            worker.stop()
            thread.join()
            worker.close()


def run(plan: Plan, edge: EmbeddedServer, cloud: EmbeddedServer, *, every: float, tell: Any = lambda _: None) -> Report:
    """Kill the cloud, write all while a worker tries, bring the cloud back, and wait until all is there."""
    with edge.client() as client, cloud.client() as far:
        empty = {"edge": used(client), "cloud": used(far)}
    watch = Watch(plan, edge, cloud, memory_bound(plan, plan.writers + 4), empty)
    tell(watch)
    cloud.kill()
    with working(edge, cloud) as worker:
        began = time.monotonic()
        _write_all(plan, edge, lambda: watch.sample(worker, is_cut=True), every, lambda: tell(watch))
        writing = time.monotonic() - began
        watch.sample(worker, is_cut=True)
        cloud.restart()
        healed = time.monotonic()
        eventually(lambda: _caught_up(watch, worker), seconds=600, every=every)
        caught_up = time.monotonic() - healed
        watch.wrong += wrong_replicas(plan, edge, cloud)
    return Report(watch, writing, caught_up, effects(plan, cloud))


def _write_all(plan: Plan, edge: EmbeddedServer, sample: Any, every: float, tell: Any) -> None:
    writers = []
    for number in range(plan.writers):
        writers.append(spawn.Process(target=write, args=(edge.url, plan, number), daemon=True))
        writers[-1].start()
    while any(writer.is_alive() for writer in writers):
        sample()
        tell()
        writers[0].join(every)
    assert [writer.exitcode for writer in writers] == [0] * plan.writers


def _caught_up(watch: Watch, worker: CloudWorker) -> bool:
    watch.sample(worker, is_cut=False)
    return bool(worker.lag()["scopes_waiting"] == 0)


def wrong_replicas(plan: Plan, edge: EmbeddedServer, cloud: EmbeddedServer) -> list[str]:
    """Return what is not as it must be: edge and cloud equal, at the last version, nothing waiting."""
    wrong = []
    with edge.client() as client, cloud.client() as far, RedisCloudStore(far, namespace=NAMESPACE) as store:
        for scope in map(plan.name, range(plan.scopes)):
            sync = EdgeSynchronizer(client, scope=scope, namespace=NAMESPACE)
            ours, theirs = sync.get_local_state(), store.get(scope)
            if ours is None or ours != theirs or not ours.verify():
                wrong.append(f"{scope}: {ours} here and {theirs} in the cloud")
            elif ours.version != plan.each or ours.data != _last(plan) or not sync.is_synced:
                wrong.append(f"{scope}: {ours}, {sync.summary()}")
    return wrong


def _last(plan: Plan) -> dict[str, Any]:
    return {**PAYLOAD, "n": plan.each - 1, "by": "replaced"}


def effects(plan: Plan, cloud: EmbeddedServer) -> int:
    """Return how many changes took effect in the cloud; each scope's must be its newest, each once and in order."""
    total = 0
    with cloud.client() as far, RedisCloudStore(far, namespace=NAMESPACE) as store:
        for scope in map(plan.name, range(plan.scopes)):
            versions = [event.version for event in store.sync_history(scope, MAX_HISTORY) if event.success]
            assert versions == sorted(set(versions)), f"{scope}: {versions}"
            assert versions[-1] == plan.each, f"{scope}: {versions}"
            total += len(versions)
    return total
