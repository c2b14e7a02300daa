"""Reads the state of a site for operators, through the public asyncio services. Writes nothing.

The cost of a call is bounded: lists that may be long are cut at the limits below, and readings are used again for a
time (``reading_cache.py``). Nothing is read in the background.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.clients import AsyncClient
from edge_redis._services.aio.bundle import EdgeRedis
from edge_redis._services.aio.cloud import RedisCloudStore
from edge_redis._site import reader_details
from edge_redis._site.action_log import ActionLog
from edge_redis._site.fleet_reader import FleetReader
from edge_redis._site.function_state import FunctionDetail, Functions, FunctionState, Minute
from edge_redis._site.node_state import Fleet, NodeDetail
from edge_redis._site.reading_cache import ReadingCache
from edge_redis._site.scope_state import ScopeDetail, SyncOverview
from edge_redis._site.state import BriefState, CacheSample, CacheState, Event, SiteState
from edge_redis._site.state_rows import to_event, to_function_state
from edge_redis._site.sync_reader import SyncReader
from edge_redis._sync.cloud_store import AsyncCloudStore, CloudStore
from edge_redis.errors import InvalidArgumentError, InvalidTypeError
from edge_redis.models import CacheEntry, Transition, utc_now
from edge_redis.types import Availability, DeadLetter

MAX_FUNCTIONS: Final = 500
"""Functions that are listed: those with the most invocations."""
MAX_ACTIONS: Final = 1000
MAX_DEAD_LETTERS: Final = 100
MAX_SAMPLES: Final = 300
MINUTES: Final = 60
SPARK_MINUTES: Final = 30


class SiteReader:
    """Reads the state of one namespace. Many views share one reader and its readings.

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
        self._readings = ReadingCache(clock, cpu_clock)
        self._fleet = FleetReader(edge.health, self._readings, clock)
        self._sync = SyncReader(edge, self.runner)
        self._cache_samples: deque[CacheSample] = deque(maxlen=MAX_SAMPLES)

    def refresh(self) -> None:
        """Read everything anew from now on, after an action that changed the site."""
        self._readings.clear()

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
        return await self._fleet.transitions()

    async def fleet(self) -> Fleet:
        """Return every registered node with its verdict."""
        return await self._fleet.fleet()

    async def availability(self, node_id: str, hours: int = 24) -> Availability:
        """Return a node's availability over the last ``hours`` hours."""
        return await self._readings.get_or_read(
            lambda: self.edge.health.availability(node_id, hours * 3600.0), "availability", node_id, str(hours)
        )

    async def node(self, node_id: str) -> NodeDetail | None:
        """Return one node in detail; None where it is not registered."""
        return await self._readings.get_or_read(lambda: self._read_node(node_id), "node", node_id)

    async def _read_node(self, node_id: str) -> NodeDetail | None:
        state = next((node for node in (await self.fleet()).nodes if node.id == node_id), None)
        return None if state is None else await reader_details.read_node(self.edge, state, await self.pairs())

    async def functions(self) -> Functions:
        """Return all functions, the most invoked first."""
        found = await self._readings.get_or_read(self._read_functions, "functions")
        return replace(found, all=await self._readings.get_or_read(self._read_summary, "summary"))

    async def _read_summary(self) -> FunctionState:
        return to_function_state("", await self.edge.metrics.summary())

    async def _read_functions(self) -> Functions:
        metrics = self.edge.metrics
        rows = await metrics.top("total", MAX_FUNCTIONS)
        stats = await metrics.stats()
        return Functions(
            all=await self._readings.get_or_read(self._read_summary, "summary"),
            functions=tuple(to_function_state(row["function_id"] or "", row) for row in rows),
            series=stats["series"],
            max_series=stats["max_series"],
            overflow=stats["overflow"],
        )

    async def minutes(self, function_id: str | None = None) -> tuple[Minute, ...]:
        """Return the last hour of a function, or of all, minute by minute, oldest first."""
        if function_id is None:
            return await self._readings.get_or_read(lambda: self._read_minutes(None), "minutes")
        return await self._readings.get_or_read(
            lambda: self._read_minutes(function_id), "function minutes", function_id
        )

    async def minute_totals(self, function_ids: Iterable[str]) -> dict[str, list[int]]:
        """Return the calls a minute of functions, oldest first: the last half hour and the current minute."""
        names = sorted(function_ids)
        return await self._readings.get_or_read(
            lambda: self.edge.metrics.minute_totals(names, SPARK_MINUTES + 1), "minute totals", *names
        )

    async def _read_minutes(self, function_id: str | None) -> tuple[Minute, ...]:
        rows = await self.edge.metrics.timeline(function_id, minutes=MINUTES)
        return tuple(
            Minute(minute=row["minute"], total=row["total"], errors=row["errors"], avg_latency_ms=row["avg_latency_ms"])
            for row in rows
        )

    async def pairs(self) -> list[tuple[str, str]]:
        """Return the (function, node) pairs that are counted."""
        return await self._readings.get_or_read(self.edge.metrics.series, "pairs")

    async def function(self, function_id: str) -> FunctionDetail | None:
        """Return one function in detail; None where it was never invoked."""
        return await self._readings.get_or_read(lambda: self._read_function(function_id), "function", function_id)

    async def _read_function(self, name: str) -> FunctionDetail | None:
        pairs = await self.pairs()
        if all(pair[0] != name for pair in pairs):
            return None
        return await reader_details.read_function(self.edge, name, pairs, await self.minutes(name))

    async def cache(self) -> CacheState:
        """Return the statistics of the cache."""
        return await self._readings.get_or_read(self._read_cache, "cache")

    async def _read_cache(self) -> CacheState:
        self._cache_samples.append(CacheSample(at=utc_now(), stats=await self.edge.cache.stats()))
        return CacheState(samples=tuple(self._cache_samples))

    async def cache_keys(self, limit: int) -> list[str]:
        """Return some keys of the cache, sorted."""
        return await self._readings.get_or_read(lambda: self._read_keys(limit), "keys")

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
        return await self._readings.get_or_read(self._sync.read, "sync")

    async def scope(self, name: str) -> ScopeDetail | None:
        """Return one scope in detail; None where it has neither state nor pending change."""
        return await self._readings.get_or_read(lambda: self._read_scope(name), "scope", name)

    async def _read_scope(self, name: str) -> ScopeDetail | None:
        state = next((scope for scope in (await self.sync()).scopes if scope.scope == name), None)
        if state is None:
            return None
        return await reader_details.read_scope(self.edge, self.cloud, state, await self.dead_letters())

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the oldest changes that workers gave up."""
        return await self._readings.get_or_read(lambda: self.worker.dead_letters(MAX_DEAD_LETTERS), "dead_letters")

    async def events(self) -> tuple[Event, ...]:
        """Return transitions and operators' actions, newest first."""
        actions = await self._readings.get_or_read(lambda: self.actions.latest(MAX_ACTIONS), "actions")
        events = [*map(to_event, await self.transitions()), *actions]
        return tuple(sorted(events, key=lambda event: event.at, reverse=True))

    async def close(self) -> None:
        """Close the worker and the store that this reader opened; the services stay open."""
        await self.worker.close()
        if self._own_store is not None:
            await self._own_store.close()
