"""What EdgeCache costs the server: its CPU for a hit, and its memory for an entry."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import redis

from _alternation import BODY, KEYS, VALUE, Measurement, zipf
from _cache_near import NEAR, gather
from edge_redis import EdgeCache, embedded
from edge_redis.embedded import EmbeddedServer

PROCESSES: Final = 4
TURNS: Final = 4
ENTRIES: Final = 20_000
BYTES_BAR: Final = 200
MODES: Final = ("GET", "buffered", "exact mode", "near cache")
_BARS: Final = {"buffered": 1.25}


def cpu(server: EmbeddedServer, hits: int) -> Iterator[Measurement]:
    """Measure the server's own CPU time for a hit, over so many hits of several unpipelined processes."""
    with server.client() as client:
        client.flushall()
        client.mset({f"plain:{number}": BODY for number in range(KEYS)})
        with ExitStack() as stack:
            ends = [stack.enter_context(_worker(server.url)) for _ in range(PROCESSES)]
            for end in ends:
                end.recv()
            each = hits // PROCESSES // TURNS
            for mode in MODES:
                _cost(client, ends, mode, KEYS)  # warms up, and fills the near caches
            spent: dict[str, list[float]] = {mode: [] for mode in MODES}
            for _ in range(TURNS):
                for mode in MODES:
                    spent[mode].append(_cost(client, ends, mode, each))
            for end in ends:
                end.send(None)
    for mode in MODES[1:]:
        what = f"server CPU of a hit, {mode} : GET ({hits:,} hits, {PROCESSES} processes)"
        yield Measurement(what, spent[mode], spent["GET"], _BARS.get(mode))


def _cost(client: redis.Redis, ends: list[Connection], mode: str, each: int) -> float:
    before = used(client)
    for end in ends:
        end.send((mode, each))
    for end in ends:
        end.recv()
    return (used(client) - before) / (each * len(ends)) * 1e6


def used(client: redis.Redis) -> float:
    """Return the seconds of CPU that the server has used."""
    seconds = client.info("cpu")
    return float(seconds["used_cpu_user"]) + float(seconds["used_cpu_sys"])


class _worker:  # noqa: N801 -- it is called like a function
    """A process that reads on command, and the pipe that commands it."""

    def __init__(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(url, theirs), daemon=True)

    def __enter__(self) -> Connection:
        self._process.start()
        return self._end

    def __exit__(self, *_: object) -> None:
        self._end.close()
        self._process.join()


def _work(url: str, end: Connection) -> None:
    with redis.Redis.from_url(url) as client, ExitStack() as stack:
        kept = [
            stack.enter_context(cache)
            for cache in (
                EdgeCache(client, KEYS, namespace="buffered"),
                EdgeCache(client, KEYS, namespace="exact", flush_every=1),
                EdgeCache(client, KEYS, namespace="near", near_cache=NEAR),
            )
        ]
        for cache in kept:
            cache.put_many({str(number): VALUE for number in range(KEYS)}, 3600)
        reads = dict(
            zip(MODES, [lambda name: client.get(f"plain:{name}"), *(cache.get for cache in kept)], strict=True)
        )
        end.send("ready")
        while (order := end.recv()) is not None:
            mode, hits = order
            _read(reads[mode], hits, kept[2] if mode == MODES[3] else None)
            for cache in kept:
                cache.flush()  # what the counts cost belongs to it
            end.send("done")


def _read(read: Callable[[str], object], hits: int, near: EdgeCache | None) -> None:
    if near is not None:
        gather(near)
    for name in zipf(hits):
        read(name)


def memory() -> Iterator[Measurement]:
    """Measure the bytes that an entry takes beyond those of a plain key with a TTL; the key has 20 bytes."""
    yield _memory(None)
    path = shutil.which("redis-server")
    if path is not None:
        yield _memory(Path(path))


def _memory(program: Path | None) -> Measurement:
    names = [f"key:{number:016}" for number in range(ENTRIES)]
    server = embedded.start(prefer=program, password="", config={"appendonly": "no", "slowlog-log-slower-than": "-1"})
    try:
        with server.client() as client, EdgeCache(client, ENTRIES, namespace="memory") as cache:

            def put_plain(some: list[str]) -> None:
                with client.pipeline(transaction=False) as pipeline:
                    for name in some:
                        pipeline.set(name, BODY, ex=3600)
                    pipeline.execute()

            def put(some: list[str]) -> None:
                cache.put_many(dict.fromkeys(some, VALUE), 3600)

            for warm_up in (put_plain, put):  # some 0.5 MB are taken once, whatever the number of entries
                _bytes_of_entry(client, warm_up, names)
            plain, ours = (_bytes_of_entry(client, fill, names) for fill in (put_plain, put))
            about = f"{server.kind} {server.version}, {client.info('memory')['mem_allocator'].partition('-')[0]}"
    finally:
        server.stop()
    return Measurement(f"bytes of an entry beyond SET EX ({about})", [ours - plain], [], BYTES_BAR, "B")


def _bytes_of_entry(client: redis.Redis, put: Callable[[list[str]], None], names: list[str]) -> float:
    """Return the bytes that an entry takes: ``put`` stores some."""
    client.execute_command("FLUSHALL", "SYNC")  # type: ignore[no-untyped-call]  # Valkey frees in the background otherwise
    empty = _bytes(client)
    for start in range(0, len(names), 1000):
        put(names[start : start + 1000])
    return (_bytes(client) - empty) / len(names)


def _bytes(client: redis.Redis) -> int:
    memory = client.info("memory")  # without the buffers of clients and of the append-only file, which come and go
    return int(memory["used_memory"]) - int(memory["mem_clients_normal"]) - int(memory["mem_aof_buffer"])
