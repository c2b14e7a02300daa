"""HealthMonitor on a blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from edge_redis._health.api import Health
from edge_redis._health.flapping import FlapThresholds
from edge_redis._health.transition_reader import Follower
from edge_redis._services.base import Service
from edge_redis._services.bind import blocking
from edge_redis.models import Transition

if TYPE_CHECKING:
    from edge_redis._io.runner import BlockingClient


class HealthMonitor(Service[Health]):
    """Knows the nodes of a namespace, when each was last heard of, and which are healthy.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        heartbeat_timeout_seconds: a node is healthy while its heartbeat is younger than this.
        namespace: monitors of one namespace share everything, of two nothing.
        max_history: checks kept a node, up to 10,000; older ones are dropped.
        max_transitions: state changes kept for the namespace, about; older ones are dropped.
        detector: "phi" judges a node by its own rhythm too: unhealthy once its silence is as improbable as
            ``phi_threshold`` says, at the timeout at latest. Whoever sends its heartbeats must use it as
            well; with fewer than ten intervals known the timeout alone decides.
        phi_threshold: 8.0 means a chance of one in 10^8 that the node is alive.
        flap_detector: what ``detect_flapping`` goes by instead of three changes in the window; it reads
            the whole history, so ``max_history`` must reach its window.
        clock: what says the time of heartbeats and checks, for the replay of a recording; None: the
            server. All who write to a namespace must go by the same clock.

    """

    def __init__(
        self,
        client: BlockingClient,
        heartbeat_timeout_seconds: float = 60.0,
        *,
        namespace: str = "default",
        max_history: int = 100,
        max_transitions: int = 10_000,
        detector: Literal["timeout", "phi"] = "timeout",
        phi_threshold: float = 8.0,
        flap_detector: FlapThresholds | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        room = Health(
            heartbeat_timeout_seconds,
            namespace=namespace,
            max_history=max_history,
            max_transitions=max_transitions,
            detector=detector,
            phi_threshold=phi_threshold,
            flap_detector=flap_detector,
            clock=clock,
        )
        super().__init__(client, room)

    register = blocking(Health.register)
    deregister = blocking(Health.deregister)
    heartbeat = blocking(Health.heartbeat)
    get_node = blocking(Health.get_node)
    nodes = blocking(Health.nodes)
    check_node = blocking(Health.check_node)
    check_cluster = blocking(Health.check_cluster)
    get_history = blocking(Health.get_history)
    detect_flapping = blocking(Health.detect_flapping)
    get_recovery_recommendation = blocking(Health.get_recovery_recommendation)
    heartbeat_age = blocking(Health.heartbeat_age)
    transitions = blocking(Health.transitions)
    summary = blocking(Health.summary)
    heartbeat_many = blocking(Health.heartbeat_many)
    stale = blocking(Health.stale)
    forget = blocking(Health.forget)

    def watch(
        self,
        position: str | None = None,
        *,
        node_id: str | None = None,
        timeout: float | None = None,
        poll_seconds: float = 0.1,
    ) -> Iterator[Transition]:
        """Yield changes of state as they happen, each at most ``poll_seconds`` after it was written.

        Starts with what comes after this call, or after ``position``: that of the last
        transition seen resumes where one left off, "0" gives all that are kept. Of one node where
        ``node_id`` is given. Ends when nothing came for ``timeout`` seconds (never, by default), or
        when this monitor is closed. An error of the store ends it too: resume by the last position.
        """
        follower = self._open_component.follow(position, node_id, timeout, poll_seconds)
        self._runner.run(follower.start())
        return self._follow(follower)

    def _follow(self, follower: Follower) -> Iterator[Transition]:
        while not self._closed and not follower.over:
            yield from self._runner.run(follower.step())
