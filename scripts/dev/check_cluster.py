#!/usr/bin/env python3
"""Run all services on a cluster of three masters while masters die and slots move, and check the histories.

    python scripts/dev/check_cluster.py [--minutes 10] [--period 60] [--seed N] [--pause SECONDS]

Eleven processes use the cache, metrics, health and synchronization at once. The cluster holds all but the edge's side,
which is a server of its own. In each period a master is killed, its replica takes over, and it comes back as a replica.
A process is killed, and a slot of the cache, of metrics and of the cloud moves to another master, key by key. Then
the histories of all calls are checked: every acknowledged update is in the cloud, nothing is counted twice, cache and
health are right, and calls failed only with errors of this package, during a harm or within 5 s after it.

Replication is asynchronous: what a master acknowledged in its last two seconds may be lost, and is excused. Updates of
scopes are not, since the edge keeps them. Exits with 1 where something does not hold. Needs
``edge-redis[embedded]`` and the tests of this checkout.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.service_history.calls import plan_services
from support.service_history.cluster_experiment import ClusterExperiment


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of load (default: 10)")
    parser.add_argument(
        "--period", type=float, default=60.0, help="seconds between two deaths of a master (default: 60)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.05, help="mean seconds between a process's calls")
    arguments = parser.parse_args()
    logging.getLogger("edge_redis").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="edge-redis-cluster-"))
    plan = plan_services(folder, arguments.seed, pause=arguments.pause, is_cluster=True)
    report = ClusterExperiment(plan, lambda line: print(line, flush=True)).run(60 * arguments.minutes, arguments.period)
    for line in (*report.lines(), *report.violations[:20]):
        print(line)
    if report.violations:
        print(f"logs in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
