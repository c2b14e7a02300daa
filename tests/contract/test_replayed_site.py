"""Those who watch a replayed site see it as if it happened now."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import fakeredis

from edge_redis import EdgeNode, EdgeRedis
from edge_redis._site.reader import SiteReader
from edge_redis._site.replay import Pace
from edge_redis._site.replayed import WatchedSite
from edge_redis.models import from_timestamp
from support.checked import present

RECORDED = datetime(2016, 3, 15, tzinfo=UTC).timestamp()


def test_recorded_times_are_judged_by_the_recorded_clock_and_shown_in_real_time() -> None:
    server, now = fakeredis.FakeServer(), time.time()
    pace = Pace(starts_at=now - 10, first_us=round(RECORDED * 1e6), speed=60.0)
    clock = [RECORDED]
    with (
        fakeredis.FakeRedis(server=server) as client,
        EdgeRedis(
            client,
            namespace="site",
            health={"heartbeat_timeout_seconds": 300.0, "clock": lambda: from_timestamp(clock[0])},
        ) as edge,
    ):
        for name in ("fresh", "late"):
            edge.health.heartbeat(EdgeNode(name, name, last_heartbeat=from_timestamp(RECORDED)))
        clock[0] += 500
        edge.health.heartbeat("fresh")
        for name in ("fresh", "late"):
            edge.health.check_node(name)

    async def look() -> None:
        async with (
            fakeredis.FakeAsyncRedis(server=server) as watching,
            WatchedSite(watching, namespace="site", heartbeat_timeout=300.0, cache_size=9, pace=pace) as site,
        ):
            reader = SiteReader(site)
            nodes = {node.id: node for node in (await reader.fleet()).nodes}
            assert nodes["fresh"].verdict == "healthy"
            assert nodes["late"].verdict == "unhealthy"
            assert 50 < nodes["fresh"].heartbeat_age_seconds < 400, "in recorded seconds"
            assert abs(nodes["late"].heartbeat_at.timestamp() - (now - 10)) < 1
            detail = present(await reader.node("late"))
            assert [round(each.checked_at.timestamp() - (now - 10 + 500 / 60)) for each in detail.checks] == [0]
            assert {round(each.at.timestamp() - (now - 10 + 500 / 60)) for each in await reader.events()} <= {0}
            await reader.close()

    asyncio.run(look())


def test_without_a_replay_the_servers_time_counts() -> None:
    async def look() -> None:
        async with (
            fakeredis.FakeAsyncRedis() as client,
            WatchedSite(client, namespace="site", heartbeat_timeout=60.0, cache_size=9, pace=None) as site,
        ):
            await site.health.register(EdgeNode("till", "till"))
            [found] = await site.health.snapshot()
            assert found.healthy
            assert abs(present(found.node).last_heartbeat.timestamp() - time.time()) < 10

    asyncio.run(look())
