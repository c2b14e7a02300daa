"""The leader: of any number of watches, the one that checks the fleet in rounds. It defers verdicts that may be wrong.

- **One leader.** A lease in Redis, by the server's clock, decides which watch leads; each term has a higher
  number, and every script that writes a verdict refuses a lower one (Gray and Cheriton, "Leases", SOSP 1989, for the
  lease; Kleppmann, "How to do distributed locking", 2016, for the number, there called a fencing token). A watch that
  was paused past its lease writes nothing.
- **Outages of the server.** Each call of any watch shows that the server is up. After a gap between two calls the
  server was down, or no watch ran: heartbeats count as missing from the end of the gap, so that each node has a whole
  timeout to send one. Nodes that were unhealthy before stay unhealthy. This grace is bounded: where the pause between
  rounds is always longer than the gap, a node without a heartbeat over four gaps still becomes unhealthy.
- **One event for a mass outage** (``mass_outage``), during which no node is removed either. It is bounded as well.
- **Suspicion before death**, if configured (``suspicion``).

A round checks all nodes once, and writes every verdict except those that missing heartbeats would turn to
unhealthy. If none of the rules above defers them, it checks these nodes a second time and writes their verdicts.

Of several shards, the first has the lease and the mass outage, which is judged by the nodes of all; the leader writes
its term to every other shard first (``leadership``). Each shard notices the outages of its own server. A round that
cannot reach one of them fails as a whole.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from edge_redis._core.component import Component
from edge_redis._core.gather import gather
from edge_redis._core.shards import Shards
from edge_redis._health.checker import TimeoutWarning
from edge_redis._health.config import HealthConfig, WatchConfig
from edge_redis._health.flapping_watch import FlappingWatch
from edge_redis._health.keys import HealthKeys
from edge_redis._health.leadership import Leadership
from edge_redis._health.mass_outage import MassOutage
from edge_redis._health.moved_nodes import follow
from edge_redis._health.scripts import CheckCall, Claim
from edge_redis._health.shards import HealthShard, make_shards
from edge_redis._health.suspicion import Deferred, Probe, Suspects, Suspicion
from edge_redis._health.verdicts import Verdict
from edge_redis._health.watch_scripts import Term
from edge_redis.errors import StoreError
from edge_redis.models import WatchRound

_log: Final = logging.getLogger("edge_redis")

STAND_BY: Final = WatchRound(leader=False)


class WatchShard(HealthShard):
    """One shard, and what a watch keeps of it from round to round."""

    def __init__(self, keys: HealthKeys, config: HealthConfig, warning: TimeoutWarning) -> None:
        super().__init__(keys, config, warning)
        self.suspects = Suspects(keys, config)
        self.flapping = FlappingWatch(keys, config, self.history)

    async def check(self, term: Term, form: str, ids: Sequence[str], note: str = "") -> list[Verdict] | None:
        """Check nodes in a term; None where it is over."""
        call = CheckCall(form, str(term.number), note)
        return await self.checker.check([Claim(node_id) for node_id in ids], call)

    async def check_registered(self, term: Term) -> list[Verdict] | None:
        """Check all registered nodes, and defer what missing heartbeats would turn to unhealthy."""
        return await self.check(term, "watch", await self.registry.ids())

    async def keep_round(self, term: Term) -> bool:
        """Extend the round without a check; return whether its term goes on."""
        return await self.checker.keep_round(CheckCall("brief", str(term.number)))


class Leader(Component):
    """Rounds of checking every registered node, by the watch that holds the lease."""

    def __init__(
        self, config: HealthConfig, watch: WatchConfig, *, namespace: str = "default", probe: Probe | None = None
    ) -> None:
        self.namespace = namespace
        self._config = config
        self._watch = watch
        warning = TimeoutWarning(config.heartbeat_timeout_seconds)
        self.shards = make_shards(
            namespace, lambda keys: WatchShard(keys, config, warning), config.shards, config.default_shards
        )
        self._leadership = Leadership(config, watch)
        self._mass_outage = MassOutage(config, watch.mass_outage_limit)
        self._suspicion = Suspicion(config, watch.suspicion_seconds, probe)
        self.latest: WatchRound | None = None
        self._has_warned = False

    def after_fork(self) -> None:
        """Reset state in a forked child, which is another watch."""
        self._leadership.renew_identity()

    async def closing(self) -> None:
        """Release the lease, so that another watch takes it at once. If the server cannot be reached, it expires."""
        with self.mutex, suppress(StoreError):
            self._suspicion.close()
            await self._leadership.release([shard.keys for shard in self.shards.known])

    async def run_once(self) -> WatchRound:
        """Take or keep the lease and check every registered node, or stand by where another watch leads."""
        with self.mutex:  # of a round in the background and a call of run_once, one waits
            await self.shards.settle()
            self.latest = await follow(self.shards, self._round) or STAND_BY
            return self.latest

    async def _round(self, present: Shards[WatchShard]) -> WatchRound | None:
        home = present.record.home
        shards = [present[home], *present[:home], *present[home + 1 :]]
        terms = await self._leadership.take([shard.keys for shard in shards])
        self._warn_of_difference(terms[0])
        if terms[0].number == 0:
            return replace(STAND_BY, config_differs=bool(terms[0].differs))
        return await self._lead(list(zip(shards, terms, strict=True)))

    async def _lead(self, led: Sequence[tuple[WatchShard, Term]]) -> WatchRound | None:
        seen = await _collect([shard.check_registered(term) for shard, term in led])
        if seen is None:
            return None
        home, term = led[0]
        mass_outage = await self._mass_outage.update(home.keys, term, [each for part in seen for each in part])
        deferred = [[verdict for verdict in part if verdict.deferred] for part in seen]
        dead = [[] for _ in led] if mass_outage else await self._confirm(led, deferred)
        # Probing takes time. With the pause until the next round added, it must not look like an outage of the server.
        if any(deferred) and not await _keep_rounds(led, dead):
            return None
        note = self._suspicion.note
        turned = await _collect(
            [shard.check(term, "brief", ids, note) for (shard, term), ids in zip(led, dead, strict=True)]
        )
        if turned is None:
            return None
        checked = [
            [*(each for each in part if not each.deferred), *more] for part, more in zip(seen, turned, strict=True)
        ]
        await gather(
            [
                shard.flapping.update(term, [verdict.node_id for verdict in part if verdict.changed])
                for (shard, term), part in zip(led, checked, strict=True)
            ]
        )
        suspected = sum(map(len, deferred)) - sum(map(len, dead))
        return await self._finish(led, [each for part in checked for each in part], suspected, mass_outage=mass_outage)

    def _warn_of_difference(self, term: Term) -> None:
        if term.differs and not self._has_warned:
            _log.warning(
                "another HealthWatch leads, with another heartbeat timeout or phi threshold than this one (%g s)",
                self._config.heartbeat_timeout_seconds,
            )
        self._has_warned = bool(term.differs)

    async def _confirm(
        self, led: Sequence[tuple[WatchShard, Term]], deferred: Sequence[Sequence[Verdict]]
    ) -> list[list[str]]:
        parts = [Deferred(shard.suspects, term, part) for (shard, term), part in zip(led, deferred, strict=True)]
        # Probing must end well before the pause counts as an outage of the server.
        return await self._suspicion.confirm(parts, self._watch.gap / 2)

    async def _finish(
        self, led: Sequence[tuple[WatchShard, Term]], checked: Sequence[Verdict], suspected: int, *, mass_outage: bool
    ) -> WatchRound:
        grace = any(term.now_ms - term.since_ms < self._config.timeout_ms and not term.is_slow for _, term in led)
        retention = None if grace or mass_outage else self._watch.retention_seconds
        removed = 0
        if retention is not None:
            removed = sum(await gather([shard.registry.remove_stale(retention) for shard, _ in led]))
        return WatchRound(
            leader=True,
            term=led[0][1].number,
            checked=len(checked),
            unhealthy=sum(not verdict.healthy for verdict in checked),
            suspected=0 if mass_outage else suspected,
            removed=removed,
            grace=grace,
            mass_outage=mass_outage,
        )


async def _keep_rounds(led: Sequence[tuple[WatchShard, Term]], dead: Sequence[Sequence[str]]) -> bool:
    """Extend the round of each shard in which no node is checked again; return whether their terms go on."""
    idle = [shard.keep_round(term) for (shard, term), ids in zip(led, dead, strict=True) if not ids]
    return all(await gather(idle))


async def _collect(checks: Sequence[Coroutine[Any, Any, list[Verdict] | None]]) -> list[list[Verdict]] | None:
    """Return the verdicts of each shard; None where the term or the round is over in one of them."""
    found = await gather(checks)
    parts = [part for part in found if part is not None]
    return parts if len(parts) == len(found) else None
