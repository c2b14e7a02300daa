# Generated from edge_redis/_services/aio/health_watch.py by scripts/dev/generate_blocking.py. Do not edit.
"""HealthWatch on a blocking client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from edge_redis._health.flapping import FlapThresholds
from edge_redis._health.leader import Duty
from edge_redis._io.clients import BlockingClient
from edge_redis._io.probes import BlockingProbe
from edge_redis._io.service import BlockingService
from edge_redis.models import WatchRound
from edge_redis.types import Detector


class HealthWatch(BlockingService[Duty]):
    """Judges every registered node again and again, for as long as it is the one of its namespace on duty.

    Any number may run: one is on duty by a lease, the others stand by and take over. The work is done
    in the background from ``start()`` until ``close()``, or by calling ``run_once()``. What it finds is
    in the stream of transitions: ``HealthMonitor.transitions()`` and ``watch()``.

    It tells of flapping nodes too, and it withholds judgement where that would be wrong: after the server
    was away, every node has a whole timeout to be heard again; and when most of the fleet goes silent
    together, that is one event, "silence", and the verdicts on the silent wait until most are back.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        heartbeat_timeout_seconds: as in HealthMonitor; nodes are to beat at least twice in it.
        namespace: as in HealthMonitor.
        interval_seconds: pause between two rounds; None: 5 s, or a quarter of the timeout where that is less. With
            more than a third of the timeout, short absences of the server may go unnoticed.
        lease_seconds: how long a watch that dies stays on duty; at least two intervals, by default three.
        retention_seconds: nodes silent for longer are forgotten, but for those in maintenance; None: never.
        max_history, max_transitions, detector, phi_threshold, flap_detector: as in HealthMonitor.
        suspicion_seconds: a node silent for too long is told of as "suspected", and as "unhealthy" only where
            it is still silent this many seconds later. 0.0: unhealthy at once.
        confirm: asks a suspect over another way than that of its heartbeats, by its id; a true answer means
            that it is alive, an error that it is not. It then stays suspected, and is asked again after
            ``suspicion_seconds``. Called for up to 16 nodes at once, in threads (coroutine functions, which
            only ``edge_redis.aio`` takes, in tasks), and to return within seconds.

    """

    _starts_at_first_use = False

    def __init__(
        self,
        client: BlockingClient,
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
        flap_detector: FlapThresholds | None = None,
        suspicion_seconds: float = 0.0,
        confirm: Callable[[str], object] | None = None,
    ) -> None:
        component = Duty(
            heartbeat_timeout_seconds,
            namespace=namespace,
            interval_seconds=interval_seconds,
            lease_seconds=lease_seconds,
            retention_seconds=retention_seconds,
            max_history=max_history,
            max_transitions=max_transitions,
            detector=detector,
            phi_threshold=phi_threshold,
            flap_detector=flap_detector,
            suspicion_seconds=suspicion_seconds,
            confirm=confirm,
            ask=None if confirm is None else BlockingProbe(confirm),
        )
        super().__init__(client, component)

    def start(self) -> Self:
        """Do rounds in the background from now on, the first after an interval."""
        self._require_open()
        self._start_background()
        return self

    def run_once(self) -> WatchRound:
        """Take the watch or keep it, and judge every registered node; or stand by where another has it."""
        return self._run(self._component.run_once())

    @property
    def latest(self) -> WatchRound | None:
        """What the last round of this watch did, in the background or not; None before the first."""
        return self._component.latest
