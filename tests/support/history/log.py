"""What every process of an experiment writes down of its own calls, so that it outlives a SIGKILL of the process.

One JSON line before a call (``invoke``) and one after it: ``ok`` with what was answered, ``fail``
where it is sure that nothing was written, ``unknown`` where nobody can say. A call without a
second line was cut off by a SIGKILL, and is unknown too. Times are of the machine's monotonic
clock, which all processes share and no nemesis moves.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOKEN = "by"
"""The field by which every write of data says which call it was."""


class Log:
    """The log of one life of a process. A line is with the kernel before the call begins, and before the next one."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def write(self, event: str, op: str, **facts: Any) -> None:
        self._file.write(json.dumps({"t": time.monotonic(), "e": event, "op": op, **facts}) + "\n")


@dataclass(slots=True)
class Call:
    """One call, of which the outcome may be unknown."""

    op: str
    end: int
    strategy: str
    scope: str
    kind: str
    data: Any
    invoked: float
    returned: float = float("inf")
    outcome: str = "unknown"
    answer: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


class Logs:
    """Reads what was added to the logs of a folder since the last time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[Path, int] = {}

    def _lines(self) -> Iterator[str]:
        for path in sorted(self._folder.glob("*.log")):
            with path.open("rb") as file:
                file.seek(self._places.get(path, 0))
                found = file.read()
            whole = found[: found.rfind(b"\n") + 1]  # a process that was killed may have left half a line
            self._places[path] = self._places.get(path, 0) + len(whole)
            yield from whole.decode().splitlines()

    def new_calls(self) -> list[Call]:
        """Return the calls begun since the last time, when nothing is under way."""
        calls: dict[str, Call] = {}
        for line in self._lines():
            facts = json.loads(line)
            event, op = facts["e"], facts["op"]
            if event == "invoke":
                calls[op] = Call(
                    op, facts["end"], facts["ns"], facts["scope"], facts["kind"], facts.get("data"), facts["t"]
                )
            else:
                calls[op].outcome, calls[op].returned, calls[op].answer = event, facts["t"], facts
            calls[op].lines.append(line)
        return sorted(calls.values(), key=lambda call: call.invoked)
