"""Jobs for APScheduler 3 that synchronize, check, purge and forget: ``pip install 'edge-redis[apscheduler]'``.

    scheduler = BackgroundScheduler()
    with EdgeRedis.from_url(namespace="shop") as edge, EdgeJobs(edge, scheduler) as jobs:
        jobs.add_sync(cloud, seconds=1)
        jobs.add_checks(seconds=5)
        jobs.add_purge(seconds=300)
        scheduler.start()
        ...
        scheduler.shutdown()

``AsyncEdgeJobs`` is for the asyncio services and an ``AsyncIOScheduler``. Any number of processes may have the same
jobs: none is made twice at once, and each once a period for all of them. Jobs stay in the memory of the process (the
default job store): they hold connections, which no other store can keep.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

from edge_redis._core import validation
from edge_redis._services.aio.bundle import EdgeRedis as AsyncEdgeRedis
from edge_redis._services.aio.cache import EdgeCache as AsyncEdgeCache
from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.options import WatchOptions, WorkerOptions
from edge_redis.errors import ComputeFailedError, EdgeRedisError, MissingExtraError

try:
    from apscheduler.schedulers.base import BaseScheduler
    from apscheduler.triggers.base import BaseTrigger
    from apscheduler.triggers.interval import IntervalTrigger
except ImportError as error:  # APScheduler 4, which is not released, has no such modules
    raise MissingExtraError("these jobs need APScheduler 3: pip install 'edge-redis[apscheduler]'") from error

__all__ = ["AsyncEdgeJobs", "EdgeJobs"]

T = TypeVar("T")

_log: Final = logging.getLogger("edge_redis")

_ROUNDS: Final = 100
"""Rounds of a worker in one run of its job, at most, so that the job ends."""

_SHARE_OF_PERIOD: Final = 0.9
"""For this share of its period a job that ran is done, so that clocks of schedulers need not agree."""

_SHORTEST_SECONDS: Final = 0.01
_ENDS: Final = frozenset({"removed", "deregistered"})
_ALL_TRANSITIONS: Final = 10_000


class _Jobs:
    """The jobs, as coroutines; where the services are blocking, none of their awaits ever waits."""

    def __init__(self, edge: Any, scheduler: BaseScheduler, leases: Any) -> None:
        self._edge = edge
        self._scheduler = scheduler
        self._leases = leases
        """The jobs under way and those done in this period, for all processes: entries of a cache of its own."""
        self._jobs: list[Any] = []

    def _entry_point(self, run: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], Any]:
        """Return the function that the scheduler calls."""
        raise NotImplementedError

    def add_sync(self, cloud: Any, *, seconds: float = 1.0, **options: Unpack[WorkerOptions]) -> Any:
        """Add a job that carries pending changes to the cloud, and the cloud's to the edge; return it.

        Any number of processes share the work, as workers do. ``cloud`` and ``options`` are arguments of CloudWorker.
        """
        worker = self._edge.worker(cloud, **options)

        async def sync() -> int:
            handled = 0
            for _ in range(_ROUNDS):
                count: int = await _resolve(worker.run_once())
                handled += count
                if not count:
                    break
            return handled

        return self._add("edge-redis-sync", sync, seconds, None)

    def add_checks(self, *, seconds: float = 5.0, **options: Unpack[WatchOptions]) -> Any:
        """Add a job that checks every registered node, in the process that leads; return it.

        ``options`` are arguments of HealthWatch; its interval is that of the job.
        """
        watch = self._edge.watch(**{"interval_seconds": seconds, **options})

        async def check() -> Any:
            return await _resolve(watch.run_once())

        return self._add("edge-redis-checks", check, seconds, None)

    def add_purge(self, *, seconds: float = 300.0) -> Any:
        """Add a job that removes expired entries of the cache, once a period for all processes; return it."""

        async def purge() -> int:
            removed: int = await _resolve(self._edge.cache.purge_expired())
            return removed

        return self.add("edge-redis-purge", purge, seconds=seconds)

    def add_retention(self, *, seconds: float = 3600.0, remove_nodes_after_seconds: float | None = None) -> Any:
        """Add a job that forgets the metrics of nodes that were removed or deregistered; return it.

        ``remove_nodes_after_seconds`` also removes nodes without a heartbeat for so long. Runs once a period for all
        processes. Node ids that were never registered keep their metrics.
        """
        if remove_nodes_after_seconds is not None:
            validation.check_positive("remove_nodes_after_seconds", remove_nodes_after_seconds)

        async def retain() -> int:
            if remove_nodes_after_seconds is not None:
                await _resolve(self._edge.health.remove_stale(remove_nodes_after_seconds))
            return await self._forget_gone_nodes()

        return self.add("edge-redis-retention", retain, seconds=seconds)

    def add(self, name: str, function: Callable[[], Any], *, seconds: float, trigger: BaseTrigger | None = None) -> Any:
        """Add a function of yours as a job that runs once a period for all processes; return the job.

        While one process runs it, none other does. A process that dies in the middle frees the job within seconds. An
        EdgeRedisError is logged, and the next run tries again; other errors are the scheduler's to report.

        Args:
            name: of the job; processes with the same name share it.
            function: without arguments. A coroutine function needs AsyncEdgeJobs.
            seconds: the period.
            trigger: of APScheduler, such as a CronTrigger; None: every ``seconds``.

        """
        validation.check_identifier("name", name)
        period = validation.check_positive("seconds", seconds)
        validation.check_callable("function", function)

        async def run_once_a_period() -> Any:
            return await self._run_in_turn(name, function, period)

        return self._add(name, run_once_a_period, period, trigger)

    def _add(
        self, name: str, run: Callable[[], Coroutine[Any, Any, Any]], seconds: float, trigger: BaseTrigger | None
    ) -> Any:
        outages = _Outages(name)

        async def guarded() -> Any:
            try:
                result = await run()
            except EdgeRedisError as error:
                outages.begin(error)
                return None
            outages.end()
            return result

        job = self._scheduler.add_job(
            self._entry_point(guarded),
            trigger or IntervalTrigger(seconds=validation.check_positive("seconds", seconds)),
            id=name,
            name=name,
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )
        self._jobs.append(job)
        return job

    async def _run_in_turn(self, name: str, function: Callable[[], Any], period: float) -> Any:
        """Run a function where no process has in this period; wait while another process runs it."""
        begun, results = time.monotonic(), []

        async def run() -> bool:
            results.append(await _resolve(function()))
            return True

        def rest_of_period(_: object) -> float:
            return max(_SHORTEST_SECONDS, period * _SHARE_OF_PERIOD - (time.monotonic() - begun))

        try:
            await _resolve(self._leases.get_or_compute(name, self._entry_point(run), rest_of_period))
        except ComputeFailedError:  # in another process, which reports it
            return None
        return results[0] if results else None

    async def _forget_gone_nodes(self) -> int:
        changes = await _resolve(self._edge.health.transitions(_ALL_TRANSITIONS))
        last = {change.node_id: change.state for change in changes}
        registered = {node.id for node in await _resolve(self._edge.health.nodes())}
        measured = {node_id for _, node_id in await _resolve(self._edge.metrics.series())}
        gone = {node_id for node_id, state in last.items() if state in _ENDS} & measured - registered
        for node_id in sorted(gone):
            await _resolve(self._edge.metrics.forget(node_id=node_id))
        return len(gone)

    def _remove(self) -> None:
        jobs, self._jobs = self._jobs, []
        known = {job.id for job in self._scheduler.get_jobs()}
        for job in jobs:
            if job.id in known:
                job.remove()


class EdgeJobs(_Jobs):
    """Jobs of the blocking services, for a BackgroundScheduler or a BlockingScheduler.

    Args:
        edge: the services; it is closed by its owner, after the scheduler has ended.
        scheduler: of APScheduler 3, started or not.

    """

    def __init__(self, edge: EdgeRedis, scheduler: BaseScheduler) -> None:
        super().__init__(edge, scheduler, EdgeCache(edge.client, namespace=f"{edge.namespace}-jobs"))

    def _entry_point(self, run: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], Any]:
        return lambda: _run_without_waiting(run())

    def close(self) -> None:
        """Remove the jobs from the scheduler. One that runs is not waited for: shut the scheduler down before."""
        self._remove()
        self._leases.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncEdgeJobs(_Jobs):
    """Jobs of the asyncio services, for an AsyncIOScheduler on the same event loop.

    Args:
        edge: the services of ``edge_redis.aio``.
        scheduler: an AsyncIOScheduler, started or not.

    """

    def __init__(self, edge: AsyncEdgeRedis, scheduler: BaseScheduler) -> None:
        super().__init__(edge, scheduler, AsyncEdgeCache(edge.client, namespace=f"{edge.namespace}-jobs"))

    def _entry_point(self, run: Callable[[], Coroutine[Any, Any, Any]]) -> Callable[[], Any]:
        return run

    async def close(self) -> None:
        """Remove the jobs from the scheduler. One that runs is not waited for."""
        self._remove()
        await self._leases.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Outages:
    """Logs a job's outage once when it begins, and once when it is over."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_failing = False

    def begin(self, error: EdgeRedisError) -> None:
        """Record a failed run, and log it where it is the first."""
        level = logging.DEBUG if self._is_failing else logging.WARNING
        _log.log(level, "job %s will be tried again: %s", self._name, error)
        self._is_failing = True

    def end(self) -> None:
        """Record a successful run, and log it after failed ones."""
        if self._is_failing:
            _log.warning("job %s succeeds again", self._name)
        self._is_failing = False


async def _resolve(result: T | Awaitable[T]) -> T:
    """Return the result of a call of a blocking or of an asyncio service."""
    if inspect.isawaitable(result):
        awaited: T = await result
        return awaited
    return result


def _run_without_waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits to its end, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine function needs AsyncEdgeJobs and an AsyncIOScheduler")
