"""HealthWatch for an asyncio client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from edge_redis._core import validation
from edge_redis._health.config import HealthConfig, WatchConfig
from edge_redis._health.flapping import DEFAULT_FLAP_RATE, FlapRate, FlapThresholds
from edge_redis._health.leader import Leader
from edge_redis._io.clients import AsyncClient
from edge_redis._io.lifecycle import AsyncLoopService
from edge_redis._io.loop import every
from edge_redis._io.probes import AsyncProbe
from edge_redis._services.components import default_shards
from edge_redis.models import WatchRound
from edge_redis.types import Detector


class HealthWatch(AsyncLoopService[Leader]):
    """Checks every registered node, round after round, while it leads its namespace.

    Any number may run: one leads by a lease, the others stand by and take over. Rounds run in the background
    from ``start()`` until ``close()``, or one at each call of ``run_once()``. The findings are in the stream
    of transitions: ``HealthMonitor.transitions()`` and ``watch()``.

    A watch also finds flapping nodes, and it defers verdicts that would be wrong: after an outage of the server
    every node has a whole timeout to send a heartbeat; and where most nodes miss their heartbeats together, that is
    one transition, "mass_outage", and verdicts on these nodes wait until most are back. Both are bounded, so that
    a dead node is always found: a mass outage by ``mass_outage_seconds``; and where rounds are always rarer than
    twice the interval, a node without a heartbeat over four rounds counts as dead.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        heartbeat_timeout_seconds: as in HealthMonitor; nodes should send at least two heartbeats in it.
        namespace: as in HealthMonitor.
        interval_seconds: pause between two rounds; None: 5 s, or a quarter of the timeout where that is less. If
            it is more than a third of the timeout, short outages of the server may go unnoticed.
        lease_seconds: how long a watch that dies keeps the lead; at least two intervals, by default three.
        retention_seconds: nodes without a heartbeat for longer are removed, except in maintenance; None: never.
        max_history: as in HealthMonitor.
        max_transitions: as in HealthMonitor.
        detector: as in HealthMonitor. While a watch leads, its timeout and detector decide every check.
        phi_threshold: as in HealthMonitor.
        flap_detector: as in HealthMonitor.
        flap_rate: as in HealthMonitor.
        suspicion_seconds: a node whose heartbeats are missing is "suspected" first, and "unhealthy" only where they
            are still missing this many seconds later. 0.0: unhealthy at once.
        mass_outage_seconds: a mass outage that lasts this long ends by itself, and each of its nodes is unhealthy;
            None: five timeouts.
        confirm: probes a suspected node, by its id, over another channel than that of its heartbeats. A true result
            means that it is alive, an error that it is not. An alive node stays suspected, and is probed again after
            ``suspicion_seconds``. Called for up to 16 nodes at once, in threads (coroutine functions, which only
            ``edge_redis.aio`` takes, in tasks), and should return within seconds.
        shards: as in HealthMonitor. One watch leads all of them, by a lease in the first.

    """

    def __init__(
        self,
        client: AsyncClient,
        heartbeat_timeout_seconds: float = 60.0,
        *,
        namespace: str = "default",
        interval_seconds: float | None = None,
        lease_seconds: float | None = None,
        retention_seconds: float | None = None,
        max_history: int = 100,
        max_transitions: int = 10_000,
        detector: Detector = "timeout",
        phi_threshold: float = 8.0,
        flap_detector: FlapThresholds | FlapRate | None = None,
        flap_rate: FlapRate | None = DEFAULT_FLAP_RATE,
        suspicion_seconds: float = 0.0,
        mass_outage_seconds: float | None = None,
        confirm: Callable[[str], Awaitable[object] | object] | None = None,
        shards: int | None = None,
    ) -> None:
        config = HealthConfig(
            heartbeat_timeout_seconds=heartbeat_timeout_seconds,
            max_history=max_history,
            max_transitions=max_transitions,
            detector=detector,
            phi_threshold=phi_threshold,
            flap_detector=flap_detector,
            flap_rate=flap_rate,
            shards=shards,
            default_shards=default_shards(client),
        )
        watch = WatchConfig(
            heartbeat_timeout_seconds=heartbeat_timeout_seconds,
            interval_seconds=interval_seconds,
            lease_seconds=lease_seconds,
            retention_seconds=retention_seconds,
            suspicion_seconds=suspicion_seconds,
            mass_outage_seconds=mass_outage_seconds,
        )
        probe = None if confirm is None else AsyncProbe(validation.check_callable("confirm", confirm))
        component = Leader(config, watch, namespace=namespace, probe=probe)
        super().__init__(client, component, every(watch.interval))

    async def run_once(self) -> WatchRound:
        """Take or keep the lead and check every registered node, or stand by where another watch leads."""
        return await self._run(self._component.run_once())

    @property
    def latest(self) -> WatchRound | None:
        """The result of this watch's last round, in the background or not; None before the first."""
        return self._component.latest
