"""The health components without a client, for tests that run them step by step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from edge_redis._health.api import Health
from edge_redis._health.config import HealthConfig, RelayConfig, WatchConfig
from edge_redis._health.leader import Leader
from edge_redis._health.relay import Relay
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis.models import EdgeNode, Transition

TIMEOUT = 60.0


def make_health(**options: Any) -> Health:
    """Return a monitor's component with a timeout of 60 s."""
    return Health(HealthConfig(**{"heartbeat_timeout_seconds": TIMEOUT, **options}))


def make_leader(*, max_history: int = 100, **options: Any) -> Leader:
    """Return a watch's component: a timeout of 60 s, rounds every 5 s."""
    config = HealthConfig(heartbeat_timeout_seconds=TIMEOUT, max_history=max_history)
    return Leader(config, WatchConfig(heartbeat_timeout_seconds=TIMEOUT, **{"interval_seconds": 5.0, **options}))


def make_relay(sink: Callable[[Transition], object], **options: Any) -> Relay:
    """Return a relay's component."""
    return Relay(sink, RelayConfig(**options))


def settle_shards(runner: BlockingRunner, *components: Health | Leader | Relay) -> None:
    """Let components find their shards, as the first call of each does, so that a test begins behind that step."""
    for component in components:
        runner.run(component.shards.settle())


def make_past_health(seconds: float) -> Health:
    """Return a monitor's component whose clock is ``seconds`` behind: it registers nodes with old heartbeats."""
    return make_health(clock=lambda: datetime.now(UTC) - timedelta(seconds=seconds))


def register_past(make: Any, node: EdgeNode, seconds: float, *, now: datetime | None = None) -> None:
    """Register a node whose heartbeat is ``seconds`` old, through a monitor whose clock is behind."""
    make("HealthMonitor", clock=lambda: (now or datetime.now(UTC)) - timedelta(seconds=seconds)).register(node)
