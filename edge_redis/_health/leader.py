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
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from edge_redis._core.component import Component
from edge_redis._health.checker import Checker
from edge_redis._health.config import HealthConfig, WatchConfig
from edge_redis._health.flapping_watch import FlappingWatch
from edge_redis._health.history import History
from edge_redis._health.keys import HealthKeys
from edge_redis._health.leadership import Leadership
from edge_redis._health.mass_outage import MassOutage
from edge_redis._health.registry import Registry
from edge_redis._health.scripts import CheckCall, Claim
from edge_redis._health.suspicion import Probe, Suspicion
from edge_redis._health.verdicts import Verdict
from edge_redis._health.watch_scripts import Term
from edge_redis.errors import StoreError
from edge_redis.models import WatchRound

_log: Final = logging.getLogger("edge_redis")

STAND_BY: Final = WatchRound(leader=False)


class Leader(Component):
    """Rounds of checking every registered node, by the watch that holds the lease."""

    def __init__(
        self, config: HealthConfig, watch: WatchConfig, *, namespace: str = "default", probe: Probe | None = None
    ) -> None:
        self.namespace = namespace
        keys = HealthKeys(namespace)
        self._config = config
        self._watch = watch
        self._registry = Registry(keys, config)
        self._checker = Checker(keys, config, self._registry)
        self._leadership = Leadership(keys, config, watch)
        self._mass_outage = MassOutage(keys, config, watch.mass_outage_limit)
        self._suspicion = Suspicion(keys, config, watch.suspicion_seconds, probe)
        self._flapping = FlappingWatch(keys, config, History(keys, config))
        self.latest: WatchRound | None = None
        self._has_warned = False

    def after_fork(self) -> None:
        """Reset state in a forked child, which is another watch."""
        self._leadership.renew_identity()

    async def closing(self) -> None:
        """Release the lease, so that another watch takes it at once. If the server cannot be reached, it expires."""
        with self.mutex, suppress(StoreError):
            self._suspicion.close()
            await self._leadership.release()

    async def run_once(self) -> WatchRound:
        """Take or keep the lease and check every registered node, or stand by where another watch leads."""
        with self.mutex:  # of a round in the background and a call of run_once, one waits
            self.latest = await self._round() or STAND_BY
            return self.latest

    async def _round(self) -> WatchRound | None:
        term = await self._leadership.take()
        self._warn_of_difference(term)
        if term.number == 0:
            return replace(STAND_BY, config_differs=bool(term.differs))
        seen = await self._check(term, "watch", await self._registry.ids())
        if seen is None:
            return None
        mass_outage = await self._mass_outage.update(term, seen)
        deferred = [verdict for verdict in seen if verdict.deferred]
        dead: Sequence[str] = () if mass_outage else await self._confirm(term, deferred)
        # Probing takes time. With the pause until the next round added, it must not look like an outage of the server.
        if deferred and not dead and not await self._checker.keep_round(CheckCall("brief", str(term.number))):
            return None
        turned = await self._check(term, "brief", dead, self._suspicion.note)
        if turned is None:
            return None
        checked = [*(verdict for verdict in seen if not verdict.deferred), *turned]
        await self._flapping.update(term, [verdict.node_id for verdict in checked if verdict.changed])
        return await self._finish(term, checked, deferred=len(deferred) - len(dead), mass_outage=mass_outage)

    def _warn_of_difference(self, term: Term) -> None:
        if term.differs and not self._has_warned:
            _log.warning(
                "another HealthWatch leads, with another heartbeat timeout or phi threshold than this one (%g s)",
                self._config.heartbeat_timeout_seconds,
            )
        self._has_warned = bool(term.differs)

    async def _check(self, term: Term, form: str, ids: Sequence[str], note: str = "") -> list[Verdict] | None:
        call = CheckCall(form, str(term.number), note)
        return await self._checker.check([Claim(node_id) for node_id in ids], call)

    async def _confirm(self, term: Term, deferred: Sequence[Verdict]) -> list[str]:
        # Probing must end well before the pause counts as an outage of the server.
        return await self._suspicion.confirm(term.number, term.now_ms, deferred, self._watch.gap / 2)

    async def _finish(self, term: Term, checked: Sequence[Verdict], *, deferred: int, mass_outage: bool) -> WatchRound:
        grace = term.now_ms - term.since_ms < self._config.timeout_ms and not term.is_slow
        retention = None if grace or mass_outage else self._watch.retention_seconds
        removed = 0 if retention is None else await self._registry.remove_stale(retention)
        return WatchRound(
            leader=True,
            term=term.number,
            checked=len(checked),
            unhealthy=sum(not verdict.healthy for verdict in checked),
            suspected=0 if mass_outage else deferred,
            removed=removed,
            grace=grace,
            mass_outage=mass_outage,
        )
