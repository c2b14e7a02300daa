"""get_or_compute where computations end badly, take long, meet each other, or are overtaken by writes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fakeredis
import pytest
from conftest import Maker

import edge_redis.aio
from edge_redis import ComputeFailedError, EdgeCache, NoStore, RecursiveComputeError
from support.cache import TAG
from support.deadline import eventually
from support.near import as_in_another_process, component_of
from support.servers import Backend


class Timeout(BaseException):
    """What a signal handler or a scheduler raises anywhere."""


@pytest.fixture
def cache(backend: Backend) -> Iterator[EdgeCache]:
    with backend.client() as client, EdgeCache(client) as made:
        yield made


@pytest.fixture
def elsewhere(backend: Backend) -> Iterator[EdgeCache]:
    """The same cache in another process."""
    with backend.client() as client, EdgeCache(client) as made:
        yield as_in_another_process(made)


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Make calls at once; return what each returned or raised."""
    outcomes: list[Any] = [None] * len(calls)

    def run(place: int) -> None:
        try:
            outcomes[place] = calls[place]()
        except Exception as error:  # noqa: BLE001 -- compared by the test
            outcomes[place] = error

    threads = [threading.Thread(target=run, args=[place]) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def fail(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("error", [Timeout(), SystemExit(0), KeyboardInterrupt(), GeneratorExit()])
def test_an_interrupted_computation_frees_its_key_at_once(cache: EdgeCache, error: BaseException) -> None:
    with pytest.raises(type(error)):
        cache.get_or_compute("k", lambda: fail(error), lease_seconds=60)
    began = time.monotonic()
    assert cache.get_or_compute("k", lambda: 1) == 1
    assert time.monotonic() - began < 5


def test_a_cancelled_task_frees_its_key_at_once(backend: Backend) -> None:
    async def scenario() -> None:
        async with backend.async_client() as client, edge_redis.aio.EdgeCache(client) as cache:
            started, calls = asyncio.Event(), 0

            async def compute() -> str:
                nonlocal calls
                calls += 1
                started.set()
                await asyncio.sleep(60 if calls == 1 else 0)
                return "value"

            first = asyncio.create_task(cache.get_or_compute("k", compute, lease_seconds=60))
            await started.wait()
            others = [asyncio.create_task(cache.get_or_compute("k", compute, lease_seconds=60)) for _ in range(5)]
            await asyncio.sleep(0.01)
            first.cancel()
            assert await asyncio.wait_for(asyncio.gather(*others), 10) == ["value"] * 5
            assert calls == 2
            with pytest.raises(asyncio.CancelledError):
                await first

    asyncio.run(scenario())


def test_a_lease_is_renewed_while_its_holder_computes(cache: EdgeCache, elsewhere: EdgeCache) -> None:
    started, calls = threading.Event(), []

    def compute() -> str:
        calls.append(1)
        started.set()
        time.sleep(0.6)
        return "value"

    def later() -> Any:
        started.wait(10)
        return elsewhere.get_or_compute("k", compute, lease_seconds=0.25)

    first = lambda: cache.get_or_compute("k", compute, lease_seconds=0.25)  # noqa: E731
    assert in_threads(first, later) == ["value"] * 2
    assert calls == [1]
    assert cache.get("k") == "value"


def test_tasks_of_one_loop_compute_once_and_the_lease_is_renewed(backend: Backend) -> None:
    async def scenario() -> None:
        async with backend.async_client() as client, edge_redis.aio.EdgeCache(client) as cache:
            calls = 0

            async def compute() -> list[int]:
                nonlocal calls
                calls += 1
                await asyncio.sleep(0.9)
                return [1]

            ask = [cache.get_or_compute("k", compute, lease_seconds=0.4) for _ in range(50)]
            values = await asyncio.gather(*ask)
            assert values == [[1]] * 50
            assert len({id(value) for value in values}) == 50  # each caller has a copy
            assert calls == 1
            assert await cache.get("k") == [1]

    asyncio.run(scenario())


@pytest.mark.parametrize("place", ["the same process", "another process"])
def test_a_slow_failure_is_shared_by_those_who_waited(cache: EdgeCache, elsewhere: EdgeCache, place: str) -> None:
    started, calls = threading.Event(), []
    other = cache if place == "the same process" else elsewhere

    def compute() -> None:
        calls.append(1)
        started.set()
        time.sleep(0.1)
        raise ValueError("no")

    def later() -> Any:
        started.wait(10)
        return other.get_or_compute("k", compute)

    outcomes = in_threads(lambda: cache.get_or_compute("k", compute), *[later] * 4)
    assert [type(outcome) for outcome in outcomes] == [ValueError, *[ComputeFailedError] * 4]
    assert "ValueError: no" in str(outcomes[1])
    assert calls == [1]
    assert cache.get_or_compute("k", lambda: 2) == 2  # a caller that did not wait computes


def test_a_computation_that_asks_for_itself_is_an_error_at_once(cache: EdgeCache) -> None:
    began = time.monotonic()
    with pytest.raises(RecursiveComputeError, match="'k'"):
        cache.get_or_compute("k", lambda: cache.get_or_compute("l", lambda: cache.get_or_compute("k", lambda: 1)))
    assert time.monotonic() - began < 5
    assert cache.get_or_compute("k", lambda: cache.get_or_compute("l", lambda: 2)) == 2


def test_an_awaited_computation_that_asks_for_itself_is_an_error_at_once(backend: Backend) -> None:
    async def scenario() -> None:
        async with backend.async_client() as client, edge_redis.aio.EdgeCache(client) as cache:

            async def outer() -> Any:
                return await asyncio.create_task(cache.get_or_compute("k", outer))

            with pytest.raises(RecursiveComputeError):
                await asyncio.wait_for(cache.get_or_compute("k", outer), 5)
            assert await cache.get_or_compute("k", lambda: 1) == 1

    asyncio.run(scenario())


def test_a_value_is_stored_whatever_other_tags_and_prefixes_are_invalidated(make: Maker) -> None:
    cache = make("EdgeCache")

    def compute() -> str:
        with make.backend.client() as client, EdgeCache(client) as other:
            other.invalidate_tag("another")
            other.invalidate_prefix("l")
        return "value"

    cache.get_or_compute("k", compute, tags=["mine"])
    assert cache.get("k") == "value"
    assert cache.invalidate_tag("mine") == 1


OVERTAKING: dict[str, Callable[[Any, EdgeCache], object]] = {
    "its tag": lambda _, cache: cache.invalidate_tag("mine"),
    "its prefix": lambda _, cache: cache.invalidate_prefix("k"),
    "clear": lambda _, cache: cache.clear(),
    "FLUSHALL": lambda client, _: client.flushall(),
    "delete": lambda _, cache: cache.delete("k"),
}


@pytest.mark.parametrize("name", OVERTAKING)
def test_a_value_that_was_overtaken_is_not_stored(make: Maker, name: str) -> None:
    cache = make("EdgeCache")

    def compute() -> str:
        with make.backend.client() as client, EdgeCache(client) as other:
            OVERTAKING[name](client, other)
        return "old"

    assert cache.get_or_compute("k", compute, tags=["mine"]) == "old"
    assert "k" not in cache


def test_who_asks_after_a_delete_does_not_get_what_was_computed_before(cache: EdgeCache) -> None:
    started, deleted = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        deleted.wait(10)
        return "old"

    def later() -> Any:
        started.wait(10)
        cache.delete("k")
        try:
            return cache.get_or_compute("k", lambda: "new")
        finally:
            deleted.set()

    assert in_threads(lambda: cache.get_or_compute("k", slow), later) == ["old", "new"]
    assert cache.get("k") == "new"


WRITES: dict[str, Callable[[Any], object]] = {
    "put": lambda cache: cache.put("k", ["written"]),
    "put_many": lambda cache: cache.put_many({"k": ["written"]}),
    "add": lambda cache: cache.add("k", ["written"]),
    "get_or_compute after a delete": lambda cache: (
        cache.delete("k"),
        cache.get_or_compute("k", lambda: ["written"]),
    ),
}
RESULTS: dict[str, Callable[[], Any]] = {
    "a value": lambda: "computed",
    "a value that is not stored": lambda: NoStore("computed"),
    "an error": lambda: fail(ValueError("no")),
}


class Race:
    """One caller computes and another waits for it, while a third writes in another process."""

    def __init__(self, cache: EdgeCache, elsewhere: EdgeCache) -> None:
        self.cache, self.elsewhere = cache, elsewhere
        self.computes: list[str] = []

    def run(self, write: Callable[[Any], object], result: Callable[[], Any], **options: Any) -> list[Any]:
        """Return the outcomes of the caller that computes and of the one that waits."""
        started, is_joined = threading.Event(), threading.Event()
        flights = component_of(self.cache).shards.of("k").computation.flights
        enter = flights.enter

        def joining(key: str) -> Any:
            joined = enter(key)
            if not joined[1]:
                is_joined.set()
            return joined

        def compute() -> Any:
            self.computes.append("first")
            started.set()
            assert is_joined.wait(10)
            write(self.elsewhere)
            return result()

        def compute_anew() -> Any:
            self.computes.append("second")
            return "anew"

        def later() -> Any:
            started.wait(10)
            return self.cache.get_or_compute("k", compute_anew, **options)

        flights.enter = joining  # type: ignore[method-assign] # tells when the second caller has joined
        try:
            return in_threads(lambda: self.cache.get_or_compute("k", compute, **options), later)
        finally:
            flights.enter = enter  # type: ignore[method-assign]


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("write", WRITES)
def test_what_another_process_writes_meanwhile_wins(
    cache: EdgeCache, elsewhere: EdgeCache, write: str, result: str
) -> None:
    race = Race(cache, elsewhere)
    computed, waited = race.run(WRITES[write], RESULTS[result])
    assert str(computed) == ("no" if result == "an error" else "computed")
    assert waited == cache.get("k") == ["written"]
    assert race.computes == ["first"]


REMOVALS = [(name, "a value") for name in OVERTAKING]
REMOVALS += [(name, result) for name in ("delete", "FLUSHALL") for result in RESULTS if result != "a value"]


@pytest.mark.parametrize(("name", "result"), REMOVALS)
def test_who_waited_for_what_another_process_removes_computes_anew(
    backend: Backend, cache: EdgeCache, elsewhere: EdgeCache, name: str, result: str
) -> None:
    race = Race(cache, elsewhere)
    with backend.client() as client:
        computed, waited = race.run(lambda there: OVERTAKING[name](client, there), RESULTS[result], tags=["mine"])
    assert str(computed) == ("no" if result == "an error" else "computed")
    assert (waited, cache.get("k")) == ("anew", "anew")
    assert race.computes == ["first", "second"]


def test_a_stale_value_gives_way_to_what_another_process_writes(cache: EdgeCache, elsewhere: EdgeCache) -> None:
    cache.get_or_compute("k", lambda: "stale", 0.001, stale_ttl=60)

    def compute() -> str:
        assert elsewhere.get_or_compute("k", pytest.fail, 60, stale_ttl=60) == "stale"
        elsewhere.put("k", "written")
        raise ValueError("no")

    eventually(lambda: cache.get_or_compute("k", compute, 60, stale_ttl=60) == "written")
    assert cache.get("k") == "written"


def test_a_value_that_is_not_to_be_stored_goes_to_those_who_waited(cache: EdgeCache) -> None:
    started, calls = threading.Event(), []

    def compute() -> NoStore:
        calls.append(1)
        started.set()
        time.sleep(0.05)
        return NoStore({"a": 1})

    def later() -> Any:
        started.wait(10)
        return cache.get_or_compute("k", compute)

    assert in_threads(lambda: cache.get_or_compute("k", compute), later) == [{"a": 1}] * 2
    assert calls == [1]
    assert "k" not in cache


def test_a_put_entry_is_fresh_until_it_expires(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", "put", 5)
    assert cache.get_or_compute("k", pytest.fail, 60, stale_ttl=30) == "put"


@pytest.mark.parametrize("stale_ttl", [None, 2, 30])
@pytest.mark.parametrize("near_cache", [False, True])
def test_a_kept_none_is_computed_once(make: Maker, stale_ttl: float | None, *, near_cache: bool) -> None:
    cache, calls = make("EdgeCache", near_cache=near_cache), []
    for _ in range(5):
        assert cache.get_or_compute("k", lambda: calls.append(1), 60, negative_ttl=5, stale_ttl=stale_ttl) is None
    assert calls == [1]


def test_no_lease_is_left_behind(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.get_or_compute("a", lambda: 1)
    cache.get_or_compute("b", lambda: NoStore(1))
    with pytest.raises(ValueError, match="no"):
        cache.get_or_compute("c", lambda: fail(ValueError("no")))
    with make.backend.client() as client:
        eventually(lambda: not list(client.scan_iter(f"{TAG}:lease:*")))


def renewing_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "edge-redis-renewal"}


def test_the_thread_that_renews_leases_ends_soon_after_a_computation_with_a_long_lease() -> None:
    others = renewing_threads()

    def compute() -> str:
        eventually(lambda: renewing_threads() - others)
        return "value"

    with fakeredis.FakeRedis() as client, EdgeCache(client) as cache:
        assert cache.get_or_compute("k", compute, lease_seconds=600) == "value"
        eventually(lambda: not renewing_threads() - others, seconds=10)
