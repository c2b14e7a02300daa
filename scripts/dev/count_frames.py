#!/usr/bin/env python3
"""Count the Python frames of the package that one call passes through.

Counted are the frames of ``edge_redis``, each once: a coroutine that is resumed is the same frame.
The connection layer (``edge_redis/_io``) is left out, since its work is the client library's. Every
call is made before it is counted, so that one-time set-up does not show: three times, since a script
that the server does not know yet has the layout checked again by the call after it.

    .venv/bin/python scripts/dev/count_frames.py            # a table
    .venv/bin/python scripts/dev/count_frames.py --list get # the frames of one call, in order
    .venv/bin/python scripts/dev/count_frames.py --check    # exit status 1 where a bound is exceeded
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import fakeredis

import edge_redis
from edge_redis import (
    CloudWorker,
    EdgeCache,
    EdgeMetrics,
    EdgeNode,
    EdgeSynchronizer,
    HealthMonitor,
    InvocationRecord,
    RedisCloudStore,
)

PACKAGE = str(Path(edge_redis.__file__).parent)
CONNECTION_LAYER = (f"{PACKAGE}/_io/", f"{PACKAGE}/runtime/")

BOUNDS = {
    "put": 26,
    "get": 12,
    "near hit": 2,
    "update_local": 32,
    "heartbeat": 10,
    "check_node": 20,
    "run_once": 130,
    "record": 3,
}


def frames_of(call: Callable[[], object]) -> list[str]:
    """Return the frames of the package that ``call`` enters, in the order of their first entry."""
    frames: dict[int, tuple[FrameType, str]] = {}  # holds each frame, so that no id is used twice

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(PACKAGE) and not name.startswith(CONNECTION_LAYER):
            where = f"{name[len(PACKAGE) + 1 :]}:{frame.f_code.co_qualname}"
            frames.setdefault(id(frame), (frame, where))

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return [where for _, where in frames.values()]


def calls() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Return each measured call by its name, with what prepares it."""
    client = fakeredis.FakeRedis()
    cache, near = EdgeCache(client), EdgeCache(client, namespace="near", near_cache=True)
    monitor, metrics = HealthMonitor(client), EdgeMetrics(client, flush_interval=60.0)
    edge = EdgeSynchronizer(client, scope="s")
    worker = CloudWorker(client, RedisCloudStore(fakeredis.FakeRedis()))
    monitor.register(EdgeNode("n", "n"))
    record = InvocationRecord("f", "n", 1.0, success=True)

    def warm_near() -> None:
        near.put("k", 1)
        deadline = time.monotonic() + 10
        while not near.stats()["near_size"] and time.monotonic() < deadline:
            near.get("k")  # kept, unless the cache does not listen yet, or hears of the put only now
            time.sleep(0.05)

    def nothing() -> None: ...

    return {
        "put": (nothing, lambda: cache.put("k", 1)),
        "get": (nothing, lambda: cache.get("k")),
        "near hit": (warm_near, lambda: near.get("k")),
        "update_local": (nothing, lambda: edge.update_local({"a": 1})),
        "heartbeat": (nothing, lambda: monitor.heartbeat("n")),
        "check_node": (nothing, lambda: monitor.check_node("n")),
        "run_once": (lambda: edge.update_local({"a": 2}), worker.run_once),
        "record": (nothing, lambda: metrics.record(record)),
    }


def main() -> int:
    """Print the counts; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", metavar="CALL", choices=BOUNDS, help="list the frames of one call")
    parser.add_argument("--check", action="store_true", help="fail where a bound is exceeded")
    options = parser.parse_args()
    exceeded = False
    for name, (prepare, call) in calls().items():
        if options.list not in (None, name):
            continue
        for _ in range(3):
            prepare()
            call()
        prepare()
        found = frames_of(call)
        exceeded |= len(found) > BOUNDS[name]
        print(f"{name:14} {len(found):4} frames in {len({each.split(':')[0] for each in found}):3} files", end="")
        print(f"   at most {BOUNDS[name]}")
        if options.list:
            print(*found, sep="\n")
    return int(options.check and exceeded)


if __name__ == "__main__":
    sys.exit(main())
