# Generated from edge_redis/_services/aio/health.py by scripts/dev/generate_blocking.py. Do not edit.
"""HealthMonitor for a blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import cast

from edge_redis._health.api import Health
from edge_redis._health.config import HealthConfig
from edge_redis._health.flapping import DEFAULT_FLAP_RATE, FlapRate, FlapThresholds
from edge_redis._health.transition_reader import TransitionReader
from edge_redis._io.clients import BlockingClient
from edge_redis._io.service import BlockingService
from edge_redis._services.components import default_shards
from edge_redis.errors import ShardMovedError
from edge_redis.models import EdgeNode, EdgeNodeStatus, HealthCheck, NodeHealth, ResourceUsage, Transition
from edge_redis.types import Availability, ClusterHealth, Detector, HealthSummary, HeartbeatAges


class HealthMonitor(BlockingService[Health]):
    """The nodes of a namespace: when each sent its last heartbeat, and which are healthy.

    Monitors of one namespace share all their data; monitors of two namespaces share nothing.

    Args:
        client: a Redis or Valkey client with ``decode_responses=False``.
        heartbeat_timeout_seconds: a node is healthy while its heartbeat is younger than this.
        namespace: the namespace of all keys.
        max_history: checks kept for each node, up to 10,000; older ones are dropped.
        max_transitions: about how many state changes are kept for the namespace; older ones are dropped.
        detector: "phi" also considers a node's own rhythm: the node is unhealthy once its missing heartbeat is as
            improbable as ``phi_threshold`` says, and at the timeout at the latest. The monitor that records the
            heartbeats must use it as well. With fewer than ten known intervals the timeout alone decides.
        phi_threshold: 8.0 means a chance of one in 10^8 that the node is alive.
        flap_detector: the rule of ``detect_flapping`` in place of three changes in the window. FlapThresholds read
            the whole history, so ``max_history`` must be at least their window; a FlapRate replaces ``flap_rate``.
        flap_rate: a further rule, over time: by default, six changes of verdict in half an hour, where failures
            less than a timeout apart count once. None: no such rule.
        clock: a function that returns the time of heartbeats and checks, to replay a recording; None: the server's
            time. All monitors that write to a namespace must use the same clock.
        shards: parts of the nodes, each in a hash slot of its own and with ``max_transitions`` of its own. None for
            the number that the namespace has; where nothing was written yet that is 1, or 12 on a cluster. Another
            number than the namespace has is refused at the first call.

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
        flap_detector: FlapThresholds | FlapRate | None = None,
        flap_rate: FlapRate | None = DEFAULT_FLAP_RATE,
        clock: Callable[[], datetime] | None = None,
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
            clock=clock,
            shards=shards,
            default_shards=default_shards(client),
        )
        super().__init__(client, Health(config, namespace=namespace))

    def register(self, node: EdgeNode, heartbeat_timeout_seconds: float | None = None) -> None:
        """Add a node, or replace the record of a registered one. Counts as a heartbeat.

        Sets the object's ``last_heartbeat`` to the server's time. ``heartbeat_timeout_seconds`` is the node's own
        timeout; None removes one that it had.

        Raises:
            InvalidArgumentError, InvalidTypeError: a field of the node cannot be stored.

        """
        self._run(self._component.register(node, heartbeat_timeout_seconds))

    def deregister(self, node_id: str) -> bool:
        """Remove a node and its history; return whether it was registered.

        Writes the transition "deregistered", so that receivers of transitions can close what is open for the node.
        """
        return self._run(self._component.deregister(node_id))

    def heartbeat(
        self,
        node: EdgeNode | str,
        status: EdgeNodeStatus | None = None,
        resources: ResourceUsage | None = None,
    ) -> bool:
        """Record a node's heartbeat now, by the server's clock; return whether the node is registered.

        With an id, status and resources change where they are given; without a status, an OFFLINE node is
        ONLINE again and any other status stays. For an unknown id the result is False and nothing is written.
        With an EdgeNode, the object is registered, even if it had been removed: the result is always True. Its
        ``last_heartbeat`` is set to the server's time, and its status and resources where they are given.
        """
        try:
            return self._run(self._component.heartbeat(node, status, resources))
        except ShardMovedError:
            return self._run(self._component.follow_heartbeat(node, status, resources))

    def set_maintenance(self, node_id: str, seconds: float | None = None, reason: str = "") -> None:
        """Put a node in maintenance, for ``seconds`` or until ``end_maintenance``, whatever status it reports.

        The node is checked and counted as before. Its only transitions are the beginning and the end, it is not
        removed for missing heartbeats, and ``availability`` ignores the time. A second call replaces duration
        and reason.

        Raises:
            UnknownNodeError: an id that is not registered.

        """
        self._run(self._component.set_maintenance(node_id, seconds, reason))

    def end_maintenance(self, node_id: str) -> bool:
        """End the maintenance that ``set_maintenance`` began, and check the node; return whether it was in one.

        Raises:
            UnknownNodeError: an id that is not registered.

        """
        return self._run(self._component.end_maintenance(node_id))

    def snapshot(self) -> list[NodeHealth]:
        """Return every registered node with its health now, in the order of their ids; nothing is recorded.

        Healthy is decided by heartbeat and status alone, as ``check_node`` does without the phi detector. A
        node whose record does not decode is among them, without its ``node``.
        """
        return self._run(self._component.snapshot())

    def availability(self, node_id: str, seconds: float) -> Availability:
        """Return the availability of a node over the last ``seconds``, by its checks.

        Returns availability_percent (None where nothing is known), unhealthy_spells, longest_spell_seconds
        and known_seconds. A verdict counts until the next check, ten timeouts at most; maintenance and the time
        after the newest check are left out. About 1,000 changes of verdict are kept for each node.
        """
        return cast("Availability", self._run(self._component.availability(node_id, seconds)))

    def get_node(self, node_id: str) -> EdgeNode | None:
        """Return a registered node, or None.

        Raises:
            CorruptDataError: its record in Redis does not decode.

        """
        return self._run(self._component.get_node(node_id))

    def nodes(self, status: EdgeNodeStatus | None = None) -> list[EdgeNode]:
        """Return the registered nodes in the order of their ids, those of one status where it is given.

        Raises:
            CorruptDataError: a node's record in Redis does not decode; the message names it.

        """
        return self._run(self._component.nodes(status))

    def check_node(self, node: EdgeNode | str) -> HealthCheck:
        """Check a node now, by the server's clock, and append the check to its history.

        Healthy: the heartbeat is younger than the timeout and the status is not OFFLINE. The timeout is the
        node's own, else that of the HealthWatch that leads the namespace, else this monitor's; a difference
        between the last two is logged as a warning. A heartbeat in the future counts as now. A change of
        verdict is written to the transitions in the same atomic step.

        For an EdgeNode, the object or the registered record of its id is used, whichever has the later
        heartbeat, with its status and location; the object if equal. An EdgeNode that is not registered is
        checked too, and stays unregistered.

        ``details`` has status, heartbeat_age_seconds and location, clock_skew_seconds where the node's
        clock was over a second ahead of the server's, and maintenance (True) while that lasts.

        Raises:
            UnknownNodeError: an id that is not registered.

        """
        return self._run(self._component.check_node(node))

    def check_cluster(self, nodes: Iterable[EdgeNode | str] | None = None) -> ClusterHealth:
        """Check many nodes as ``check_node`` does: the given ones, or all that are registered.

        Returns total_nodes, healthy_nodes, unhealthy_nodes, health_percent (0 to 100; 100.0 for no
        nodes) and checks, a list of dicts of node_id, healthy and latency_ms: all registered nodes in
        the order of their ids, others in the given order. Each node is checked atomically, the whole is
        not a snapshot: a node that is deregistered meanwhile is left out.

        Raises:
            UnknownNodeError: an id among ``nodes`` is not registered; nothing was checked.

        """
        return cast("ClusterHealth", self._run(self._component.check_cluster(nodes)))

    def get_history(self, node_id: str, limit: int = 10) -> list[HealthCheck]:
        """Return a node's newest ``limit`` checks, oldest first; none where it was never checked.

        Checks that do not decode in Redis are left out.
        """
        return self._run(self._component.get_history(node_id, limit))

    def detect_flapping(self, node_id: str, window: int = 10) -> bool:
        """Return whether the last ``window`` checks hold three or more changes of verdict, or ``flap_rate`` applies.

        A monitor with FlapThresholds applies these to the whole history instead of the window. HealthWatch
        decides by the same rules and data.
        """
        return self._run(self._component.detect_flapping(node_id, window))

    def get_recovery_recommendation(self, node_id: str) -> str:
        """Return the recommendation for a node: the first of these that holds.

        1. "No data": it was never checked;
        2. "Reboot node (flapping detected)": ``detect_flapping`` is true for the last ten checks;
        3. "Decommission node (offline > 1h)": the newest check is unhealthy, its heartbeat over an hour old;
        4. "Investigate connectivity (stale heartbeat)": the newest check is unhealthy;
        5. "Normal".
        """
        return self._run(self._component.get_recovery_recommendation(node_id))

    def heartbeat_age(self, node_id: str) -> HeartbeatAges:
        """Return the heartbeat's age at the checks that are kept: count, p50, p95, p99 and max, in milliseconds."""
        return cast("HeartbeatAges", self._run(self._component.heartbeat_age(node_id)))

    def transitions(self, limit: int = 100, node_id: str | None = None) -> list[Transition]:
        """Return the newest ``limit`` changes of state, oldest first, of one node where it is given.

        Changes are kept in a stream of about ``max_transitions`` entries, oldest dropped first. Those of several shards
        are in the order of the times that their servers gave them; those of one node are always in order.
        """
        return self._run(self._component.transitions(limit, node_id))

    def summary(self) -> HealthSummary:
        """Return monitored_nodes (registered now), total_checks (ever made) and timeout_seconds."""
        return cast("HealthSummary", self._run(self._component.summary()))

    def heartbeat_many(self, nodes: Iterable[EdgeNode | str]) -> dict[str, bool]:
        """Record these nodes' heartbeats now, as ``heartbeat`` does; return for each id whether it is registered.

        One round trip for up to 5,000 nodes.
        """
        return self._run(self._component.heartbeat_many(nodes))

    def stale(self, seconds: float | None = None, limit: int = 1000) -> list[str]:
        """Return the ids without a heartbeat for ``seconds`` or longer, the oldest heartbeat first.

        ``None`` means each node's timeout. Statuses are ignored and no check is recorded: this reads a range of
        a sorted set, so it is fast for any number of nodes.
        """
        return self._run(self._component.stale(seconds, limit))

    def remove_stale(self, older_than_seconds: float) -> int:
        """Remove the nodes without a heartbeat for ``older_than_seconds``; return how many.

        The record and the history of each are removed, and the transition "removed" is written. A later
        heartbeat by id returns False; one with an EdgeNode registers the node again. A node in maintenance stays.
        """
        return self._run(self._component.remove_stale(older_than_seconds))

    def watch(
        self,
        position: str | None = None,
        *,
        node_id: str | None = None,
        timeout: float | None = None,
        poll_seconds: float = 0.1,
    ) -> Iterator[Transition]:
        """Yield changes of state as they happen, each at most ``poll_seconds`` after it was written.

        Starts with changes after the iteration began (after this call, for a blocking client), or after
        ``position``: pass the position of the last transition seen to resume, or "0" for all that are kept.
        With ``node_id``, yields the changes of that node only. Ends when there was none for ``timeout``
        seconds (never, by default), or when this monitor is closed. An error of the store ends it too: resume
        with the last position. If the stream's cap removed transitions before they were read, yields one
        with the state "transitions_lost" in their place.
        """
        self._require_open()
        reader = self._component.read_transitions(position, node_id, timeout, poll_seconds)
        self._run(reader.start())
        return self._read(reader)

    def _read(self, reader: TransitionReader) -> Iterator[Transition]:
        while not self._closed and not reader.is_over:
            yield from self._runner.run(reader.step())
