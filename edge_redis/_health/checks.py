"""Judging nodes: one atomic step for a node, slices in one round trip for many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Final, TypeVar

from edge_redis._core import validation
from edge_redis._core.operation import Argument, Batch, Operation, command
from edge_redis._core.script import load
from edge_redis._health import node_record as fields
from edge_redis._health import verdicts
from edge_redis._health.keys import ORPHAN_HISTORY_MS
from edge_redis._health.registry import SLICE, SLICES_AT_ONCE, Clock, Registry, sliced
from edge_redis.errors import UnknownNodeError
from edge_redis.models import EdgeNode, HealthCheck

T = TypeVar("T")

MAX_HISTORY: Final = 10_000
"""Most that ``max_history`` may be: a whole history is read and trimmed in one step."""

DETECTORS: Final = ("timeout", "phi")

OVERDUE: Final = 0.5
"""A silence of this share of the timeout is one to notice, where many nodes have it."""

OVERDUE_PHI: Final = 0.30103
"""phi of a silence as long as the mean interval: the logarithm of two."""

_CHECK: Final = load(__package__, "check")


class Checks(Registry):
    """Verdicts on nodes: healthy while the heartbeat is younger than the timeout and the status not OFFLINE."""

    def __init__(
        self,
        heartbeat_timeout_seconds: float,
        *,
        namespace: str,
        max_history: int,
        max_transitions: int,
        detector: str = "timeout",
        phi_threshold: float = 8.0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(namespace, clock)
        self._timeout = validation.positive("heartbeat_timeout_seconds", heartbeat_timeout_seconds)
        if detector not in DETECTORS:
            raise validation.value_error("detector", detector, f"must be one of {', '.join(DETECTORS)}")
        self._phi_threshold = validation.positive("phi_threshold", phi_threshold)
        self._uses_phi = detector == "phi"
        if self._uses_phi:
            self._arrival_limit = self._timeout * 1000
        self._max_history = validation.integer("max_history", max_history, least=1, most=MAX_HISTORY)
        self._max_transitions = validation.integer("max_transitions", max_transitions, least=1)

    async def check_node(self, node: EdgeNode | str) -> HealthCheck:
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
        claim = fields.claim(node)
        with self._slots.acquire() as call:
            line = await self._check("full", call, [claim], bytes)
        found = verdicts.from_line(claim[0], line)
        if found is None:
            raise _unknown([claim[0]])
        return found

    async def check_cluster(self, nodes: Iterable[EdgeNode | str] | None = None) -> dict[str, Any]:
        """Judge many nodes as ``check_node`` does: those given, or all that are registered.

        Returns total_nodes, healthy_nodes, unhealthy_nodes, health_percent (0 to 100; 100.0 for no
        nodes) and checks, a list of dicts of node_id, healthy and latency_ms: all registered nodes in
        the order of their ids, others in the order given. Each node is judged atomically, the whole is
        not a snapshot: a node that is deregistered meanwhile is left out.

        Raises:
            UnknownNodeError: an id among ``nodes`` is not registered; nothing was checked.

        """
        if nodes is None:
            claims = [(node_id, "") for node_id in (await self._ids())]
        else:
            claims = [fields.claim(node) for node in fields.listed(nodes)]
            await self._refuse_unknown([node_id for node_id, claim in claims if not claim])
        found: list[verdicts.Brief] = []
        for some in sliced(claims, SLICE * SLICES_AT_ONCE):
            found.extend(await self._check_slices(some))
        return verdicts.report(found)

    async def _check_slices(self, claims: Sequence[tuple[str, str]]) -> list[verdicts.Brief]:
        replies = await self._slices("brief", claims)
        parts = sliced(claims, SLICE)
        judged = (
            verdicts.from_words((node_id for node_id, _ in part), reply)
            for part, reply in zip(parts, replies, strict=True)
        )
        return [verdict for some in judged for verdict in some]

    async def _slices(
        self, form: str, claims: Sequence[tuple[str, str]], fence: str = "", note: str = ""
    ) -> list[bytes]:
        """Judge in slices, all in one round trip; return the replies of ``check.lua``."""
        with ExitStack() as held:
            steps = [
                self._check(form, held.enter_context(self._slots.acquire()), part, bytes, fence, note)
                for part in sliced(claims, SLICE)
            ]
            return await Batch(steps)

    def _check(
        self,
        form: str,
        call: tuple[str, int],
        claims: Sequence[tuple[str, str]],
        decode: Callable[[bytes], T],
        fence: str = "",
        note: str = "",
    ) -> Operation[T]:
        keys = self._keys
        limits = [self._timeout * 1000, self._max_history, self._max_transitions, ORPHAN_HISTORY_MS]
        phis: list[Argument] = [self._phi_threshold, self._timeout * OVERDUE * 1000, OVERDUE_PHI]
        if not self._uses_phi:
            phis[0] = phis[2] = ""
        return _CHECK(
            [
                *(keys.beats, keys.nodes, keys.histories, keys.transitions),
                *(keys.totals, keys.repeats, keys.duty, keys.suspects),
            ],
            [*call, *limits, form, self._now_word(), fence, *phis, note, *(word for claim in claims for word in claim)],
            decode,
        )

    async def _refuse_unknown(self, ids: Sequence[str]) -> None:
        """Raise where one of these is not registered."""
        for some in sliced(ids, SLICE * SLICES_AT_ONCE):
            scores = await Batch([self._scores(part) for part in sliced(some, SLICE)])
            known = (score is not None for part in scores for score in part)
            unknown = [node_id for node_id, is_known in zip(some, known, strict=True) if not is_known]
            if unknown:
                raise _unknown(unknown)

    def _scores(self, ids: Sequence[str]) -> Operation[list[object]]:
        return command(list[object], "ZMSCORE", self._keys.beats, *ids)


def _unknown(ids: Sequence[str]) -> UnknownNodeError:
    more = f" and {len(ids) - 1} more" if len(ids) > 1 else ""
    return UnknownNodeError(f"no node is registered as {ids[0]!r}{more}; register it, or give the EdgeNode")
