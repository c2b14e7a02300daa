#!/usr/bin/env python3
"""Run the deterministic simulation of syncing for longer than the tests do.

    python scripts/dev/simulate_sync.py [--seeds N] [--start N] [--strategy NAME] [--scenario NAME] [--ahead SECONDS]
                                    [--faults N]

For each strategy: every order of the steps of the small scenarios with every fault at every step (of everybody together
without faults, unless --faults is given), how many there are,
and ``--seeds`` random runs of the larger one (two edges an hour apart, two writers, a worker and its successor each,
and an edit of the cloud, with up to four faults). Exits with 1 where an invariant does not hold, and says which
choices lead there: ``support.simulation.replay`` runs just these again. Needs ``edge-redis[fake]`` and the tests of
this checkout.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from edge_redis import ConflictStrategy
from support.exploration import survey
from support.simulation import seeds
from support.sync_scenarios import LARGER, SMALLEST
from support.sync_world import crowd

SCENARIOS = {make.__name__: make for make in (*SMALLEST, *LARGER)}


def explore(strategy: ConflictStrategy, name: str, ahead: float, faults: int | None) -> None:
    """Go through one scenario to its end; print how much that was."""
    began = time.process_time()
    make = SCENARIOS[name]
    scenario = make(strategy, ahead) if faults is None else make(strategy, ahead, faults)
    found = survey(scenario, limit=4_000_000)
    print(f"{strategy.value}: {name}: {found} hold; {time.process_time() - began:.1f} CPU s", flush=True)


def seed(strategy: ConflictStrategy, start: int, count: int) -> None:
    """Run the crowd by seeds."""
    began = time.process_time()
    seeds(crowd(strategy), count=count, start=start)
    spent = time.process_time() - began
    print(f"{strategy.value}: crowd: {count} seeds from {start} hold; {spent:.1f} CPU s", flush=True)


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000, help="random runs a strategy (default: 1000)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--strategy", type=ConflictStrategy, choices=list(ConflictStrategy), help="this one alone")
    parser.add_argument("--scenario", choices=[*SCENARIOS, "none"], help="go through this one alone, or through none")
    parser.add_argument(
        "--ahead", type=float, default=0, help="seconds by which the cloud's clock is ahead (default: 0)"
    )
    parser.add_argument("--faults", type=int, help="the most faults a run (default: each scenario's own)")
    arguments = parser.parse_args()
    logging.getLogger("edge_redis").setLevel(logging.CRITICAL)
    names = {None: [*SCENARIOS], "none": []}.get(arguments.scenario, [arguments.scenario])
    try:
        for strategy in [arguments.strategy] if arguments.strategy else ConflictStrategy:
            for name in names:
                explore(strategy, name, arguments.ahead, arguments.faults)
            seed(strategy, arguments.start, arguments.seeds)
    except AssertionError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
