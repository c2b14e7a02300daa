"""The progress of syncing at an edge: its scopes, and how long each has waited for the cloud."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from edge_redis._core.operation import Batch, command
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._site.scope_state import ScopeState, SyncOverview, SyncSample
from edge_redis._sync.edge_keys import count_shards, make_edge_keys
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
        self._keys = make_edge_keys(edge.namespace, count_shards(edge.namespace))
        self._runner = runner
        self._samples: deque[SyncSample] = deque(maxlen=MAX_SAMPLES)

    async def read(self) -> SyncOverview:
        """Return the scopes and the progress of syncing.

        Changes go on while this reads: what waits is added up from the scopes, so that the sum and the list agree.
        """
        shards = await self._runner.run(self._keys.refresh())
        totals = await self._runner.run(read_totals(shards))
        dead_letters = sum(await self._runner.run(Batch([command(int, "XLEN", keys.dead_letters) for keys in shards])))
        waiting = await self._read_waiting(shards)
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

    async def _read_waiting(self, shards: Sequence[SyncKeys]) -> dict[str, float]:
        """Return the lag of the scopes that wait longest, in seconds by the server's clock."""
        now_ms = await self._runner.run(command(lambda reply: reply[0] * 1000 + reply[1] / 1000, "TIME"))
        most = -(-MAX_WAITING // len(shards))
        replies = await self._runner.run(
            Batch([command(list[Any], "ZRANGE", keys.work, 0, most - 1, "WITHSCORES") for keys in shards])
        )
        # RESP3 nests each member and its score, RESP2 does not.
        pairs = (pair for reply in replies for pair in reply)
        flat = [item for pair in pairs for item in (pair if isinstance(pair, (list, tuple)) else [pair])]
        return {
            name.decode(errors="replace"): max(0.0, now_ms - waiting_since(float(score))) / 1000
            for name, score in zip(flat[::2], flat[1::2], strict=True)
        }
