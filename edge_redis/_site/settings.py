"""What the main job is asked to do. Times are in seconds."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge_redis._core import validation
from edge_redis._core.keys import namespace_name
from edge_redis.errors import InvalidArgumentError

MAX_NODES: Final = 200
"""Processes started at most: a mistyped number must not bring the machine down."""


def _new_namespace() -> str:
    return f"up-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything `edge-redis up` can be told."""

    url: str | None = None
    """A server that runs already; None: one is started, and ends with the job."""
    data_dir: Path | None = None
    """Where the started server keeps its data; None: a private folder, removed at the end."""
    namespace: str = field(default_factory=_new_namespace)
    nodes: int = 3
    interval: float = 0.5
    """Between two readings of the host."""
    check_interval: float = 1.0
    """Between two checks of the cluster."""
    heartbeat_timeout: float = 5.0
    """Recorded seconds where a recording is replayed."""
    replay: Path | None = None
    speed: float = 1.0
    """Recorded seconds played in a real one."""
    duration: float | None = None
    """None: until stopped, or to the end of the recording."""

    def __post_init__(self) -> None:
        """Check everything before anything is started."""
        namespace_name(self.namespace)
        validation.integer("nodes", self.nodes, least=1, most=MAX_NODES)
        for name in ("interval", "check_interval", "heartbeat_timeout", "speed"):
            validation.positive(name, getattr(self, name))
        if self.duration is not None:
            validation.positive("duration", self.duration)
        if self.url is not None and self.data_dir is not None:
            raise InvalidArgumentError("data_dir belongs to a server started here: give it or a url, not both")
