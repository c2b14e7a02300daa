"""Being on watch: one monitor of many judges the fleet, round after round, and knows when not to.

- **One at a time.** A lease in Redis, by the server's clock, decides who is on duty; each turn has a
  higher number, the fence, and every script that writes a verdict refuses an older one (Gray and
  Cheriton, "Leases", SOSP 1989, for the lease; Kleppmann, "How to do distributed locking", 2016, for
  the fence). A watch that was paused past its lease writes nothing.
- **Not its own blindness.** Each call of any watch shows that the server was there. After a gap in these,
  the server was away, or nobody watched: silence counts from the end of the gap, so that each node has a
  whole timeout to be heard again. Nodes that were unhealthy before stay so.
- **One event for many.** Where a node is about to be found silent and most of the nodes that were up have
  been silent for half the timeout, that is one event; verdicts on the silent are withheld until most are
  back, as Kubernetes stops evicting from a zone that fails as a whole; nor is anybody forgotten meanwhile.
  Nodes are to beat at least twice a timeout. Those in maintenance do not count.
- **Suspicion before death**, where that is asked for (``suspicion``).

A round looks at all nodes once, and writes every verdict but those that would turn a node unhealthy by its
silence. These few it judges in a second look, where none of the above speaks against it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from edge_redis._core import validation
from edge_redis._core.operation import Batch, Operation, command
from edge_redis._core.script import load
from edge_redis._health import verdicts
from edge_redis._health.api import Health
from edge_redis._health.checks import OVERDUE
from edge_redis._health.flapping import FlapThresholds
from edge_redis._health.registry import SLICE, SLICES_AT_ONCE, sliced
from edge_redis._health.suspicion import Ask, Suspicion
from edge_redis._health.verdicts import Brief
from edge_redis.errors import StoreError
from edge_redis.models import EdgeNodeStatus, HealthCheck, WatchRound

LEAST_OF_MANY: Final = 3
"""Fewer nodes than this are never a silence of many."""
MOST: Final = 0.5
"""A silence of many begins above this share of the nodes that were up, and ends below half of it."""
FENCED: Final = b"FENCED"
USUAL_INTERVAL: Final = 5.0
"""Seconds between two rounds, where the timeout is not so short that it takes more of them."""

_DUTY: Final = load(__package__, "duty")
_RESIGN: Final = load(__package__, "resign")
_SILENCE: Final = load(__package__, "silence")
_FLAPPING: Final = load(__package__, "flapping")


class Turn(NamedTuple):
    """What ``duty.lua`` replies."""

    fence: int
    now_ms: int
    since_ms: int
    silence: int


class Duty(Health):
    """Rounds of judging every registered node, for whoever holds the watch."""

    def __init__(
        self,
        heartbeat_timeout_seconds: float,
        *,
        namespace: str,
        interval_seconds: float | None,
        lease_seconds: float | None,
        retention_seconds: float | None,
        max_history: int,
        max_transitions: int,
        detector: str = "timeout",
        phi_threshold: float = 8.0,
        flap_detector: FlapThresholds | None,
        suspicion_seconds: float = 0.0,
        confirm: Callable[..., object] | None = None,
        ask: Ask | None = None,
    ) -> None:
        super().__init__(
            heartbeat_timeout_seconds,
            namespace=namespace,
            max_history=max_history,
            max_transitions=max_transitions,
            detector=detector,
            phi_threshold=phi_threshold,
            flap_detector=flap_detector,
        )
        # Often enough that an absence of the server is noticed before it makes a node that beats look silent.
        usual = min(USUAL_INTERVAL, self._timeout / 4)
        interval = usual if interval_seconds is None else validation.positive("interval_seconds", interval_seconds)
        lease = 3 * interval if lease_seconds is None else validation.number("lease_seconds", lease_seconds)
        if lease < 2 * interval:
            raise validation.value_error("lease_seconds", lease, "must be at least two intervals")
        self.tick_seconds = interval
        self._lease_ms = round(lease * 1000)
        gap = max(1.5 * interval, min(2 * interval + 1, self._timeout / 2))
        self._gap_ms = round(gap * 1000)
        self._retention = (
            None if retention_seconds is None else validation.positive("retention_seconds", retention_seconds)
        )
        suspicion = validation.non_negative("suspicion_seconds", suspicion_seconds)
        if confirm is not None:
            validation.function("confirm", confirm)
        self._suspicion = Suspicion(self._keys, suspicion, self._max_transitions, None if confirm is None else ask)
        self._limit = f"timeout {self._timeout:g} s" + (f", phi threshold {phi_threshold:g}" * self._uses_phi)
        self._holder = secrets.token_hex(8)
        self._resigned = False
        self.latest: WatchRound | None = None

    def after_fork(self) -> None:
        """Be another watch than the parent."""
        self._holder = secrets.token_hex(8)

    async def tick(self) -> WatchRound:
        """Do a round."""
        return await self.run_once()

    async def closing(self) -> None:
        """Give up the watch, so that another takes it at once; with the server away, the lease runs out by itself."""
        with self.mutex, suppress(StoreError):
            self._resigned = True  # a round in the background must not take it again
            await _RESIGN([self._keys.duty], [self._holder], int)

    async def run_once(self) -> WatchRound:
        """Take the watch or keep it, and judge every registered node; or stand by where another has it."""
        with self.mutex:  # a round in the background and one that is asked for
            self.latest = WatchRound(leader=False) if self._resigned else (await self._round())
            return self.latest

    async def _round(self) -> WatchRound:
        turn = await self._take_duty()
        if turn.fence == 0:
            return WatchRound(leader=False)
        seen = await self._judge(turn, "watch", (await self._ids()))
        if seen is None:
            return WatchRound(leader=False)
        silence = await self._silence(turn, seen)
        withheld = [brief for brief in seen if brief.withheld]
        dead: Sequence[str] = () if silence else (await self._confirmed(turn, withheld))
        turned = await self._judge(turn, "brief", dead, self._suspicion.note)
        if turned is None:
            return WatchRound(leader=False)
        judged = [*(brief for brief in seen if not brief.withheld), *turned]
        await self._note_flapping(turn, [brief.node_id for brief in judged if brief.changed])
        return await self._finish(turn, judged, withheld=len(withheld) - len(dead), silence=silence)

    def _confirmed(self, turn: Turn, withheld: Sequence[Brief]) -> Awaitable[list[str]]:
        # Asking must be over well before the pause counts as an absence of the server.
        return self._suspicion.confirmed(turn.fence, turn.now_ms, withheld, self._limit, self._gap_ms / 2000)

    async def _finish(self, turn: Turn, judged: Sequence[Brief], *, withheld: int, silence: bool) -> WatchRound:
        grace = turn.now_ms - turn.since_ms < self._timeout * 1000
        retention = None if grace or silence else self._retention
        forgotten = 0 if retention is None else (await self.forget(retention))
        return WatchRound(
            leader=True,
            fence=turn.fence,
            checked=len(judged),
            unhealthy=sum(not brief.healthy for brief in judged),
            suspected=0 if silence else withheld,
            forgotten=forgotten,
            grace=grace,
            silence=silence,
        )

    def _take_duty(self) -> Operation[Turn]:
        return _DUTY(
            [self._keys.duty], [self._holder, self._lease_ms, self._gap_ms], lambda reply: Turn(*map(int, reply))
        )

    async def _judge(self, turn: Turn, form: str, ids: Sequence[str], note: str = "") -> list[Brief] | None:
        """Return the verdicts, or None where the turn or the round is over."""
        judged: list[Brief] = []
        for some in sliced([(node_id, "") for node_id in ids], SLICE * SLICES_AT_ONCE):
            replies = await self._slices(form, some, str(turn.fence), note)
            if FENCED in replies:
                return None
            for part, reply in zip(sliced(some, SLICE), replies, strict=True):
                judged.extend(verdicts.from_words([node_id for node_id, _ in part], reply))
        return judged

    async def _silence(self, turn: Turn, seen: Sequence[Brief]) -> bool:
        """Whether most of the fleet is silent; say so in the stream where that begins or ends."""
        was = turn.silence == 1
        up, overdue = sum(brief.up for brief in seen), sum(brief.overdue for brief in seen)
        is_due = was or any(brief.withheld for brief in seen)
        now = is_due and overdue >= LEAST_OF_MANY and overdue > up * (MOST / 2 if was else MOST)
        if now != was:
            limit = "longer than they use to be" if self._uses_phi else f"for {self._timeout * OVERDUE:g} s or longer"
            reason = f"{overdue} of {up} nodes that were up are silent {limit}"
            await _SILENCE(
                [self._keys.duty, self._keys.transitions],
                [turn.fence, int(now), reason, self._max_transitions],
                int,
            )
        return now

    async def _note_flapping(self, turn: Turn, changed: Sequence[str]) -> None:
        """Tell of the nodes that began or ceased to flap: one whose verdict changed, or that did flap."""
        found = await command(set[bytes], "SMEMBERS", self._keys.flapping)
        known = {node_id.decode("utf-8", "replace") for node_id in found}
        for some in sliced(sorted({*changed, *known}), SLICE * 4):
            histories = await Batch([self.get_history(node_id, self._max_history) for node_id in some])
            pairs = zip(some, histories, strict=True)
            notes = [note for node_id, checks in pairs if (note := self._note(turn, node_id, checks, known))]
            if notes:
                await Batch(notes)

    def _note(
        self, turn: Turn, node_id: str, checks: Sequence[HealthCheck], known: Container[str]
    ) -> Operation[int] | None:
        """Return the step that notes a node's flapping where it is news, and the node not in maintenance."""
        seen = [found.healthy for found in checks]
        flaps = self._flaps(seen, was=node_id in known)
        if flaps == (node_id in known) or (checks and checks[-1].details["status"] == EdgeNodeStatus.MAINTENANCE):
            return None
        keys = self._keys
        return _FLAPPING(
            [keys.duty, keys.flapping, keys.beats, keys.transitions],
            [
                turn.fence,
                node_id,
                int(flaps),
                "healthy" if checks and checks[-1].healthy else "unhealthy",
                self._flap_reason(seen),
                self._max_transitions,
            ],
            int,
        )
