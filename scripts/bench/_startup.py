"""What a process pays before its first call: imports, the command's help, and the threads of many services."""

from __future__ import annotations

import os
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
_SETTLE_SECONDS: Final = 2.5
"""After which threads and connections that were only of use in the beginning have ended."""

CACHES: Final = 500


def cpu_of(words: Sequence[str]) -> float:
    """Return the milliseconds of CPU that a command took: what else the machine does is not in it."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise RuntimeError(f"{words} failed")
    return 1000 * (used.ru_utime + used.ru_stime)


def startup(turns: int = _TURNS) -> Iterator[Measurement]:
    """Measure the import of the package beside that of redis-py, and the help of the command."""
    python = sys.executable
    sides = (
        [python, "-c", "import edge_redis"],
        [python, "-c", "from edge_redis import EdgeCache"],
        [python, "-c", "import redis"],
        [python, "-m", "edge_redis", "--help"],
    )
    turns_of_all = [[cpu_of(words) for words in sides] for _ in range(turns + 1)][1:]  # the first has the files read
    bare, cache, plain, help_of_command = map(list, zip(*turns_of_all, strict=True))
    yield Measurement("CPU of import edge_redis : import redis", bare, plain, 1.25, "ms")
    yield Measurement("CPU of from edge_redis import EdgeCache : import redis", cache, plain, None, "ms")
    yield Measurement("CPU of edge-redis --help", help_of_command, [], 250.0, "ms")


def footprint(client: redis.Redis) -> Iterator[Measurement]:
    """Count the threads and the server's connections of many caches, with near caches."""
    threads = threading.active_count()
    with ExitStack() as stack:
        for number in range(CACHES):
            cache = stack.enter_context(EdgeCache(client, namespace=f"cache-{number}", near_cache=True))
            cache.put("k", 1)
            cache.get("k")
        time.sleep(_SETTLE_SECONDS)
        added = threading.active_count() - threads
        connections = sum(int(each["sub"]) for each in client.client_list())
    yield Measurement(f"threads of {CACHES} caches with near caches", [added], [], 4, "threads")
    yield Measurement(f"listening connections of {CACHES} caches with near caches", [connections], [], 1, "connections")
