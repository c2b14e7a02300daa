#!/usr/bin/env python3
"""Run the deterministic simulation of syncing for longer than the tests do.

    python scripts/simulate_sync.py [--seeds N] [--start N] [--strategy NAME]

For each strategy: every order of the steps of the small scenarios with every fault at every step, their number
stated, and ``--seeds`` random runs of the larger one (two edges an hour apart, two writers, a worker and its heir
each, and an edit of the cloud, with up to four faults). Exits with 1 where an invariant does not hold, and says
which choices lead there. Needs ``edge-redis[fake]`` and the tests of this checkout.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from edge_redis import ConflictStrategy
from support.simulation import explore, seeds
from support.sync_world import crowd, puller_and_editor, writer_and_worker


def run(strategy: ConflictStrategy, start: int, count: int) -> None:
    """Run one strategy's scenarios; print what was run."""
    began = time.monotonic()
    small = {make.__name__: explore(make(strategy)) for make in (writer_and_worker, puller_and_editor)}
    for name, runs in small.items():
        print(f"{strategy.value}: {name}: all {runs} runs hold", flush=True)
    seeds(crowd(strategy), count=count, start=start)
    print(f"{strategy.value}: crowd: {count} seeds from {start} hold; {time.monotonic() - began:.0f} s", flush=True)


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000, help="random runs a strategy (default: 1000)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--strategy", type=ConflictStrategy, choices=list(ConflictStrategy), help="this one alone")
    arguments = parser.parse_args()
    logging.getLogger("edge_redis").setLevel(logging.CRITICAL)
    try:
        for strategy in [arguments.strategy] if arguments.strategy else ConflictStrategy:
            run(strategy, arguments.start, arguments.seeds)
    except AssertionError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
