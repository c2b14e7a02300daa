"""The instructions for one process of the demo site: a line of JSON on its standard input, which then stays open.

End of file on standard input means that the parent process has ended. The URL may hold a
password, so it is not passed as an argument, where every user of the machine could read it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from edge_redis._site.replay import Pace


class Role(StrEnum):
    """The task of a process."""

    EDGE = "edge"
    REPLAY = "replay"
    CLOUD = "cloud"
    MONITOR = "monitor"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPlan:
    """Everything that one process needs to know."""

    role: Role
    name: str
    """Name in the report; the node's id for an edge process."""
    url: str
    namespace: str
    run_id: str
    cache_size: int
    timeout_seconds: float
    """Heartbeat timeout; in recorded seconds when a recording is replayed."""
    interval_seconds: float
    """Time between readings (edge), or between checks of the cluster (monitor)."""
    cloud_url: str = ""
    """The cloud's server, for its worker; empty: ``url``."""
    recording: str = ""
    pace: Pace | None = None
    end_us: int = 0
    """Time of the recording's last reading, Unix microseconds."""

    def to_line(self) -> bytes:
        """Return the plan as one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Self:
        """Return the plan that a line of JSON holds."""
        fields = json.loads(line)
        pace = fields.pop("pace")
        return cls(**{**fields, "role": Role(fields["role"])}, pace=Pace(**pace) if pace else None)


def read_plan(descriptor: int) -> ProcessPlan | None:
    """Read one plan and not a byte more; return None when the parent ended before it wrote one."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(descriptor, 1)
        if not byte:
            return None
        line += byte
    return ProcessPlan.from_line(line)
