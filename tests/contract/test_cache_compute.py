"""get_or_compute and cached: one computes, the others wait, and nothing out of date is stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Maker

from edge_redis import EdgeCache, InvalidArgumentError, InvalidKeyError, InvalidTypeError, UnsupportedTypeError
from support.cache import TAG, assert_index_is_exact, snapshot
from support.deadline import eventually
from support.near import as_in_another_process
from support.servers import Backend


class Compute:
    """A function that counts its calls; awaited where the API is."""

    def __init__(self, make: Maker, result: Any = "computed", then: Any = lambda: None) -> None:
        self.calls = 0
        self.result = result
        self.then = then
        self._awaited = make.api == "awaited"

    def __call__(self) -> Any:
        return self._later() if self._awaited else self._now()

    async def _later(self) -> Any:
        return self._now()

    def _now(self) -> Any:
        self.calls += 1
        self.then()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def other(make: Maker) -> Iterator[EdgeCache]:
    """Another cache of the same namespace, as in another process."""
    with make.backend.client() as client, EdgeCache(client, flush_interval=3600) as cache:
        yield as_in_another_process(cache)


def lease_key(key: str) -> str:
    return f"{TAG}:lease:{key}"


@pytest.mark.parametrize("flush_every", [1, 1024])
def test_a_miss_is_computed_and_a_hit_is_not(make: Maker, flush_every: int) -> None:
    cache, compute = make("EdgeCache", flush_every=flush_every), Compute(make, [1])
    for _ in range(3):
        assert cache.get_or_compute("k", compute) == [1]
    assert compute.calls == 1
    assert cache.entry("k").ttl_seconds == 300
    assert (cache.stats()["hits"], cache.stats()["misses"]) == (2, 1)
    cache.get_or_compute("l", compute, 5)
    assert cache.entry("l").ttl_seconds == 5
    with make.backend.client() as client:
        assert client.exists(lease_key("k"), lease_key("l")) == 0


def test_none_is_a_value_like_any_other(make: Maker) -> None:
    cache, compute = make("EdgeCache"), Compute(make, None)
    assert cache.get_or_compute("k", compute) is None
    assert cache.get_or_compute("k", compute) is None
    assert compute.calls == 1


def test_a_plain_function_will_do_in_both_apis(make: Maker) -> None:
    assert make("EdgeCache").get_or_compute("k", lambda: 5) == 5


@pytest.mark.parametrize("result", [ValueError("no"), object()])
def test_an_error_is_raised_and_the_next_computes(make: Maker, result: Any) -> None:
    cache = make("EdgeCache")
    kind = ValueError if isinstance(result, ValueError) else UnsupportedTypeError
    for _ in range(2):
        with pytest.raises(kind):
            cache.get_or_compute("k", Compute(make, result))
    with make.backend.client() as client:
        assert_index_is_exact(client, set())
        assert client.exists(lease_key("k")) == 0
    assert cache.get_or_compute("k", Compute(make, 1), lease_seconds=60) == 1


CHANGES: dict[str, tuple[Callable[[Any], object], str | None]] = {
    "put": (lambda cache: cache.put("k", "put"), "put"),
    "put_many": (lambda cache: cache.put_many({"k": "put"}), "put"),
    "delete": (lambda cache: cache.delete("k"), None),
    "clear": (lambda cache: cache.clear(), None),
    "invalidate_tag": (lambda cache: cache.invalidate_tag("t"), None),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("there", [False, True])
def test_what_is_out_of_date_is_not_stored(make: Maker, other: EdgeCache, name: str, *, there: bool) -> None:
    change, expected = CHANGES[name]
    cache = make("EdgeCache")
    if there:  # an entry that is stale at once
        cache.get_or_compute("k", lambda: "old", 0.001, stale_ttl=60, tags=["t"])
        time.sleep(0.002)
    compute = Compute(make, then=lambda: change(other))
    assert cache.get_or_compute("k", compute, tags=["t"], stale_ttl=60) == "computed"
    assert cache.get("k") == expected
    again = Compute(make, "again")
    assert cache.get_or_compute("k", again) == (expected or "again")  # and no lease is in the way


def test_without_tags_an_invalidation_does_not_matter(make: Maker, other: EdgeCache) -> None:
    cache = make("EdgeCache")
    cache.get_or_compute("k", Compute(make, then=lambda: other.invalidate_tag("t")))
    assert cache.get("k") == "computed"


def test_another_holder_is_waited_for(make: Maker) -> None:
    cache, compute = make("EdgeCache"), Compute(make)
    with make.backend.client() as client, EdgeCache(make.backend.client()) as other:
        client.set(lease_key("k"), "somebody", px=5000)
        timer = threading.Timer(0.05, lambda: other.put("k", "theirs"))
        timer.start()
        assert cache.get_or_compute("k", compute) == "theirs"
        timer.join()
    assert compute.calls == 0


def test_a_holder_that_died_is_succeeded_when_its_lease_runs_out(make: Maker) -> None:
    cache, compute = make("EdgeCache"), Compute(make)
    with make.backend.client() as client:
        client.set(lease_key("k"), "somebody", px=100)
        began = time.monotonic()
        assert cache.get_or_compute("k", compute) == "computed"
    assert time.monotonic() - began >= 0.09
    assert compute.calls == 1


def test_one_that_took_too_long_does_not_overwrite_its_successor(make: Maker, other: EdgeCache) -> None:
    cache = make("EdgeCache")

    def too_long() -> None:
        assert other.get_or_compute("k", lambda: "successor") == "successor"

    assert cache.get_or_compute("k", Compute(make, "late", then=too_long), lease_seconds=0.02) == "late"
    assert cache.get("k") == "successor"


def test_one_that_took_too_long_is_stored_if_nobody_followed(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.get_or_compute("k", Compute(make, then=lambda: time.sleep(0.02)), lease_seconds=0.001)
    assert cache.get("k") == "computed"


def test_a_stale_value_is_served_while_one_computes(make: Maker, other: EdgeCache) -> None:
    cache = make("EdgeCache")
    cache.get_or_compute("k", lambda: "old", 0.02, stale_ttl=60)
    assert 60 < cache.entry("k").ttl_seconds < 60.1
    seen = []

    def meanwhile() -> None:
        seen.append(other.get_or_compute("k", lambda: "not this one", 0.02, stale_ttl=60))

    compute = Compute(make, "new", then=meanwhile)
    eventually(lambda: cache.get_or_compute("k", compute, 30, stale_ttl=60) == "new")
    assert seen == ["old"]
    assert compute.calls == 1
    assert cache.get("k") == "new"


def test_a_stale_value_is_better_than_an_error(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.get_or_compute("k", lambda: "old", 0.001, stale_ttl=60)
    failing = Compute(make, ValueError())
    eventually(lambda: cache.get_or_compute("k", failing, stale_ttl=60) == "old" and failing.calls)
    assert cache.get_or_compute("k", Compute(make, "new"), stale_ttl=60) == "new"


def test_a_fresh_value_is_not_computed_again(make: Maker) -> None:
    cache, compute = make("EdgeCache"), Compute(make)
    for _ in range(3):
        cache.get_or_compute("k", compute, 60, stale_ttl=60)
    assert compute.calls == 1


@pytest.mark.parametrize("make", ["blocking"], indirect=True)
def test_many_threads_compute_once(make: Maker) -> None:
    cache, calls, found = make("EdgeCache"), [], []

    def compute() -> int:
        calls.append(1)
        time.sleep(0.05)
        return 7

    threads = [threading.Thread(target=lambda: found.append(cache.get_or_compute("k", compute))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(calls), found) == (1, [7] * 30)


def test_bad_arguments(make: Maker) -> None:
    cache = make("EdgeCache")
    compute = Compute(make)
    with make.backend.client() as client:
        before = snapshot(client)
        cases: list[tuple[Any, dict[str, Any], type[Exception]]] = [
            ("", {}, InvalidKeyError),
            (1, {}, InvalidTypeError),
            ("k", {"ttl": 0}, InvalidArgumentError),
            ("k", {"ttl": float("nan")}, InvalidArgumentError),
            ("k", {"stale_ttl": -1}, InvalidArgumentError),
            ("k", {"lease_seconds": 0}, InvalidArgumentError),
            ("k", {"lease_seconds": float("inf")}, InvalidArgumentError),
            ("k", {"tags": "abc"}, InvalidTypeError),
            ("k", {"tags": [""]}, InvalidKeyError),
        ]
        for key, kwargs, kind in cases:
            with pytest.raises(kind):
                cache.get_or_compute(key, compute, **kwargs)
        with pytest.raises(InvalidTypeError):
            cache.get_or_compute("k", 5)
        assert snapshot(client) == before
    assert compute.calls == 0


def decorated(make: Maker, cache: Any, function: Any, **options: Any) -> Any:
    """Return ``function`` cached, as a blocking function."""
    wrapper = cache.cached(**options)(function)
    return (lambda *args, **kwargs: cache._portal.run(wrapper(*args, **kwargs))) if make.api == "awaited" else wrapper


def test_cached_results_go_by_the_arguments(make: Maker) -> None:
    cache, calls = make("EdgeCache"), []

    def area(width: int, height: int = 2, **more: int) -> int:
        calls.append((width, height))
        return width * height + sum(more.values())

    cached = decorated(make, cache, area, ttl=60, key="area")
    assert [cached(3), cached(3, 2), cached(width=3, height=2), cached(height=2, width=3)] == [6, 6, 6, 6]
    assert calls == [(3, 2)]
    assert cached(2, 3) == 6
    assert cached(3, more=1) == 7
    assert len(calls) == 3
    assert cached(3.0) == 6.0
    assert len(calls) == 4  # an equal number of another type gives a result of another type


def test_cached_keys(make: Maker) -> None:
    cache = make("EdgeCache")
    decorated(make, cache, lambda: 1, key="plain")()
    assert cache.get("plain") == 1
    decorated(make, cache, lambda user: user, key=lambda user: f"user:{user}", tags=("users",))(5)
    assert cache.get("user:5") == 5
    assert cache.invalidate_tag("users") == 1
    decorated(make, cache, lambda user: user, key="prefix")(5)
    with make.backend.client() as client:
        assert len([key for key in client.scan_iter(f"{TAG}:v:prefix:*")]) == 1  # noqa: C416 -- an iterator


def test_cached_keeps_the_functions_name(make: Maker) -> None:
    cache = make("EdgeCache")

    def documented() -> int:
        """Say so."""
        return 1

    wrapper = cache.cached(key="documented")(documented)
    assert (wrapper.__name__, wrapper.__doc__) == ("documented", "Say so.")


def test_cached_refuses_what_it_cannot_use(make: Maker) -> None:
    cache = make("EdgeCache")
    with pytest.raises(InvalidTypeError):
        cache.cached(key=5)
    with pytest.raises(InvalidKeyError):
        cache.cached(key="")
    with pytest.raises(InvalidTypeError):
        cache.cached(tags="abc")
    with pytest.raises(UnsupportedTypeError):
        decorated(make, cache, lambda thing: thing, key="thing")(object())
    with pytest.raises(InvalidTypeError):
        decorated(make, cache, lambda thing: thing, key=lambda thing: thing)(5)


@pytest.mark.parametrize("on_error", ["raise", "miss"])
def test_a_stop_iteration_of_a_blocking_computation_is_raised_as_it_is(backend: Backend, on_error: Any) -> None:
    with backend.client() as client, EdgeCache(client, on_error=on_error) as cache:
        nothing: list[int] = []
        cached = cache.cached(key="first")(lambda: next(iter(nothing)))
        for compute in (cached, cached.refresh, lambda: cache.get_or_compute("k", lambda: next(iter(nothing)))):
            with pytest.raises(StopIteration):
                compute()
        nothing.append(1)
        assert (cached(), cache.size) == (1, 1)
