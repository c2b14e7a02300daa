"""The settings of a demo site. Times are in seconds."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge_redis._core import validation
from edge_redis._core.keys import check_namespace
from edge_redis.errors import InvalidArgumentError

MAX_NODES: Final = 200
"""Edge processes at most: a mistyped number must not exhaust the machine."""


def _new_namespace() -> str:
    return f"up-{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options of `edge-redis up`."""

    url: str | None = None
    """A running server; None starts one that ends with the site."""
    cloud_url: str | None = None
    """The cloud's server; None: the site's own."""
    data_dir: Path | None = None
    """Data folder of the started server; None uses a private folder that is removed at the end."""
    namespace: str = field(default_factory=_new_namespace)
    nodes: int = 3
    interval: float = 0.5
    """Between two readings of the host."""
    check_interval: float = 1.0
    """Between two checks of the cluster."""
    heartbeat_timeout: float = 5.0
    """In recorded seconds when a recording is replayed."""
    replay: Path | None = None
    speed: float = 1.0
    """Recorded seconds replayed in one real second."""
    duration: float | None = None
    """None runs until stopped, or to the end of the recording."""

    def __post_init__(self) -> None:
        """Validate everything before anything is started."""
        check_namespace(self.namespace)
        validation.check_integer("nodes", self.nodes, least=1, most=MAX_NODES)
        for name in ("interval", "check_interval", "heartbeat_timeout", "speed"):
            validation.check_positive(name, getattr(self, name))
        if self.duration is not None:
            validation.check_positive("duration", self.duration)
        if self.url is not None and self.data_dir is not None:
            raise InvalidArgumentError("data_dir is for a server started here: give data_dir or url, not both")
