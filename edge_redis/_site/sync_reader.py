"""The progress of syncing at an edge: its scopes, and how long each has waited for the cloud."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from edge_redis._core.operation import command
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._site.scope_state import ScopeState, SyncOverview, SyncSample
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.outbox_leases import waiting_since
from edge_redis._sync.totals import read_totals
from edge_redis.models import utc_now

MAX_WAITING: Final = 1000
"""Scopes whose lag is read: those that wait longest."""
MAX_SAMPLES: Final = 300


class SyncReader:
    """Reads the progress of syncing, and keeps a sample of each reading."""

    def __init__(self, edge: EdgeRedis, runner: AsyncRunner) -> None:
        self._edge = edge
        self._keys = SyncKeys(edge.namespace, "sync")
        self._runner = runner
        self._samples: deque[SyncSample] = deque(maxlen=MAX_SAMPLES)

    async def read(self) -> SyncOverview:
        """Return the scopes and the progress of syncing.

        Changes go on while this reads: what waits is added up from the scopes, so that the sum and the list agree.
        """
        totals = await self._runner.run(read_totals(self._keys))
        dead_letters = await self._runner.run(command(int, "XLEN", self._keys.dead_letters))
        waiting = await self._read_waiting()
        scopes = [
            ScopeState(**found, lag_seconds=waiting.get(found["scope"], 0.0) if found["pending"] else 0.0)
            for found in await self._edge.scopes()
        ]
        pending = sum(scope.pending for scope in scopes)
        lag = max((scope.lag_seconds for scope in scopes), default=0.0)
        self._samples.append(SyncSample(at=utc_now(), pending=pending, pushed_total=totals.pushed, lag_seconds=lag))
        return SyncOverview(
            scopes=tuple(scopes),
            pending=pending,
            lag_seconds=lag,
            dead_letters=dead_letters,
            totals=totals,
            samples=tuple(self._samples),
        )

    async def _read_waiting(self) -> dict[str, float]:
        """Return the lag of the scopes that wait longest, in seconds by the server's clock."""
        now_ms = await self._runner.run(command(lambda reply: reply[0] * 1000 + reply[1] / 1000, "TIME"))
        reply = await self._runner.run(command(list[Any], "ZRANGE", self._keys.work, 0, MAX_WAITING - 1, "WITHSCORES"))
        # RESP3 nests each member and its score, RESP2 does not.
        flat = [item for pair in reply for item in (pair if isinstance(pair, (list, tuple)) else [pair])]
        return {
            name.decode(errors="replace"): max(0.0, now_ms - waiting_since(float(score))) / 1000
            for name, score in zip(flat[::2], flat[1::2], strict=True)
        }
