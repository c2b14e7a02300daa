# Generated from edge_redis/_services/aio/health.py by scripts/dev/generate_blocking.py. Do not edit.
"""HealthMonitor for a blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import cast

from edge_redis._health.api import Health
from edge_redis._health.flapping import FlapThresholds
from edge_redis._health.transition_reader import Follower
from edge_redis._io.clients import BlockingClient
from edge_redis._io.service import BlockingService
from edge_redis.models import EdgeNode, EdgeNodeStatus, HealthCheck, ResourceUsage, Transition
from edge_redis.types import ClusterHealth, Detector, HealthSummary, HeartbeatAges


class HealthMonitor(BlockingService[Health]):
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
        detector: Detector = "timeout",
        phi_threshold: float = 8.0,
        flap_detector: FlapThresholds | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        component = Health(
            heartbeat_timeout_seconds,
            namespace=namespace,
            max_history=max_history,
            max_transitions=max_transitions,
            detector=detector,
            phi_threshold=phi_threshold,
            flap_detector=flap_detector,
            clock=clock,
        )
        super().__init__(client, component)

    def register(self, node: EdgeNode) -> None:
        """Add a node, or replace its facts where it is registered.

        Its heartbeat is then the later of the node's own ``last_heartbeat`` and the one that the
        registry holds; one in the future counts as now.

        Raises:
            InvalidArgumentError, InvalidTypeError: a field of the node cannot be kept.

        """
        self._run(self._component.register(node))

    def deregister(self, node_id: str) -> bool:
        """Remove a node and its history; return whether it was registered."""
        return self._run(self._component.deregister(node_id))

    def heartbeat(
        self,
        node: EdgeNode | str,
        status: EdgeNodeStatus | None = None,
        resources: ResourceUsage | None = None,
    ) -> bool:
        """Note that a node is alive now, by the server's clock; return whether it is registered.

        With an id, status and resources change where they are given; an unknown id is False and
        nothing is written. With an EdgeNode, the object takes the status and resources given and
        the server's time as its ``last_heartbeat``, and the registry holds it as it then is,
        registered again if it had been forgotten: always True.
        """
        return self._run(self._component.heartbeat(node, status, resources))

    def get_node(self, node_id: str) -> EdgeNode | None:
        """Return a registered node, or None.

        Raises:
            CorruptDataError: its facts in Redis do not decode.

        """
        return self._run(self._component.get_node(node_id))

    def nodes(self, status: EdgeNodeStatus | None = None) -> list[EdgeNode]:
        """Return the registered nodes in the order of their ids, those of one status where it is given.

        Raises:
            CorruptDataError: a node's facts in Redis do not decode; the message names it.

        """
        return self._run(self._component.nodes(status))

    def check_node(self, node: EdgeNode | str) -> HealthCheck:
        """Judge a node now, by the server's clock, and append the verdict to its history.

        Healthy: the heartbeat is younger than the timeout and the status is not OFFLINE. Of an
        EdgeNode and what the registry holds under its id, the one with the later heartbeat counts,
        with its status and location; the object where they are equal. A heartbeat in the future is
        one of now. An EdgeNode that is not registered is judged all the same, and is not registered.
        A change of verdict is written to the transitions in the same atomic step.

        ``details`` has status, heartbeat_age_seconds and location, and clock_skew_seconds where
        the node's clock was over a second ahead of the server's.

        Raises:
            UnknownNodeError: an id that is not registered.

        """
        return self._run(self._component.check_node(node))

    def check_cluster(self, nodes: Iterable[EdgeNode | str] | None = None) -> ClusterHealth:
        """Judge many nodes as ``check_node`` does: those given, or all that are registered.

        Returns total_nodes, healthy_nodes, unhealthy_nodes, health_percent (0 to 100; 100.0 for no
        nodes) and checks, a list of dicts of node_id, healthy and latency_ms: all registered nodes in
        the order of their ids, others in the order given. Each node is judged atomically, the whole is
        not a snapshot: a node that is deregistered meanwhile is left out.

        Raises:
            UnknownNodeError: an id among ``nodes`` is not registered; nothing was checked.

        """
        return cast("ClusterHealth", self._run(self._component.check_cluster(nodes)))

    def get_history(self, node_id: str, limit: int = 10) -> list[HealthCheck]:
        """Return a node's newest ``limit`` checks, oldest first; none where it was never checked.

        What does not decode in Redis is left out.
        """
        return self._run(self._component.get_history(node_id, limit))

    def detect_flapping(self, node_id: str, window: int = 10) -> bool:
        """Whether the node's last ``window`` checks hold three or more changes of verdict.

        A monitor made with a ``flap_detector`` goes by that instead, over the whole history kept.
        """
        return self._run(self._component.detect_flapping(node_id, window))

    def get_recovery_recommendation(self, node_id: str) -> str:
        """Return what to do about a node.

        It is the first of these that holds:

        1. "No data": it was never checked;
        2. "Reboot node (flapping detected)": ``detect_flapping`` says so of the last ten checks;
        3. "Decommission node (offline > 1h)": the last five checks (all, where there are fewer) are
           all unhealthy, and at the newest the heartbeat was over an hour old;
        4. "Investigate connectivity (stale heartbeat)": one of these five is unhealthy;
        5. "Normal".
        """
        return self._run(self._component.get_recovery_recommendation(node_id))

    def heartbeat_age(self, node_id: str) -> HeartbeatAges:
        """Return how old the node's heartbeat was at the checks kept: count, p50, p95, p99, max, in milliseconds."""
        return cast("HeartbeatAges", self._run(self._component.heartbeat_age(node_id)))

    def transitions(self, limit: int = 100, node_id: str | None = None) -> list[Transition]:
        """Return the newest ``limit`` changes of state, oldest first, of one node where it is given.

        Changes are kept in a stream of about ``max_transitions`` entries, oldest dropped first.
        """
        return self._run(self._component.transitions(limit, node_id))

    def summary(self) -> HealthSummary:
        """Return monitored_nodes (registered now), total_checks (ever made) and timeout_seconds."""
        return cast("HealthSummary", self._run(self._component.summary()))

    def heartbeat_many(self, nodes: Iterable[EdgeNode | str]) -> dict[str, bool]:
        """Note that these nodes are alive now, as ``heartbeat`` does; return for each id whether it is registered.

        One round trip for up to 5,000 nodes.
        """
        return self._run(self._component.heartbeat_many(nodes))

    def stale(self, seconds: float | None = None, limit: int = 1000) -> list[str]:
        """Return the registered ids that have been silent for ``seconds`` or longer, the longest silent first.

        ``None`` means the heartbeat timeout. Statuses do not count, and nothing is checked: this is one
        range of a sorted set, whatever the number of nodes.
        """
        return self._run(self._component.stale(seconds, limit))

    def forget(self, seconds: float) -> int:
        """Remove the nodes that have been silent for ``seconds`` or longer; return how many.

        Each goes with its facts and history, and leaves a transition to "forgotten". One that beats
        again by id learns that it is unknown; one that beats as an EdgeNode is registered again. A
        node in maintenance stays.
        """
        return self._run(self._component.forget(seconds))

    def watch(
        self,
        position: str | None = None,
        *,
        node_id: str | None = None,
        timeout: float | None = None,
        poll_seconds: float = 0.1,
    ) -> Iterator[Transition]:
        """Yield changes of state as they happen, each at most ``poll_seconds`` after it was written.

        Starts with what comes after the iteration began (after this call, for a blocking client), or after
        ``position``: that of the last transition seen resumes where one left off, "0" gives all that are
        kept. Of one node where ``node_id`` is given. Ends when nothing came for ``timeout`` seconds (never,
        by default), or when this monitor is closed. An error of the store ends it too: resume by the last position.
        """
        self._require_open()
        follower = self._component.follow(position, node_id, timeout, poll_seconds)
        self._run(follower.start())
        return self._follow(follower)

    def _follow(self, follower: Follower) -> Iterator[Transition]:
        while not self._closed and not follower.over:
            yield from self._runner.run(follower.step())
