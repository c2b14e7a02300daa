"""What a process pays before its first call: imports, the command's help, and the threads of many services."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Final

import redis

from _alternation import Measurement
from edge_redis import EdgeCache

_TURNS: Final = 15
CACHES: Final = 500


def seconds_of(words: Sequence[str]) -> float:
    """Return how long a command took."""
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - began


def startup(turns: int = _TURNS) -> Iterator[Measurement]:
    """Measure the import of the package beside that of redis-py, and the help of the command."""
    python = sys.executable
    sides = ([python, "-c", "import edge_redis"], [python, "-c", "import redis"])
    times: list[list[float]] = [[], []]
    helps = []
    for turn in range(turns + 1):
        taken = [seconds_of(words) for words in sides]
        help_taken = seconds_of([python, "-m", "edge_redis", "--help"])
        if turn:  # the first has the files read
            for found, one in zip(times, taken, strict=True):
                found.append(1000 * one)
            helps.append(1000 * help_taken)
    ours, theirs = times
    yield Measurement("a process that imports edge_redis : one that imports redis", ours, theirs, 1.25, "ms")
    yield Measurement("edge-redis --help", helps, [], 250.0, "ms")


def footprint(client: redis.Redis) -> Iterator[Measurement]:
    """Count the threads and the server's connections of many caches, with near caches."""
    threads, clients = threading.active_count(), len(client.client_list())
    with ExitStack() as stack:
        for number in range(CACHES):
            cache = stack.enter_context(EdgeCache(client, namespace=f"cache-{number}", near_cache=True))
            cache.put("k", 1)
            cache.get("k")
        added = threading.active_count() - threads
        connections = len(client.client_list()) - clients
    yield Measurement(f"threads of {CACHES} caches with near caches", [added], [], 4, "threads")
    yield Measurement(f"connections of {CACHES} caches with near caches", [connections], [], 2, "connections")
