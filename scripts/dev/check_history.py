#!/usr/bin/env python3
"""Check the history of a service on real servers and real processes while everything is killed and cut.

    python scripts/dev/check_history.py --service cache [--service health ...] [--seconds N] [--seed N] [--plant NAME]
    python scripts/dev/check_history.py --service sync [--strategy NAME ...] [--scopes N] ...

sync: four edge processes on each of two edge servers, an editor in the cloud and three workers make and carry random
updates, deltas and deletes of 200 scopes, through a TCP proxy, while a nemesis kills processes and servers, stops
processes, drops, delays and cuts connections in the middle of replies, flushes scripts, skews clocks and wipes edges.
Every few seconds all is healed and what happened is checked (tests/support/history/rules.py and fields.py say what
must hold). A violation comes with the scope's full timeline.

cache, health, metrics: seven processes use the service on one server through the proxy; four send heartbeats and three
watch, for health. The same nemesis works, but for clocks and wipes. What must hold is said at the top of
cache_rules.py, health_rules.py and metrics_rules.py in tests/support/service_history.

Exits with 1 at the first violation. ``--plant`` plants one of the known mistakes, which must be found. Needs
``edge-redis[embedded]`` and the tests of this checkout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from edge_redis import ConflictStrategy
from support.history.actors import Plan
from support.history.experiment import Experiment, save
from support.service_history.calls import plan_services
from support.service_history.experiment import SERVICES, ServiceExperiment
from support.service_history.plants import SERVICE_PLANTS, ServicePlant
from support.sync_plants import PLANTS, Plant


def run_service(service: str, arguments: argparse.Namespace) -> bool:
    """Run an experiment with a service and print its report; return whether all holds."""
    folder = Path(tempfile.mkdtemp(prefix="edge-redis-history-", dir=arguments.folder))
    planted = SERVICE_PLANTS.get(arguments.plant) or ServicePlant(service)
    plan = plan_services(folder, arguments.seed, plant=planted.plant, near_bug=planted.near_bug, pause=arguments.pause)

    def say(line: str) -> None:
        print(f"{service}: {line}", flush=True)

    report = ServiceExperiment(plan, service, say).run(arguments.seconds, arguments.round)
    for line in (*report.lines(), *report.violations[:10]):
        print(line)
    print(f"seed {arguments.seed}" + (f"; logs in {folder}" if report.violations else ""), flush=True)
    if not report.violations and not arguments.keep:
        _remove(folder)
    return not report.violations


def run(strategies: tuple[ConflictStrategy, ...], arguments: argparse.Namespace) -> bool:
    """Run one experiment and print its report; return whether all holds."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="edge-redis-history-", dir=arguments.folder))
    plant = PLANTS[arguments.plant] if arguments.plant else Plant()
    plan = Plan(
        strategies,
        arguments.scopes,
        plant,
        folder,
        arguments.pause,
        arguments.seed,
        mixed=arguments.mixed,
        small_splices=arguments.small_splices,
    )

    def say(line: str) -> None:
        print(f"{'+'.join(strategies)}: {line}", flush=True)

    report = Experiment(plan, wipes=not arguments.no_wipes, say=say).run(arguments.seconds, arguments.round)
    for line in report.lines():
        print(line)
    for violation in report.violations[:10]:
        print(violation)
    saved = save(folder, report.violations)
    print(f"seed {arguments.seed}, {time.monotonic() - began:.0f} s in all" + (f"; see {folder}" if saved else ""))
    print(flush=True)
    if not saved and not arguments.keep:
        _remove(folder)
    return not report.violations


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--service", choices=["sync", *SERVICES], action="append", help="default: sync")
    parser.add_argument("--seconds", type=float, default=60, help="of load a service or strategy (default: 60)")
    parser.add_argument("--round", type=float, default=10, help="seconds of load between two checks (default: 10)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plant", choices=[*PLANTS, *SERVICE_PLANTS], help="a mistake that must be found")
    parser.add_argument("--pause", type=float, default=0.02, help="mean seconds between a process's calls")
    parser.add_argument("--folder", help="where the servers' data and the logs go (default: the temporary folder)")
    parser.add_argument("--keep", action="store_true", help="keep them also where all holds")
    sync = parser.add_argument_group("sync")
    sync.add_argument("--strategy", type=ConflictStrategy, choices=list(ConflictStrategy), action="append")
    sync.add_argument("--together", action="store_true", help="all strategies at once, on one fleet")
    sync.add_argument("--scopes", type=int, default=200)
    sync.add_argument("--mixed", action="store_true", help="some processes have none of what is optional on the link")
    sync.add_argument("--small-splices", action="store_true", help="splice the bodies, which are small")
    sync.add_argument("--no-wipes", action="store_true", help="never take everything from an edge")
    arguments = parser.parse_args()
    planted = SERVICE_PLANTS.get(arguments.plant)
    services = [planted.service] if planted else arguments.service or ["sync"]
    held = [run_service(service, arguments) for service in services if service != "sync"]
    if "sync" in services:
        strategies = tuple(arguments.strategy or ConflictStrategy)
        groups = [strategies] if arguments.together else [(strategy,) for strategy in strategies]
        held += [run(group, arguments) for group in groups]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
