"""Jobs of APScheduler that use the services, in both APIs."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import fakeredis
import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from edge_redis import EdgeNode, EdgeRedis, RedisCloudStore, aio
from edge_redis.integrations.apscheduler import AsyncEdgeJobs, EdgeJobs
from support.deadline import eventually


@pytest.fixture
def server() -> fakeredis.FakeServer:
    return fakeredis.FakeServer()


@pytest.fixture
def edge(server: fakeredis.FakeServer) -> Iterator[EdgeRedis]:
    with EdgeRedis(fakeredis.FakeRedis(server=server)) as made:
        yield made


@pytest.fixture
def scheduler() -> Iterator[BackgroundScheduler]:
    made = BackgroundScheduler()
    made.start(paused=True)
    yield made
    made.shutdown()


@pytest.fixture
def jobs(edge: EdgeRedis, scheduler: BackgroundScheduler) -> Iterator[EdgeJobs]:
    with EdgeJobs(edge, scheduler) as made:
        yield made


def test_sync_carries_all_that_is_pending(jobs: EdgeJobs, edge: EdgeRedis) -> None:
    cloud = fakeredis.FakeRedis()
    for number in range(5):
        edge.synchronizer(f"scope-{number}").update_local({"n": number})
    assert jobs.add_sync(cloud, batch_size=2).func() == 5
    assert RedisCloudStore(cloud).get("scope-4") is not None
    assert edge.synchronizer("scope-4").is_synced


def test_checks_are_made_by_the_process_that_leads(edge: EdgeRedis, jobs: EdgeJobs) -> None:
    edge.health.register(EdgeNode("till", "Till"))
    first = jobs.add_checks(seconds=5)
    other_scheduler = BackgroundScheduler()
    with EdgeJobs(edge, other_scheduler) as others:
        second = others.add_checks(seconds=5)
        assert [first.func().leader, second.func().leader] == [True, False]
    assert edge.health.summary()["total_checks"] == 1


def test_purge_removes_expired_entries_once_a_period_for_all_processes(jobs: EdgeJobs, edge: EdgeRedis) -> None:
    edge.cache.put("key", 1, ttl=0.001)
    eventually(lambda: "key" not in edge.cache)
    job = jobs.add_purge(seconds=60)
    assert job.func() == 1
    with EdgeJobs(edge, BackgroundScheduler()) as others:
        assert others.add_purge(seconds=60).func() is None, "another process did it"


def test_retention_forgets_the_metrics_of_nodes_that_are_gone(jobs: EdgeJobs, edge: EdgeRedis) -> None:
    for node_id in ("gone", "here", "never-registered"):
        with edge.metrics.track("sell", node_id):
            pass
    edge.health.register(EdgeNode("gone", "Gone"))
    edge.health.register(EdgeNode("here", "Here"))
    edge.health.deregister("gone")
    assert jobs.add_retention().func() == 1
    assert {node_id for _, node_id in edge.metrics.series()} == {"here", "never-registered"}


def test_retention_removes_nodes_without_heartbeats(jobs: EdgeJobs, edge: EdgeRedis) -> None:
    edge.health.register(EdgeNode("till", "Till"))
    eventually(lambda: edge.health.stale(0.001))
    jobs.add_retention(remove_nodes_after_seconds=0.001).func()
    assert edge.health.nodes() == []


def test_a_job_runs_in_one_process_at_a_time_and_once_a_period(edge: EdgeRedis) -> None:
    running, most, runs = 0, 0, 0
    mutex, begun, may_end = threading.Lock(), threading.Event(), threading.Event()

    def work() -> None:
        nonlocal running, most, runs
        with mutex:
            running, runs = running + 1, runs + 1
            most = max(most, running)
        begun.set()
        may_end.wait(10)
        with mutex:
            running -= 1

    processes = [EdgeJobs(edge, BackgroundScheduler()) for _ in range(3)]
    threads = [threading.Thread(target=jobs.add("work", work, seconds=60).func) for jobs in processes]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    may_end.set()
    for thread in threads:
        thread.join()
    assert (most, runs) == (1, 1)
    for jobs in processes:
        jobs.close()


def test_the_next_period_runs_it_again(jobs: EdgeJobs) -> None:
    runs: list[int] = []
    job = jobs.add("work", lambda: runs.append(1), seconds=0.02)

    def ran_twice() -> bool:
        job.func()
        return len(runs) == 2

    eventually(ran_twice)


def test_an_outage_is_logged_once_and_the_job_goes_on(
    jobs: EdgeJobs, server: fakeredis.FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    job = jobs.add_purge(seconds=60)
    server.connected = False
    with caplog.at_level(logging.INFO, "edge_redis"):
        assert [job.func(), job.func()] == [None, None]
        server.connected = True
        assert job.func() == 0
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "job edge-redis-purge will be tried again",
        "job edge-redis-purge succeeds again",
    ]


def test_other_errors_are_the_schedulers_to_report(jobs: EdgeJobs, scheduler: BackgroundScheduler) -> None:
    errors: list[Any] = []
    scheduler.add_listener(errors.append, EVENT_JOB_ERROR)

    def fail() -> None:
        raise ZeroDivisionError

    jobs.add("fail", fail, seconds=60, trigger=DateTrigger(datetime.now(UTC)))
    scheduler.resume()
    eventually(lambda: errors)
    assert isinstance(errors[0].exception, ZeroDivisionError)


def test_the_scheduler_runs_the_jobs_until_they_are_closed(
    jobs: EdgeJobs, scheduler: BackgroundScheduler, edge: EdgeRedis
) -> None:
    cloud = fakeredis.FakeRedis()
    jobs.add_sync(cloud, seconds=0.01)
    scheduler.resume()
    edge.synchronizer("settings").update_local({"tax": 19})
    eventually(lambda: RedisCloudStore(cloud).get("settings"))
    jobs.close()
    assert scheduler.get_jobs() == []


def test_a_coroutine_function_is_refused_by_the_blocking_jobs(jobs: EdgeJobs) -> None:
    async def work() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="AsyncEdgeJobs"):
        jobs.add("work", work, seconds=60).func()


def test_the_asyncio_jobs_run_on_the_loop_of_their_scheduler(server: fakeredis.FakeServer, edge: EdgeRedis) -> None:
    cloud = fakeredis.FakeServer()
    edge.health.register(EdgeNode("till", "Till"))
    edge.synchronizer("settings").update_local({"tax": 19})
    runs: list[bool] = []

    async def work() -> None:
        await asyncio.sleep(0)
        runs.append(True)

    async def scenario() -> None:
        scheduler = AsyncIOScheduler()
        finished: set[str] = set()
        all_ran = asyncio.Event()

        def note(event: Any) -> None:
            finished.add(event.job_id)
            if len(finished) == 5:
                all_ran.set()

        scheduler.add_listener(note, EVENT_JOB_EXECUTED)
        async with (
            aio.EdgeRedis(fakeredis.FakeAsyncRedis(server=server)) as awaited,
            AsyncEdgeJobs(awaited, scheduler) as jobs,
        ):
            jobs.add_sync(fakeredis.FakeAsyncRedis(server=cloud), seconds=0.01)
            jobs.add_checks(seconds=0.01)
            jobs.add_purge(seconds=0.01)
            jobs.add_retention(seconds=0.01)
            jobs.add("work", work, seconds=0.01)
            scheduler.start()
            async with asyncio.timeout(10):
                await all_ran.wait()
            scheduler.shutdown(wait=False)
            await asyncio.sleep(0)
        assert runs

    asyncio.run(scenario())
    assert RedisCloudStore(fakeredis.FakeRedis(server=cloud)).get("settings") is not None
    assert edge.health.get_history("till")
