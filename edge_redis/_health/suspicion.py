"""Suspicion: a node whose heartbeats are missing is suspected first, and unhealthy only once that is confirmed.

After SWIM (Das, Gupta, Motivala, "SWIM: scalable weakly-consistent infection-style process group membership
protocol", DSN 2002): a suspected node has time to send a heartbeat, and may be probed over another channel than that
of its heartbeats. A node that answers the probe stays suspected while its heartbeats are missing, and is not marked
unhealthy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterable, Sequence
from typing import Final, Protocol

from edge_redis._core.chunks import split_chunks
from edge_redis._core.operation import Batch, Invoke, Operation, command
from edge_redis._health import watch_scripts
from edge_redis._health.config import HealthConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.slices import AT_ONCE, SLICE
from edge_redis._health.verdicts import Verdict


class Probe(Protocol):
    """Probes nodes over another channel than that of their heartbeats."""

    def __call__(self, node_ids: Sequence[str], seconds: float, /) -> dict[str, bool] | Awaitable[dict[str, bool]]:
        """Return whether each node answered within ``seconds``; a longer probe's result comes with a later call."""

    def close(self) -> None:
        """Abandon the probes that run."""


PROBED_AT_ONCE: Final = 100
"""Suspects probed in one round."""


class Suspicion:
    """The suspected nodes. They are kept in Redis, so that the next leading watch continues with them."""

    def __init__(self, keys: HealthKeys, config: HealthConfig, seconds: float, probe: Probe | None) -> None:
        self._keys = keys
        self._config = config
        self._ms = seconds * 1000
        self._probe = probe

    @property
    def note(self) -> str:
        """The text that is added to the reason of a confirmed verdict."""
        return "" if self._probe is None else ", does not answer"

    def close(self) -> None:
        """Abandon the probes that run."""
        if self._probe is not None:
            self._probe.close()

    async def confirm(self, term: int, now_ms: int, deferred: Sequence[Verdict], seconds: float) -> list[str]:
        """Return the nodes that are confirmed as dead, and suspect the others. Probing takes at most ``seconds``."""
        if not deferred or (self._ms == 0 and self._probe is None):
            return [verdict.node_id for verdict in deferred]
        since = await self._since([verdict.node_id for verdict in deferred])
        new = [verdict for verdict in deferred if verdict.node_id not in since]
        await self._suspect(term, [(verdict.node_id, verdict.latency_ms) for verdict in new], restart=False)
        due = [verdict.node_id for verdict in deferred if now_ms - since.get(verdict.node_id, now_ms) >= self._ms]
        if self._probe is None or not due:
            return due
        due.sort(key=lambda node_id: since.get(node_id, now_ms))  # a node that answers goes to the end
        answers = await Invoke(self._probe, due[:PROBED_AT_ONCE], seconds)
        await self._suspect(term, [(node_id, 0.0) for node_id, answered in answers.items() if answered], restart=True)
        return [node_id for node_id, answered in answers.items() if not answered]

    async def _since(self, ids: Collection[str]) -> dict[str, int]:
        """Return since when nodes are suspected, in ms of the server's clock; the others are left out."""
        found: dict[str, int] = {}
        for some in split_chunks(list(ids), AT_ONCE):
            parts = [
                command(list[bytes | None], "HMGET", self._keys.suspects, *part)
                for part in split_chunks(some, SLICE * 2)
            ]
            moments = (moment for reply in await Batch(parts) for moment in reply)
            found.update({name: _decode_moment(at) for name, at in zip(some, moments, strict=True) if at is not None})
        return found

    async def _suspect(self, term: int, nodes: Sequence[tuple[str, float]], *, restart: bool) -> None:
        for some in split_chunks(nodes, AT_ONCE):
            await Batch([self._record(term, part, restart=restart) for part in split_chunks(some, SLICE)])

    def _record(self, term: int, nodes: Iterable[tuple[str, float]], *, restart: bool) -> Operation[int]:
        return watch_scripts.record_suspicion(self._keys, self._config, term, nodes, self._plan, restart=restart)

    @property
    def _plan(self) -> str:
        limit = f", phi threshold {self._config.phi_threshold:g}" if self._config.uses_phi else ""
        return f"{limit}, to be confirmed after {self._ms / 1000:g} s" if self._ms else f"{limit}, to be confirmed"


def _decode_moment(word: bytes) -> int:
    """Return a moment in ms. A damaged moment counts as long ago, so that the suspicion ends with the next round."""
    return int(word) if word.isdigit() else 0
