#!/usr/bin/env python3
"""Generate docs/explanation/performance.md and its chart from scripts/bench/baseline.json; --check: compare only."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "bench"))

from _report import describe, describe_bar, describe_figure, draw_chart  # noqa: E402 -- after the path

BASELINE = ROOT / "scripts" / "bench" / "baseline.json"
PAGE = ROOT / "docs" / "explanation" / "performance.md"
CHART = ROOT / "docs" / "images" / "performance.svg"

HEAD = """\
# Performance

<!-- Generated from scripts/bench/baseline.json by scripts/dev/generate_performance.py. Do not edit. -->

Each figure compares this package with the least that its server and client need for the same work, or with another
library. `scripts/bench/run suite` measures all of them in one run, with `--short` in about three minutes of an idle
machine. Both sides of a ratio take turns, so that what else the machine does falls on both alike. A figure is the
median of the turns' own ratios, with a 95% confidence interval (bootstrap). For a ratio of rates more is better, for
every other figure less.

The bar is what the project wants to reach. Where the interval has the bar in it, the run does not decide.

![Each figure beside its bar](../images/performance.svg)
"""

FOOT = """
## Comparing runs

```bash
scripts/bench/run suite --short --json now.json --compare scripts/bench/baseline.json
```

names each figure that is worse than the stored one by more than its noise: the intervals do not overlap, and the
medians differ by more than 5%. With `--fail` the exit code is then 1. Ratios carry over to another machine better
than times do, but not exactly: keep a JSON of your own machine to compare with. CI measures nothing; a workflow runs
the suite each night, and keeps its table, JSON and chart.
"""


def verdict(row: dict[str, Any]) -> str:
    """Return whether a row reaches its bar."""
    if row["bar"] is None:
        return ""
    if row["low"] <= row["bar"] <= row["high"] and row["low"] != row["high"]:
        return "undecided"
    return "yes" if row["is_reached"] else "no"


def table(run: dict[str, Any]) -> str:
    """Return the table of a run."""
    lines = [
        "| ours : the limit | ours | the limit | figure | interval | bar | reached |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in run["measurements"]:
        unit = row["unit"]
        ours = describe(row["ours"], unit) if row["theirs"] is not None else ""
        interval = f"{row['low']:,.2f} to {row['high']:,.2f}" if row["low"] != row["high"] else ""
        cells = [
            row["name"],
            ours,
            describe(row["theirs"], unit),
            describe_figure(row),
            interval,
            describe_bar(row),
            verdict(row),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def about(run: dict[str, Any]) -> str:
    """Return what a run was made on."""
    machine, versions = run["machine"], run["versions"]
    peers = ", ".join(
        f"{name} {version}" for name, version in versions.items() if name not in {"python", "server", "hiredis"}
    )
    hiredis = f"hiredis {versions['hiredis']}" if versions["hiredis"] else "without hiredis"
    reached = [verdict(row) for row in run["measurements"] if row["bar"] is not None]
    lines = [
        f"The {run['form']} form, {run['began_at'][:10]}, commit {run['commit'][:12]}: {machine['processor']},",
        f"{machine['cores']} cores shared by clients and servers, {machine['system']}, load average",
        f"{machine['load']} when it began. Python {versions['python']}, {versions['server']}, {hiredis}, {peers}.",
        f"Of {len(reached)} bars {reached.count('yes')} are reached, {reached.count('no')} are not, and",
        f"{reached.count('undecided')} are undecided.",
    ]
    if "remark" in run:
        lines += ["", run["remark"]]
    return "\n".join(lines)


def page(run: dict[str, Any]) -> str:
    """Return the page."""
    return f"{HEAD}\n## The stored run\n\n{about(run)}\n\n{table(run)}\n{FOOT}"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the files differ")
    options = parser.parse_args()
    run = json.loads(BASELINE.read_text())
    wanted = {PAGE: page(run), CHART: draw_chart(run["measurements"])}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if options.check:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what scripts/dev/generate_performance.py makes")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
