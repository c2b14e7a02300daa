"""What a process of the main job is told: one line of JSON on its standard input, which then stays open.

Its end of file says that the process that started it is gone. A URL may hold a password, which
is why it is not among the arguments, where every user of the machine can read it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from edge_redis._site.replay import Pace


class Role(StrEnum):
    """What a process is for."""

    EDGE = "edge"
    REPLAY = "replay"
    CLOUD = "cloud"
    MONITOR = "monitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a process needs to know."""

    role: Role
    name: str
    """Of an edge process: the id of its node."""
    url: str
    namespace: str
    run: str
    cache_size: int
    timeout_seconds: float
    """Of heartbeats; recorded seconds where a recording is replayed."""
    interval_seconds: float
    """Between readings, or between checks of the cluster."""
    recording: str = ""
    pace: Pace | None = None
    end_us: int = 0
    """Last moment of the recording."""

    def to_line(self) -> bytes:
        """Return the plan as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return the plan that a line holds."""
        facts = json.loads(line)
        pace = facts.pop("pace")
        return cls(**{**facts, "role": Role(facts["role"])}, pace=Pace(**pace) if pace else None)


def read_plan(descriptor: int) -> Plan | None:
    """Read the plan, and not a byte more; None where the starting process is gone before it gave one."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            return None
        line += byte
    return Plan.from_line(line)
