"""Suspicion: a node whose heartbeats are missing is suspected first, and unhealthy only once that is confirmed.

After SWIM (Das, Gupta, Motivala, "SWIM: scalable weakly-consistent infection-style process group membership
protocol", DSN 2002): a suspected node has time to send a heartbeat, and may be probed over another channel than that
of its heartbeats. A node that answers the probe stays suspected while its heartbeats are missing, and is not marked
unhealthy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from edge_redis._core.chunks import split_chunks
from edge_redis._core.gather import gather
from edge_redis._core.operation import Batch, Invoke, command
from edge_redis._health import watch_scripts
from edge_redis._health.config import HealthConfig
from edge_redis._health.keys import HealthKeys
from edge_redis._health.slices import AT_ONCE, SLICE
from edge_redis._health.verdicts import Verdict
from edge_redis._health.watch_scripts import Term


class Probe(Protocol):
    """Probes nodes over another channel than that of their heartbeats."""

    def __call__(self, node_ids: Sequence[str], seconds: float, /) -> dict[str, bool] | Awaitable[dict[str, bool]]:
        """Return whether each node answered within ``seconds``; a longer probe's result comes with a later call."""

    def close(self) -> None:
        """Abandon the probes that run."""


PROBED_AT_ONCE: Final = 100
"""Suspects probed in one round."""


class Suspects:
    """The suspected nodes of one shard. They are kept in Redis, so that the next leading watch continues with them."""

    def __init__(self, keys: HealthKeys, config: HealthConfig) -> None:
        self._keys = keys
        self._config = config

    async def since(self, ids: Collection[str]) -> dict[str, int]:
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

    async def record(self, term: int, nodes: Sequence[tuple[str, float]], plan: str, *, restart: bool) -> None:
        """Mark nodes, given as ids and heartbeat ages in ms, as suspected."""
        for some in split_chunks(nodes, AT_ONCE):
            await Batch(
                [
                    watch_scripts.record_suspicion(self._keys, self._config, term, part, plan, restart=restart)
                    for part in split_chunks(some, SLICE)
                ]
            )


class Deferred(NamedTuple):
    """The nodes of a shard whose verdicts are deferred, in a term."""

    suspects: Suspects
    term: Term
    verdicts: Sequence[Verdict]


class Suspicion:
    """Suspects nodes, and confirms those that are dead."""

    def __init__(self, config: HealthConfig, seconds: float, probe: Probe | None) -> None:
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

    async def confirm(self, deferred: Sequence[Deferred], seconds: float) -> list[list[str]]:
        """Return the nodes of each shard that are confirmed as dead, and suspect the others.

        Probing takes at most ``seconds``.
        """
        if self._ms == 0 and self._probe is None:
            return [[verdict.node_id for verdict in each.verdicts] for each in deferred]
        ages = await gather([self._suspect(each) for each in deferred])
        due = [[node_id for node_id, age_ms in found.items() if age_ms >= self._ms] for found in ages]
        if self._probe is None or not any(due):
            return due
        oldest = sorted(
            ((-found[node_id], node_id) for found, ids in zip(ages, due, strict=True) for node_id in ids),
            key=itemgetter(0),
        )  # a node that answers goes to the end
        answers = await Invoke(self._probe, [node_id for _, node_id in oldest[:PROBED_AT_ONCE]], seconds)
        await gather([self._restart(each, ids, answers) for each, ids in zip(deferred, due, strict=True)])
        return [[node_id for node_id in answers if node_id in ids and not answers[node_id]] for ids in map(set, due)]

    async def _suspect(self, deferred: Deferred) -> dict[str, int]:
        """Suspect the nodes that are not yet suspected; return for how long each has been suspected, in ms."""
        suspects, term, verdicts = deferred
        since = await suspects.since([verdict.node_id for verdict in verdicts])
        new = [(verdict.node_id, verdict.latency_ms) for verdict in verdicts if verdict.node_id not in since]
        await suspects.record(term.number, new, self._plan, restart=False)
        return {verdict.node_id: term.now_ms - since.get(verdict.node_id, term.now_ms) for verdict in verdicts}

    async def _restart(self, deferred: Deferred, ids: Sequence[str], answers: Mapping[str, bool]) -> None:
        """Begin the suspicion of the nodes again that have answered."""
        answered = [(node_id, 0.0) for node_id in ids if answers.get(node_id)]
        await deferred.suspects.record(deferred.term.number, answered, self._plan, restart=True)

    @property
    def _plan(self) -> str:
        limit = f", phi threshold {self._config.phi_threshold:g}" if self._config.uses_phi else ""
        return f"{limit}, to be confirmed after {self._ms / 1000:g} s" if self._ms else f"{limit}, to be confirmed"


def _decode_moment(word: bytes) -> int:
    """Return a moment in ms. A damaged moment counts as long ago, so that the suspicion ends with the next round."""
    return int(word) if word.isdigit() else 0
