"""The health of one namespace's nodes: the registry, the checks, and what is read from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.operation import Batch, Operation, command
from edge_redis._health import ages, flapping, recovery, verdicts
from edge_redis._health.checks import MAX_HISTORY
from edge_redis._health.flapping import FlapThresholds
from edge_redis._health.fleet import Fleet
from edge_redis._health.registry import Clock
from edge_redis._health.transition_reader import Follower
from edge_redis._health.transitions import Entry, from_entry
from edge_redis.models import HealthCheck, Transition

MAX_TRANSITIONS_READ: Final = 100_000
_STREAM_PAGE: Final = 500


class Health(Fleet):
    """Everything that HealthMonitor offers, as steps."""

    def __init__(
        self,
        heartbeat_timeout_seconds: float = 60.0,
        *,
        namespace: str = "default",
        max_history: int = 100,
        max_transitions: int = 10_000,
        detector: str = "timeout",
        phi_threshold: float = 8.0,
        flap_detector: FlapThresholds | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            heartbeat_timeout_seconds,
            namespace=namespace,
            max_history=max_history,
            max_transitions=max_transitions,
            detector=detector,
            phi_threshold=phi_threshold,
            clock=clock,
        )
        if flap_detector is not None:
            least = validation.instance("flap_detector", flap_detector, FlapThresholds).window
            validation.integer("max_history, which a flap_detector reads,", max_history, least=least)
        self._flap_detector = flap_detector

    def get_history(self, node_id: str, limit: int = 10) -> Operation[list[HealthCheck]]:
        """Return a node's newest ``limit`` checks, oldest first; none where it was never checked.

        What does not decode in Redis is left out.
        """
        name = validation.identifier("node id", node_id)
        last = validation.integer("limit", limit, least=1) - 1
        return command(
            lambda lines: verdicts.from_history(name, lines),
            "LRANGE",
            self._keys.history(name),
            0,
            min(last, MAX_HISTORY),
        )

    async def detect_flapping(self, node_id: str, window: int = 10) -> bool:
        """Whether the node's last ``window`` checks hold three or more changes of verdict.

        A monitor made with a ``flap_detector`` goes by that instead, over the whole history kept.
        """
        validation.integer("window", window, least=1)
        checks = await self.get_history(node_id, self._max_history if self._flap_detector else window)
        return self._flaps([found.healthy for found in checks], window)

    def _flaps(
        self, verdicts: Sequence[bool], window: int = recovery.FLAPPING_WINDOW, *, was: bool | None = None
    ) -> bool:
        if self._flap_detector:
            return self._flap_detector.is_flapping(verdicts, was=was)
        return flapping.is_flapping(verdicts, window)

    def _flap_reason(self, verdicts: Sequence[bool]) -> str:
        if self._flap_detector:
            return self._flap_detector.reason(verdicts)
        return flapping.reason(verdicts, recovery.FLAPPING_WINDOW)

    async def get_recovery_recommendation(self, node_id: str) -> str:
        """Return what to do about a node.

        It is the first of these that holds:

        1. "No data": it was never checked;
        2. "Reboot node (flapping detected)": ``detect_flapping`` says so of the last ten checks;
        3. "Decommission node (offline > 1h)": the last five checks (all, where there are fewer) are
           all unhealthy, and at the newest the heartbeat was over an hour old;
        4. "Investigate connectivity (stale heartbeat)": one of these five is unhealthy;
        5. "Normal".
        """
        flaps = await self.detect_flapping(node_id, recovery.FLAPPING_WINDOW)
        checks = await self.get_history(node_id, recovery.DECIDING_CHECKS)
        return recovery.recommend(checks, flapping=flaps)

    async def heartbeat_age(self, node_id: str) -> dict[str, Any]:
        """Return how old the node's heartbeat was at the checks kept: count, p50, p95, p99, max, in milliseconds."""
        checks = await self.get_history(node_id, self._max_history)
        return ages.statistics([found.latency_ms for found in checks])

    async def summary(self) -> dict[str, Any]:
        """Return monitored_nodes (registered now), total_checks (ever made) and timeout_seconds."""
        nodes, checks = await Batch(
            [
                command(int, "ZCARD", self._keys.beats),
                command(lambda count: int(count or 0), "HGET", self._keys.totals, "total_checks"),
            ]
        )
        return {"monitored_nodes": nodes, "total_checks": checks, "timeout_seconds": self._timeout}

    async def transitions(self, limit: int = 100, node_id: str | None = None) -> list[Transition]:
        """Return the newest ``limit`` changes of state, oldest first, of one node where it is given.

        Changes are kept in a stream of about ``max_transitions`` entries, oldest dropped first.
        """
        validation.integer("limit", limit, least=1, most=MAX_TRANSITIONS_READ)
        wanted = None if node_id is None else validation.identifier("node id", node_id)
        found: list[Transition] = []
        end = "+"
        while True:
            page = await self._transitions_before(end)
            found.extend(_matching(page, wanted))
            if len(page) < _STREAM_PAGE or len(found) >= limit:
                return found[:limit][::-1]
            end = "(" + page[-1][0].decode()

    def follow(self, position: str | None, node_id: str | None, timeout: float | None, poll_seconds: float) -> Follower:
        """Return a reader of the transitions after ``position``."""
        return Follower(self._keys, position, node_id, timeout, poll_seconds)

    def _transitions_before(self, end: str) -> Operation[Sequence[Entry]]:
        return command(list[Entry], "XREVRANGE", self._keys.transitions, end, "-", "COUNT", _STREAM_PAGE)


def _matching(entries: Iterable[Entry], node_id: str | None) -> list[Transition]:
    decoded = (from_entry(entry) for entry in entries)
    return [change for change in decoded if change is not None and node_id in (None, change.node_id)]
