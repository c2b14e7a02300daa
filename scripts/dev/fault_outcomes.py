#!/usr/bin/env python3
"""Run every operation of the services, in both APIs, during every fault, and write docs/reference/fault-outcomes.md.

    scripts/test --faults           # write the page
    scripts/test --faults --check   # exit status 1 where the page says something else
    scripts/test --faults --mutate  # take away the error handlers, one at a time
    scripts/test --faults --only "OOM,SIGSTOP" --service EdgeCache     # some cells; no page
    scripts/test --faults --server /usr/bin/redis-server --check

Exit status 1 also where an operation does not behave as stated: another error, a longer wait, a reply of another
caller, something half written, an acknowledged write lost, or a service that does not work after the fault. Takes some
minutes, most of them waiting for time-outs; needs a real server, openssl, libfaketime (Debian: ``apt-get install
libfaketime``) and the tests of this checkout.
"""

from __future__ import annotations

import argparse
import logging
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from support.fault_matrix import APIS, Cell, Run
from support.fault_mutations import MUTATIONS, run_mutation
from support.server_faults import FAULTS, TIMEOUT_SECONDS, Fault, FaultySite
from support.service_operations import SERVICES, every_operation

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "fault-outcomes.md"
_FILES = 8192
"""Open files, of which each cell of the matrix has a few."""

INTRODUCTION = f"""# Outcomes of faults

<!-- Written by scripts/dev/fault_outcomes.py from a run. Do not edit. -->

What each operation does while the server, or the link to it, fails. The tables are written by a run of every
operation, blocking and asyncio, during every fault: `scripts/test --faults`; with `--check` it fails where a table says
something else. Errors and limits of the first table are those in the code of the run, which fails where a call breaks
one. A cell says how a call ends that begins during the fault, on a service that was in use before. `ok`: it
returns what it returns without the fault. `raises`: it raises the error that the first table names for the fault, and
no other. Where the data are lost, an operation that names some of them is refused as it always is.

The run also shows for each cell that

- the call takes no longer than stated, with `connect(..., socket_timeout={TIMEOUT_SECONDS:g},
  socket_connect_timeout={TIMEOUT_SECONDS:g})`; attempts end after six seconds and the time-out under way,
  so that with the default time-outs of five seconds a call may take eleven;
- what it changes is wholly there afterwards, or not at all. It is there if the call returned, and not there if the
  error says that nothing was written. `flush` keeps what it could not write, and writes it later;
- no reply is that of another call;
- the same service works again once the fault has ended.

## Faults
"""

NOTES = {
    'EdgeCache(on_error="miss")': "`ok` means here: it returns. Reads miss, functions compute, and writes are dropped"
    " where the server is unavailable.",
    "EdgeMetrics": "`record`, `record_many` and `track` write to a buffer.",
    "RedisCloudStore": "Where a reply is lost, its changes are given again by `read_accepted` and `follow_accepted`"
    " after\n`claim_idle_seconds`.",
    "CloudWorker": "The edge and the cloud are on the server that fails. What a round did not carry, a later one"
    " carries.",
    "CloudWorker(cloud by the link)": "Faults of the link concern the cloud alone: the worker reaches the edge.",
    "CloudWorker(edge by the link)": "Faults of the link concern the edge alone: the worker reaches the cloud.",
    "NamespaceWorkers": "As CloudWorker.",
}


def rows_of(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def describe_faults() -> str:
    """Return the table of faults."""
    rows = []
    for fault in FAULTS:
        error = f"`{fault.error.__name__}`" if fault.error else "none"
        data = "" if fault.keeps_data else "; its data are lost, and only what is written afterwards is there"
        rows.append([fault.name, fault.description + data, error, f"{fault.seconds:g} s"])
    return rows_of(["fault", "what the run does", "error", "at most"], rows)


def describe_service(name: str, cells: dict[tuple[str, str, str], list[Cell]]) -> str:
    """Return the table of a service. Faults whose cells are the same share a column."""
    operations = SERVICES[name].operations
    columns: dict[tuple[str, ...], list[str]] = {}
    for fault in FAULTS:
        outcomes = tuple(describe_cell(cells[fault.name, name, operation]) for operation in operations)
        columns.setdefault(outcomes, []).append(fault.name)
    header = ["operation", *(", ".join(names) for names in columns.values())]
    rows = [[f"`{operation}`", *(column[at] for column in columns)] for at, operation in enumerate(operations)]
    note = f"{NOTES[name]}\n\n" if name in NOTES else ""
    return f"\n## {name}\n\n{note}{rows_of(header, rows)}"


def describe_cell(cells: list[Cell]) -> str:
    """Return the outcome of an operation, or of each API if they differ."""
    outcomes = [
        "ok" if cell.error is None else "raises" for cell in sorted(cells, key=lambda cell: APIS.index(cell.api))
    ]
    return outcomes[0] if len(set(outcomes)) == 1 else " / ".join(outcomes)


def describe_mutations() -> str:
    """Return the table of the handlers, each with a fault whose cells are wrong without it."""
    rows = [[each.handler, each.fault] for each in MUTATIONS]
    text = """
## Handlers

Each handler of `edge_redis/_io/error_mapping.py`, and a fault during which operations raise another error if it is
taken away (`scripts/test --faults --mutate`). Where a code has a class of redis-py, both are taken away: which of the
two an error has depends on its release. Unit tests, not these faults, show the handlers of `OSError`, `TimeoutError`,
`RedisClusterException` and of a full pool.

"""
    return text + rows_of(["handler", "fault"], rows)


def make_page(found: list[Cell]) -> str:
    """Return the page."""
    cells: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in found:
        cells.setdefault((cell.fault.name, cell.service, cell.operation), []).append(cell)
    tables = "".join(describe_service(name, cells) for name in SERVICES)
    return f"{INTRODUCTION}\n{describe_faults()}{tables}{describe_mutations()}"


def run(faults: list[Fault], service: str, server: Any) -> tuple[list[Cell], int]:
    """Return the cells, and how many are not as stated; print those."""
    operations = [each for each in every_operation() if not service or each[0] == service]
    found, wrong = [], 0
    began = time.monotonic()
    with FaultySite(server) as site:
        matrix = Run(site, operations)
        for fault in [None, *faults]:
            cells = matrix.perform_without() if fault is None else matrix.perform([fault])
            found += cells
            slowest = max(cell.seconds for cell in cells)
            raised = sum(cell.error is not None for cell in cells)
            name = fault.name if fault else "none"
            print(f"{name:16} {len(cells):4} cells, {raised:4} raise, slowest {slowest:.2f} s", flush=True)
            for cell in cells:
                wrong += bool(cell.problems)
                for problem in cell.problems:
                    print(f"  {cell}: {problem[:600]}", flush=True)
    print(f"{len(found)} cells, {wrong} not as stated, {time.monotonic() - began:.0f} s")
    return found, wrong


def mutate(server: Any) -> int:
    """Take the handlers away, one at a time; return how many change no cell."""
    needless = 0
    with FaultySite(server) as site:
        for mutation in MUTATIONS:
            wrong = run_mutation(site, mutation)
            needless += not wrong
            example = f"; {wrong[0]}" if wrong else ""
            print(f"without {mutation.handler}: {len(wrong)} cells are wrong{example}", flush=True)
    return needless


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the page instead of writing it")
    parser.add_argument("--mutate", action="store_true", help="take away the error handlers instead")
    parser.add_argument("--only", default="", help="names of faults, separated by commas")
    parser.add_argument("--service", default="", help="one service of the table")
    parser.add_argument("--server", type=Path, default=None, help="a server program, instead of the embedded one")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, max(_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    if asked.mutate:
        return 1 if mutate(asked.server) else 0
    names = asked.only.split(",") if asked.only else [fault.name for fault in FAULTS]
    cells, wrong = run([fault for fault in FAULTS if fault.name in names], asked.service, asked.server)
    if asked.only or asked.service:
        return 1 if wrong else 0
    page = make_page(cells)
    if asked.check:
        if page != PAGE.read_text():
            print(f"{PAGE.relative_to(ROOT)} says something else: run {Path(__file__).relative_to(ROOT)}")
            wrong += 1
    else:
        PAGE.write_text(page)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
