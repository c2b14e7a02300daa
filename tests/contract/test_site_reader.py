"""The reader of a site's state returns what the services return, at bounded cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis

from edge_redis import ConflictStrategy, EdgeNode, EdgeNodeStatus, InvocationRecord
from edge_redis._site.reader import SiteReader
from edge_redis._site.state_rows import bin_latencies, decide_verdict, list_spells
from edge_redis.aio import EdgeRedis, RedisCloudStore
from edge_redis.errors import StoreUnavailableError
from edge_redis.models import NodeHealth, ResourceUsage, SyncState, Transition
from edge_redis.types import ScopeSummary

START = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


class Ticks:
    """A monotonic clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(body: Callable[[EdgeRedis, SiteReader, Ticks], Awaitable[None]], cloud: Any = None) -> None:
    """Run a test's coroutine on a fake server of its own."""

    async def main() -> None:
        client = fakeredis.FakeAsyncRedis()
        clock = Ticks()
        async with EdgeRedis(client, namespace="shop", metrics={"flush_every": 1}) as edge:
            reader = SiteReader(edge, cloud, clock=clock, cpu_clock=lambda: 0.0)
            await body(edge, reader, clock)
            await reader.close()
        await client.aclose()

    asyncio.run(main())


def test_the_sum_of_pending_changes_is_that_of_the_scopes_while_a_worker_pushes() -> None:
    class BusyEdge(EdgeRedis):
        async def scopes(self) -> list[ScopeSummary]:
            async with self.worker(self.client) as worker:
                await worker.run_once()
            return await super().scopes()

    async def body(edge: EdgeRedis, _: SiteReader, clock: Ticks) -> None:
        await edge.synchronizer("stock").update_local({"tea": 4})
        async with BusyEdge(edge.client, namespace="shop") as busy:
            reader = SiteReader(busy, clock=clock)
            found = await reader.sync()
            await reader.close()
        assert [(scope.pending, scope.lag_seconds) for scope in found.scopes] == [(0, 0.0)]
        assert (found.pending, found.lag_seconds, found.samples[-1].pending) == (0, 0.0, 0)

    run(body)


def test_a_fake_site_is_read_as_its_services_report_it() -> None:
    async def body(edge: EdgeRedis, reader: SiteReader, _: Ticks) -> None:
        await edge.health.register(EdgeNode("till-1", "Till 1", "Bern", capabilities=["scan"]))
        await edge.health.register(EdgeNode("till-2", "Till 2", status=EdgeNodeStatus.OFFLINE))
        await edge.health.heartbeat("till-1", resources=ResourceUsage(95.0, 512.0, 1024.0))
        await edge.health.check_cluster()
        for ms in (1.0, 2.0, 30.0):
            await edge.metrics.record(InvocationRecord("scan", "till-1", ms, ms < 20, error="" if ms < 20 else "jam"))
        await edge.cache.put("price", 3)
        await edge.cache.get("price")
        await edge.cache.get("none")
        await edge.synchronizer("stock").update_local({"tea": 4})

        state = await reader.state()

        first, second = state.fleet.nodes
        assert (first.id, first.verdict, first.location, first.capabilities) == ("till-1", "healthy", "Bern", ("scan",))
        assert (first.cpu_percent, first.memory_percent, first.is_overloaded) == (95.0, 50.0, True)
        assert (second.verdict, second.status) == ("unhealthy", "offline")
        assert (state.fleet.count("healthy"), state.fleet.count("unhealthy")) == (1, 1)
        summary = await edge.metrics.summary()
        assert state.functions.all.total == summary["total"] == 3
        assert (state.functions.all.p50_ms, state.functions.all.p99_ms) == (summary["p50"], summary["p99"])
        assert [function.name for function in state.functions.functions] == ["scan"]
        assert state.functions.functions[0].errors == 1
        assert sum(minute.total for minute in state.minutes) == 3
        assert state.cache.now == await edge.cache.stats()
        [scope] = state.sync.scopes
        assert (scope.scope, scope.version, scope.pending, scope.conflicts) == ("stock", 1, 1, 0)
        assert 0.0 <= scope.lag_seconds < 60.0
        assert state.sync.pending == 1
        assert [(event.kind, event.target, event.name) for event in state.events] == [
            ("transition", "till-2", "unhealthy")
        ]

    run(body)


def test_a_verdict_of_a_watch_stands_until_the_next_heartbeat() -> None:
    node = EdgeNode("till-1", "Till 1", last_heartbeat=START)
    found = NodeHealth("till-1", healthy=True, status="online", heartbeat_age_seconds=50, timeout_seconds=60, node=node)
    damaged = replace(found, node=None)
    now = START + timedelta(seconds=50)
    later, earlier = _change(0.5, "unhealthy", "healthy"), _change(-1, "unhealthy", "healthy")
    assert decide_verdict(found, None, now) == "healthy"
    assert decide_verdict(found, earlier, now) == "healthy"
    assert decide_verdict(found, later, now) == "unhealthy"
    assert decide_verdict(damaged, later, now) == "unhealthy"
    assert decide_verdict(found, _change(0.5, "recovered", "unhealthy"), now) == "healthy"
    assert decide_verdict(replace(found, in_maintenance=True), later, now) == "maintenance"
    assert decide_verdict(replace(found, healthy=False), None, now) == "unhealthy"


def test_a_fake_node_in_detail_has_its_checks_availability_and_functions() -> None:
    async def body(edge: EdgeRedis, reader: SiteReader, _: Ticks) -> None:
        await edge.health.register(EdgeNode("till-1", "Till 1"))
        await edge.health.check_cluster()
        await edge.metrics.record(InvocationRecord("scan", "till-1", 5.0, success=True))
        found = await reader.node("till-1")
        assert found is not None
        assert [check.healthy for check in found.checks] == [True]
        assert found.recommendation == await edge.health.get_recovery_recommendation("till-1")
        assert found.day["unhealthy_spells"] == 0
        assert [(each.name, each.node_id, each.total) for each in found.functions] == [("scan", "till-1", 1)]
        assert await reader.node("till-9") is None

    run(body)


def test_a_fake_function_in_detail_has_percentiles_over_time_and_its_errors() -> None:
    async def body(edge: EdgeRedis, reader: SiteReader, _: Ticks) -> None:
        for number in range(20):
            await edge.metrics.record(
                InvocationRecord("scan", f"till-{number % 2}", float(number), success=number != 7, error="jam")
            )
        await edge.metrics.record(InvocationRecord("weigh", "till-1", 500.0, success=False, error="other"))
        found = await reader.function("scan")
        assert found is not None
        assert found.summary.total == 20
        assert [node.node_id for node in found.nodes] == ["till-0", "till-1"]
        assert sum(each.count for each in found.latencies) == 20
        assert max(each.p99 for each in found.latencies) == 19.0
        assert [error.error for error in found.errors] == ["jam"]
        assert await reader.function("none") is None

    run(body)


def test_a_fake_scope_in_detail_has_both_ends_and_keeps_the_settings_of_its_writers() -> None:
    async def body(edge: EdgeRedis, reader: SiteReader, clock: Ticks) -> None:
        options = {"conflict_strategy": ConflictStrategy.MERGE, "max_pending": 7, "origin": "till"}
        stock = edge.synchronizer("stock", **options)  # type: ignore[arg-type]
        await stock.update_local({"tea": 4, "milk": 1})
        async with RedisCloudStore(edge.client, namespace="shop") as cloud:
            await cloud.update("stock", {"tea": 5, "rice": 2})
        found = await reader.scope("stock")
        assert found is not None
        assert (found.strategy, found.is_equal) == ("merge", False)
        assert [(each.name, each.edge, each.cloud, each.is_equal) for each in found.fields] == [
            ("milk", 1, None, False),
            ("rice", None, 2, False),
            ("tea", 4, 5, False),
        ]
        assert [change["version"] for change in found.pending] == [1]
        async with edge.worker(edge.client) as worker:
            while await worker.run_once():
                pass
        clock.now += 10
        after = await reader.scope("stock")
        assert after is not None
        assert after.is_equal
        assert after.state.pending == 0
        assert await reader.scope("none") is None

    run(body)


def test_a_fake_edge_in_several_shards_is_read_as_one() -> None:
    async def body(edge: EdgeRedis, reader: SiteReader, _: Ticks) -> None:
        names = [f"stock/{number:02d}" for number in range(12)]
        await edge.update_many({name: {"tea": 4} for name in names}, shards=3, max_pending=7)
        found = await reader.sync()
        assert [scope.scope for scope in found.scopes] == names
        assert found.pending == 12
        assert all(scope.lag_seconds >= 0 for scope in found.scopes)
        detail = await reader.scope(names[5])
        assert detail is not None
        assert detail.edge is not None
        assert detail.edge.data == {"tea": 4}
        assert len(detail.pending) == 1

    run(body)


def test_a_fake_cloud_that_fails_leaves_the_edge_in_view() -> None:
    class NoCloud:
        async def get(self, scope: str) -> SyncState | None:
            raise StoreUnavailableError(f"no cloud for {scope}")

        async def apply(self, scope: str, changes: Any, strategy: Any) -> Any:
            raise NotImplementedError

        async def changes_since(self, cursor: str = "", limit: int = 100) -> Any:
            raise NotImplementedError

    async def body(edge: EdgeRedis, reader: SiteReader, _: Ticks) -> None:
        await edge.synchronizer("stock").update_local({"tea": 4})
        found = await reader.scope("stock")
        assert found is not None
        assert found.edge is not None
        assert found.cloud_error == "no cloud for stock"
        assert not found.is_equal

    run(body, NoCloud())


def test_fake_readings_are_shared_for_a_time_and_made_anew_after_it() -> None:
    async def body(edge: EdgeRedis, reader: SiteReader, clock: Ticks) -> None:
        first = await reader.fleet()
        await edge.health.register(EdgeNode("till-1", "Till 1"))
        assert await reader.fleet() is first
        clock.now += 1.0
        assert len((await reader.fleet()).nodes) == 1
        await edge.health.deregister("till-1")
        reader.refresh()
        assert not (await reader.fleet()).nodes

    run(body)


def test_a_fake_reading_that_costs_much_is_kept_for_longer() -> None:
    async def body(edge: EdgeRedis, _: SiteReader, clock: Ticks) -> None:
        cpu = iter(float(number) for number in range(1000))  # each reading seems to take a second of CPU
        reader = SiteReader(edge, clock=clock, cpu_clock=lambda: next(cpu))
        await reader.fleet()
        await edge.health.register(EdgeNode("till-1", "Till 1"))
        clock.now += 4.0
        assert not (await reader.fleet()).nodes
        clock.now += 4.0
        assert [node.verdict for node in (await reader.fleet()).nodes] == ["healthy"]
        await edge.health.heartbeat("till-1", status=EdgeNodeStatus.OFFLINE)
        await edge.health.check_cluster()
        clock.now += 2.0  # a transition is no reason to wait
        assert [node.verdict for node in (await reader.fleet()).nodes] == ["unhealthy"]
        await reader.close()

    run(body)


def test_fake_actions_are_events_with_their_operator() -> None:
    async def body(_: EdgeRedis, reader: SiteReader, __: Ticks) -> None:
        await reader.actions.record("ann", "discard", "dead letters", "1-0")
        [event] = await reader.events()
        assert (event.kind, event.operator, event.name, event.target, event.detail) == (
            "action",
            "ann",
            "discard",
            "dead letters",
            "1-0",
        )

    run(body)


def _change(minutes: float, state: str, previous: str) -> Transition:
    return Transition("till-1", state, previous, START + timedelta(minutes=minutes), "", "1-0")


def test_spells_cover_the_time_between_transitions() -> None:
    changes = [_change(-90, "unhealthy", "unknown"), _change(10, "recovered", "unhealthy")]
    end = START + timedelta(hours=1)
    spells = list_spells(changes, START, end)
    assert [(spell.state, spell.start, spell.end) for spell in spells] == [
        ("unhealthy", START, changes[1].at),
        ("recovered", changes[1].at, end),
    ]
    assert list_spells([], START, end) == ()


def test_percentiles_over_time_are_those_of_the_records_in_each_interval() -> None:
    records = [
        InvocationRecord("f", "n", float(value), success=True, timestamp=START + timedelta(seconds=value))
        for value in range(100)
    ]
    found = bin_latencies(records, 10)
    assert [each.count for each in found] == [10] * 10
    assert (found[0].p50, found[0].p95, found[0].p99) == (4.0, 9.0, 9.0)
    assert bin_latencies([], 10) == ()
