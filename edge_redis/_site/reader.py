"""Reads the state of a site for operators, through the public asyncio services. Writes nothing.

The cost of a call is bounded: lists that may be long are cut at the limits below, and what is slow to read or
changes slowly is kept for the seconds of ``_KEPT``. Nothing is read but by a call.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from edge_redis._core.operation import command
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.clients import AsyncClient
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._services.aio.cloud import RedisCloudStore
from edge_redis._site import reader_details
from edge_redis._site.action_log import ActionLog
from edge_redis._site.state import (
    BriefState,
    CacheSample,
    CacheState,
    Event,
    Fleet,
    FunctionDetail,
    Functions,
    FunctionState,
    Minute,
    NodeDetail,
    ScopeDetail,
    ScopeState,
    SiteState,
    SyncOverview,
    SyncSample,
)
from edge_redis._site.state_rows import to_event, to_function_state, to_node_state
from edge_redis._sync.cloud_store import AsyncCloudStore, CloudStore
from edge_redis._sync.keys import SyncKeys
from edge_redis.errors import InvalidArgumentError, InvalidTypeError
from edge_redis.models import CacheEntry, NodeHealth, Transition, utc_now
from edge_redis.types import Availability, DeadLetter

T = TypeVar("T")

MAX_FUNCTIONS: Final = 500
"""Functions that are listed: those with the most invocations."""
MAX_EVENTS: Final = 1000
"""Transitions that are read: verdicts, bars and the list of events are made of them."""
MAX_STALE: Final = 10_000
MAX_WAITING: Final = 1000
"""Scopes whose lag is read: those that wait longest."""
MAX_DEAD_LETTERS: Final = 100
MAX_SAMPLES: Final = 300
MINUTES: Final = 60
_KEPT: Final[Mapping[str, float]] = {
    "fleet": 0.5,
    "snapshot": 0.5,
    "summary": 0.5,
    "transitions": 0.5,
    "actions": 0.5,
    "cache": 0.5,
    "sync": 0.5,
    "functions": 2.0,
    "minutes": 5.0,
    "function minutes": 15.0,
    "function": 2.0,
    "node": 1.0,
    "scope": 1.0,
    "dead_letters": 1.0,
    "pairs": 10.0,
    "keys": 5.0,
    "availability": 60.0,
}
"""For how many seconds each reading is used again."""
_MAX_KEPT: Final = 2000
_MAX_SHARE: Final = 0.008
"""A costly reading takes about this share of a CPU: one that takes 16 ms is kept for two seconds."""
_COSTLY: Final[Mapping[str, float]] = {"snapshot": 8.0, "functions": 12.0, "sync": 3.0, "function": 5.0, "pairs": 60.0}
"""The readings that grow with the site, and for how many seconds each is kept at most."""
_MIN_SNAPSHOT_SECONDS: Final = 1.5


class SiteReader:
    """Reads the state of one namespace, and keeps readings for a short time, so that many views share them.

    Args:
        edge: the services of the namespace.
        cloud: the cloud's store, or a client of its Redis; None: the edge's own server.
        clock: a monotonic clock in seconds.
        cpu_clock: the CPU time of this process in seconds.

    """

    def __init__(
        self,
        edge: EdgeRedis,
        cloud: AsyncCloudStore | CloudStore | AsyncClient | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self.edge = edge
        self.actions = ActionLog(edge.client, edge.namespace)
        target = edge.client if cloud is None else cloud
        self._own_store: RedisCloudStore | None = None
        if isinstance(target, (AsyncCloudStore, CloudStore)):
            self.cloud: AsyncCloudStore | CloudStore = target
        else:
            self.cloud = self._own_store = RedisCloudStore(target, namespace=edge.namespace)
        self.worker = edge.worker(self.cloud)
        self.runner = AsyncRunner(edge.client)
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._kept: dict[tuple[str, ...], tuple[float, Any]] = {}
        self._transitions: list[Transition] = []
        self._fleet = Fleet()
        self._fleet_source: object = None
        self._fleet_signs: tuple[object, ...] = ()
        self._snapshot_at = float("-inf")
        self._cache_samples: deque[CacheSample] = deque(maxlen=MAX_SAMPLES)
        self._sync_samples: deque[SyncSample] = deque(maxlen=MAX_SAMPLES)

    async def keep(self, read: Callable[[], Awaitable[T]], *name: str) -> T:
        """Return a reading that is young enough, or a new one.

        What takes long to read is kept for longer, so that large sites do not cost more CPU than small ones.
        """
        now = self._clock()
        found = self._kept.get(name)
        if found is not None and now < found[0]:
            kept: T = found[1]
            return kept
        before = self._cpu_clock()
        made = await read()
        cost = self._cpu_clock() - before
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        seconds = _KEPT[name[0]]
        if name[0] in _COSTLY:
            seconds = max(seconds, min(cost / _MAX_SHARE, _COSTLY[name[0]]))
        self._kept[name] = (now + seconds, made)
        return made

    def refresh(self) -> None:
        """Drop what is kept, after an action that changed it."""
        self._kept.clear()

    async def state(self) -> SiteState:
        """Return the whole state."""
        return SiteState(
            namespace=self.edge.namespace,
            fleet=await self.fleet(),
            functions=await self.functions(),
            minutes=await self.minutes(),
            cache=await self.cache(),
            sync=await self.sync(),
            events=await self.events(),
            read_at=utc_now(),
        )

    async def brief(self) -> BriefState:
        """Return the nodes and the progress of syncing, for a list of sites."""
        return BriefState(fleet=await self.fleet(), sync=await self.sync())

    async def transitions(self) -> list[Transition]:
        """Return the newest transitions of all nodes, oldest first."""
        return await self.keep(self._read_transitions, "transitions")

    async def _read_transitions(self) -> list[Transition]:
        newest = await self.edge.health.transitions(1)
        if not newest or not self._transitions or newest[-1].position != self._transitions[-1].position:
            self._transitions = await self.edge.health.transitions(MAX_EVENTS) if newest else []
        return self._transitions

    async def fleet(self) -> Fleet:
        """Return every registered node with its verdict."""
        return await self.keep(self._read_fleet, "fleet")

    async def _read_fleet(self) -> Fleet:
        changes = await self.transitions()
        signs = (changes[-1].position if changes else "", tuple(await self.edge.health.stale(limit=MAX_STALE)))
        if signs != self._fleet_signs and self._clock() - self._snapshot_at >= _MIN_SNAPSHOT_SECONDS:
            self._kept.pop(("snapshot",), None)  # a verdict has changed
        found = await self.keep(self._read_snapshot, "snapshot")
        if self._fleet_source is not found or signs != self._fleet_signs:
            latest = {change.node_id: change for change in changes}
            now = utc_now()
            self._fleet = Fleet(nodes=tuple(to_node_state(each, latest.get(each.node_id), now) for each in found))
            self._fleet_source, self._fleet_signs = found, signs
        return self._fleet

    async def _read_snapshot(self) -> list[NodeHealth]:
        self._snapshot_at = self._clock()
        return await self.edge.health.snapshot()

    async def availability(self, node_id: str, hours: int = 24) -> Availability:
        """Return a node's availability over so many hours, kept for a minute."""
        return await self.keep(
            lambda: self.edge.health.availability(node_id, hours * 3600.0), "availability", node_id, str(hours)
        )

    async def node(self, node_id: str) -> NodeDetail | None:
        """Return one node in detail; None where it is not registered."""
        return await self.keep(lambda: self._read_node(node_id), "node", node_id)

    async def _read_node(self, node_id: str) -> NodeDetail | None:
        state = next((node for node in (await self.fleet()).nodes if node.id == node_id), None)
        return None if state is None else await reader_details.read_node(self.edge, state, await self.pairs())

    async def functions(self) -> Functions:
        """Return all functions, the most invoked first."""
        found = await self.keep(self._read_functions, "functions")
        return replace(found, all=await self.keep(self._read_summary, "summary"))

    async def _read_summary(self) -> FunctionState:
        return to_function_state("", await self.edge.metrics.summary())

    async def _read_functions(self) -> Functions:
        metrics = self.edge.metrics
        rows = await metrics.top("total", MAX_FUNCTIONS)
        stats = await metrics.stats()
        return Functions(
            all=await self.keep(self._read_summary, "summary"),
            functions=tuple(to_function_state(row["function_id"] or "", row) for row in rows),
            series=stats["series"],
            max_series=stats["max_series"],
            overflow=stats["overflow"],
        )

    async def minutes(self, function_id: str | None = None) -> tuple[Minute, ...]:
        """Return the last hour of a function, or of all, minute by minute, oldest first."""
        if function_id is None:
            return await self.keep(lambda: self._read_minutes(None), "minutes")
        return await self.keep(lambda: self._read_minutes(function_id), "function minutes", function_id)

    async def _read_minutes(self, function_id: str | None) -> tuple[Minute, ...]:
        rows = await self.edge.metrics.timeline(function_id, minutes=MINUTES)
        return tuple(
            Minute(minute=row["minute"], total=row["total"], errors=row["errors"], avg_latency_ms=row["avg_latency_ms"])
            for row in rows
        )

    async def pairs(self) -> list[tuple[str, str]]:
        """Return the (function, node) pairs that are counted."""
        return await self.keep(self.edge.metrics.series, "pairs")

    async def function(self, function_id: str) -> FunctionDetail | None:
        """Return one function in detail; None where it was never invoked."""
        return await self.keep(lambda: self._read_function(function_id), "function", function_id)

    async def _read_function(self, name: str) -> FunctionDetail | None:
        pairs = await self.pairs()
        if all(pair[0] != name for pair in pairs):
            return None
        return await reader_details.read_function(self.edge, name, pairs, await self.minutes(name))

    async def cache(self) -> CacheState:
        """Return the statistics of the cache."""
        return await self.keep(self._read_cache, "cache")

    async def _read_cache(self) -> CacheState:
        self._cache_samples.append(CacheSample(at=utc_now(), stats=await self.edge.cache.stats()))
        return CacheState(samples=tuple(self._cache_samples))

    async def cache_keys(self, limit: int) -> list[str]:
        """Return some keys of the cache, sorted."""
        return await self.keep(lambda: self._read_keys(limit), "keys")

    async def _read_keys(self, limit: int) -> list[str]:
        found: set[str] = set()
        keys = self.edge.cache.keys()
        async for key in keys:
            found.add(key)
            if len(found) >= limit:
                break
        return sorted(found)

    async def cache_entry(self, key: str) -> CacheEntry | None:
        """Return an entry of the cache; None where there is none, or where the key cannot be one."""
        try:
            return await self.edge.cache.entry(key)
        except (InvalidArgumentError, InvalidTypeError):
            return None

    async def sync(self) -> SyncOverview:
        """Return the scopes and the progress of syncing."""
        return await self.keep(self._read_sync, "sync")

    async def _read_sync(self) -> SyncOverview:
        status = await self.worker.status()
        waiting = await self._read_waiting()
        self._sync_samples.append(
            SyncSample(
                at=utc_now(),
                pending=status["changes_waiting"],
                pushed_total=status["pushed_total"],
                lag_seconds=status["oldest_seconds"],
            )
        )
        return SyncOverview(
            scopes=tuple(
                ScopeState(**found, lag_seconds=waiting.get(found["scope"], 0.0)) for found in await self.edge.scopes()
            ),
            pending=status["changes_waiting"],
            lag_seconds=status["oldest_seconds"],
            pushed_total=status["pushed_total"],
            dead_letters=status["dead_letters"],
            samples=tuple(self._sync_samples),
        )

    async def _read_waiting(self) -> dict[str, float]:
        """Return the lag of the scopes that wait longest, in seconds by the server's clock."""
        now_ms = await self.runner.run(command(lambda reply: reply[0] * 1000 + reply[1] / 1000, "TIME"))
        work = SyncKeys(self.edge.namespace, "sync").work
        reply = await self.runner.run(command(list[Any], "ZRANGE", work, 0, MAX_WAITING - 1, "WITHSCORES"))
        # RESP3 nests each member and its score, RESP2 does not.
        flat = [item for pair in reply for item in (pair if isinstance(pair, (list, tuple)) else [pair])]
        return {
            name.decode(errors="replace"): max(0.0, now_ms - float(since)) / 1000
            for name, since in zip(flat[::2], flat[1::2], strict=True)
        }

    async def scope(self, name: str) -> ScopeDetail | None:
        """Return one scope in detail; None where it has neither state nor pending change."""
        return await self.keep(lambda: self._read_scope(name), "scope", name)

    async def _read_scope(self, name: str) -> ScopeDetail | None:
        state = next((scope for scope in (await self.sync()).scopes if scope.scope == name), None)
        if state is None:
            return None
        return await reader_details.read_scope(self.edge, self.cloud, state, await self.dead_letters())

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the oldest changes that workers gave up."""
        return await self.keep(lambda: self.worker.dead_letters(MAX_DEAD_LETTERS), "dead_letters")

    async def events(self) -> tuple[Event, ...]:
        """Return transitions and operators' actions, newest first."""
        actions = await self.keep(lambda: self.actions.latest(MAX_EVENTS), "actions")
        events = [*map(to_event, await self.transitions()), *actions]
        return tuple(sorted(events, key=lambda event: event.at, reverse=True))

    async def close(self) -> None:
        """Close what this reader opened; the services stay open."""
        await self.worker.close()
        if self._own_store is not None:
            await self._own_store.close()
