"""A computation that is interrupted or cancelled anywhere frees its key, and the cache, at once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

import fakeredis
import pytest

import edge_redis.aio
from edge_redis import EdgeCache, RecursiveComputeError
from support.cache import TAG
from support.interrupts import InterruptAt, Interrupted
from support.near import as_in_another_process
from support.servers import Backend

pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]
PROCESS_FILES = ("_cache/computation.py", "_cache/flights.py", "_io/renewal.py", "_io/threads.py")
every = pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.exploration), 7])


@pytest.fixture
def client() -> Iterator[fakeredis.FakeRedis]:
    with fakeredis.FakeRedis() as made:
        yield made


@pytest.fixture
def cache(client: fakeredis.FakeRedis) -> Iterator[EdgeCache]:
    with EdgeCache(client, flush_interval=3600) as made:
        yield made


def in_thread(call: Callable[[], Any]) -> Any:
    """Return the result of a call in a thread; fail where it takes long."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "a caller waits for ever"
    return results[0] if results else None


def interrupt(call: Callable[[], Any], nth: int, files: Collection[str]) -> bool:
    """Make a call in a thread, whose ``nth`` bytecode in ``files`` raises; return whether it came so far."""

    def run() -> bool:
        with contextlib.suppress(Interrupted), InterruptAt(nth, files) as interruption:
            call()
        return interruption.has_fired

    return bool(in_thread(run))


def ask(cache: EdgeCache, key: str) -> Any:
    return cache.get_or_compute(key, lambda: "value", lease_seconds=600)


@every
def test_one_that_leads_frees_its_key_and_the_renewals_of_all(
    cache: EdgeCache, client: fakeredis.FakeRedis, stride: int
) -> None:
    nth = 0
    while interrupt(lambda: ask(cache, "k"), nth, PROCESS_FILES):
        client.delete(f"{TAG}:lease:k", f"{TAG}:v:k")  # a lease may be left where a trace function alone can raise
        assert in_thread(lambda: ask(cache, "k")) == "value", f"at bytecode {nth}"
        assert in_thread(lambda: ask(cache, "other")) == "value", f"at bytecode {nth}"
        client.delete(f"{TAG}:v:k", f"{TAG}:v:other")
        nth += stride
    assert nth > 100


@every
def test_between_two_steps_the_lease_is_given_up(cache: EdgeCache, client: fakeredis.FakeRedis, stride: int) -> None:
    nth = 0
    while interrupt(lambda: ask(cache, "k"), nth, ["_io/blocking_runner.py"]):
        assert not client.exists(f"{TAG}:lease:k"), f"at bytecode {nth}"
        client.delete(f"{TAG}:v:k")
        nth += stride
    assert nth > 100


@every
def test_one_that_waits_disturbs_nobody(cache: EdgeCache, client: fakeredis.FakeRedis, stride: int) -> None:
    nth, has_fired = 0, True
    while has_fired:
        started, go_on = threading.Event(), threading.Event()

        def compute(started: threading.Event = started, go_on: threading.Event = go_on) -> str:
            started.set()
            assert go_on.wait(20)
            return "value"

        def lead(compute: Callable[[], str] = compute) -> None:
            cache.get_or_compute("k", compute, lease_seconds=600)

        leader = threading.Thread(target=lead)
        leader.start()
        assert started.wait(20)
        timer = threading.Timer(0.01, go_on.set)
        timer.start()
        has_fired = interrupt(lambda: ask(cache, "k"), nth, ["_io/threads.py", "_cache/flights.py"])
        go_on.set()
        leader.join(20)
        timer.join()
        assert not leader.is_alive(), f"at bytecode {nth}"
        assert cache.get("k") == "value", f"at bytecode {nth}"
        client.delete(f"{TAG}:v:k")
        nth += stride
    assert nth > 3 * stride


def test_a_leader_that_is_cancelled_again_at_every_turn_gives_its_lease_up(backend: Backend) -> None:
    async def scenario() -> None:
        async with backend.async_client() as client, edge_redis.aio.EdgeCache(client) as cache:
            elsewhere = as_in_another_process(edge_redis.aio.EdgeCache(client))
            started = asyncio.Event()

            async def compute() -> None:
                started.set()
                await asyncio.sleep(600)

            leader = asyncio.ensure_future(cache.get_or_compute("k", compute, lease_seconds=600))
            await started.wait()
            while not leader.done():
                leader.cancel()
                await asyncio.sleep(0)
            async with asyncio.timeout(20):
                assert await elsewhere.get_or_compute("k", lambda: "value") == "value"
            await elsewhere.close()

    asyncio.run(scenario())


def test_threads_whose_computations_wait_for_each_other_get_an_error_at_once(cache: EdgeCache) -> None:
    both = threading.Barrier(2)
    errors: list[Exception] = []

    def compute(other: str) -> Any:
        both.wait(20)
        return cache.get_or_compute(other, lambda: "never", lease_seconds=600)

    def run(key: str, other: str) -> None:
        try:
            cache.get_or_compute(key, lambda: compute(other), lease_seconds=600)
        except Exception as error:  # noqa: BLE001 -- compared below
            errors.append(error)

    threads = [threading.Thread(target=run, args=keys, daemon=True) for keys in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(errors) == 2
    assert any(isinstance(error, RecursiveComputeError) for error in errors)
    assert [ask(cache, "a"), ask(cache, "b")] == ["value", "value"]


def test_tasks_whose_computations_wait_for_each_other_get_an_error_at_once(backend: Backend) -> None:
    async def scenario() -> None:
        async with backend.async_client() as client, edge_redis.aio.EdgeCache(client) as cache:
            entered: set[str] = set()
            both = asyncio.Event()

            async def compute(key: str, other: str) -> Any:
                entered.add(key)
                if len(entered) == 2:
                    both.set()
                await both.wait()
                return await cache.get_or_compute(other, lambda: "never", lease_seconds=600)

            async with asyncio.timeout(20):
                errors = await asyncio.gather(
                    cache.get_or_compute("a", lambda: compute("a", "b"), lease_seconds=600),
                    cache.get_or_compute("b", lambda: compute("b", "a"), lease_seconds=600),
                    return_exceptions=True,
                )
            assert any(isinstance(error, RecursiveComputeError) for error in errors)
            assert all(isinstance(error, edge_redis.EdgeRedisError) for error in errors)

    asyncio.run(scenario())


class WithoutTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_that_has_no_text_is_raised_as_it_is(make: Any) -> None:
    cache = make("EdgeCache")

    def fail() -> None:
        raise WithoutTextError

    with pytest.raises(WithoutTextError):
        cache.get_or_compute("k", fail, error_ttl=60)
    with pytest.raises(edge_redis.ComputeFailedError, match="WithoutTextError"):
        cache.get_or_compute("k", lambda: 1)
