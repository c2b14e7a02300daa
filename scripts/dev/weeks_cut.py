#!/usr/bin/env python3
"""A week's cut: far more is written than the outboxes hold while the cloud is away, and then it comes back.

    python scripts/dev/weeks_cut.py [--updates N] [--scopes N] [--writers N]

An update a second for a week is 600,000. The cloud's server is killed; two processes write that many updates, deltas
and replacements mixed, to 50 scopes with the default settings (max_pending=100, max_history=1000), as fast as they
can, while a worker keeps trying; then the cloud's server is started again on its port. Every second or so it is
looked at: used_memory of both servers against a bound worked out before from the settings
(``tests/support/cut.py``, ``memory_bound``), the longest outbox, and whether ``status`` tells the truth of what waits
and for how long. In the end edge and cloud must be equal in data, version and checksum, nothing may wait, and each
change that reached the cloud must have taken effect once, in order.

Needs ``edge-redis[embedded]`` and the tests of this checkout. Exits with 1 where anything of that does not hold.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from edge_redis import embedded
from support.cut import MAX_PENDING, Plan, Report, Watch, run

MEGA = 1e6
EVERY_SECONDS = 1.0
TELL_SECONDS = 15.0


class Progress:
    """Prints what a watch has seen, now and then."""

    def __init__(self) -> None:
        self._at = 0.0

    def __call__(self, watch: Watch) -> None:
        """Print a line, if the last one was long ago."""
        if not self._at:
            print(f"the bound: {watch.bound / MEGA:.1f} MB beyond an empty server", flush=True)
        if time.monotonic() - self._at < TELL_SECONDS:
            return
        self._at = time.monotonic()
        print(
            f"  {watch.written:,} written, edge {watch.peak['edge'] / MEGA:.1f} MB at most,"
            f" longest outbox {watch.longest}, oldest change waits for {watch.oldest_seconds:.0f} s,"
            f" {watch.samples} samples",
            flush=True,
        )


def show(plan: Plan, report: Report) -> None:
    """Print what it came to."""
    watch, updates = report.watch, plan.each * plan.scopes
    rate = updates / report.writing_seconds
    print(f"{updates:,} updates in {report.writing_seconds:.1f} s, {rate:,.0f} a second, the cloud away")
    print(f"caught up in {report.catching_up_seconds:.2f} s; {report.effects:,} changes took effect in the cloud")
    for name, peak in watch.peak.items():
        print(f"{name}: {peak / MEGA:.2f} MB at most, {100 * peak / watch.bound:.0f}% of the bound")
    print(f"longest outbox: {watch.longest} (bound {MAX_PENDING}); {watch.samples} samples")
    for wrong in watch.wrong[:20]:
        print(f"WRONG: {wrong}")
    print(f"wrong: {len(watch.wrong)}")


def main() -> int:
    """Run it; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=600_000, help="in all (default: 600000)")
    parser.add_argument("--scopes", type=int, default=50, help="(default: 50)")
    parser.add_argument("--writers", type=int, default=2, help="processes that write (default: 2)")
    arguments = parser.parse_args()
    if not 1 <= arguments.writers <= arguments.scopes <= arguments.updates:
        parser.error("at least a writer, a scope for each, and an update for each scope")
    logging.getLogger("edge_redis").setLevel(logging.CRITICAL)
    plan = Plan(arguments.updates, arguments.scopes, arguments.writers)
    with embedded.start(appendfsync="no") as edge, embedded.start(appendfsync="no") as cloud:
        try:
            report = run(plan, edge, cloud, every=EVERY_SECONDS, tell=Progress())
        except AssertionError as error:
            print(f"WRONG: {error}")
            return 1
    show(plan, report)
    return 1 if report.watch.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
