"""What get_or_compute can be asked for beyond: recomputing early, keeping a None or a failure for a while."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest
from conftest import Maker

from edge_redis import ComputeFailedError, EdgeCache, InvalidArgumentError
from support.cache import TAG, assert_index_is_exact
from support.deadline import eventually
from support.near import as_in_another_process

# An e-th of a chance: -ln of it is 1, so an entry is due when what is left to live is what it cost.
LUCK = 1 - 0.36787944117144233


@pytest.fixture
def luck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: LUCK)


def slow(result: Any, seconds: float = 0.05) -> Any:
    def compute() -> Any:
        time.sleep(seconds)
        return result

    return compute


@pytest.mark.usefixtures("luck")
@pytest.mark.parametrize("near_cache", [False, True])
def test_a_value_is_computed_anew_before_it_expires(make: Maker, near_cache: bool) -> None:  # noqa: FBT001
    cache = make("EdgeCache", near_cache=near_cache)
    assert cache.get_or_compute("k", slow(1), 60, early=1.0) == 1
    assert cache.get("k") == 1
    assert cache.get_or_compute("k", slow(2), 60, early=1.0) == 1  # 60 s left, 50 ms it cost
    assert cache.get_or_compute("k", slow(2), 60, early=2000.0) == 2
    cache.touch("k", 0.04)
    assert cache.get_or_compute("k", slow(3), 60, early=1.0) == 3
    assert cache.get("k") == 3


@pytest.mark.usefixtures("luck")
def test_what_was_put_has_no_cost_and_is_never_early(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", 1)
    assert cache.get_or_compute("k", slow(2), early=1e9) == 1


@pytest.mark.usefixtures("luck")
def test_one_computes_early_and_the_others_have_the_value_there_is(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.get_or_compute("k", slow("old"), 60, early=1.0)
    with make.backend.client() as client, as_in_another_process(EdgeCache(make.backend.client())) as other:
        seen = []

        def compute() -> str:
            seen.append(other.get_or_compute("k", lambda: "not this one", 60, early=1e6))
            return "new"

        assert cache.get_or_compute("k", compute, 60, early=1e6) == "new"
        assert seen == ["old"]
        assert client.exists(f"{TAG}:lease:k") == 0


@pytest.mark.usefixtures("luck")
def test_an_early_try_that_fails_costs_nobody_the_value(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.get_or_compute("k", slow("old"), 60, early=1.0)

    def fail() -> None:
        raise ValueError("no")

    assert cache.get_or_compute("k", fail, 60, early=1e6) == "old"


def test_a_none_can_be_kept_for_a_time_of_its_own(make: Maker) -> None:
    cache = make("EdgeCache")
    assert cache.get_or_compute("nobody", lambda: None, 60, negative_ttl=0.3, stale_ttl=60) is None
    assert 0 < cache.entry("nobody").ttl_seconds <= 0.3
    eventually(lambda: "nobody" not in cache)
    assert cache.get_or_compute("nobody", lambda: "somebody", 60, negative_ttl=0.05) == "somebody"
    assert cache.entry("nobody").ttl_seconds == 60


def test_a_failure_can_be_kept_for_later_callers_for_a_while(make: Maker) -> None:
    cache = make("EdgeCache")
    calls = []

    def fail() -> None:
        calls.append(1)
        raise ValueError("the sensor is gone: µ")

    with pytest.raises(ValueError, match="the sensor"):
        cache.get_or_compute("k", fail, error_ttl=0.2)
    for _ in range(3):
        with pytest.raises(ComputeFailedError, match="'k' has failed: ValueError: the sensor is gone: µ"):
            cache.get_or_compute("k", fail, error_ttl=0.2)
    assert len(calls) == 1
    with make.backend.client() as client:
        assert_index_is_exact(client, set())

    def again() -> bool:
        try:
            return bool(cache.get_or_compute("k", lambda: "back", error_ttl=0.2) == "back")
        except ComputeFailedError:
            return False

    eventually(again)


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_failure_without_a_text_is_raised_and_kept_like_others(make: Maker) -> None:
    cache = make("EdgeCache")

    def fail() -> None:
        raise MuteError

    with pytest.raises(MuteError):
        cache.get_or_compute("k", fail, error_ttl=60)
    with pytest.raises(ComputeFailedError, match="'k' has failed: MuteError"):
        cache.get_or_compute("k", fail, error_ttl=60)


def test_a_put_ends_the_word_of_a_failure(make: Maker) -> None:
    cache = make("EdgeCache")

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get_or_compute("k", fail, error_ttl=60)
    cache.put("k", 1)
    cache.delete("k")
    assert cache.get_or_compute("k", lambda: 2, error_ttl=60) == 2


@pytest.mark.parametrize("make", ["blocking"], indirect=True)
def test_callers_that_wait_get_the_failure(make: Maker) -> None:
    cache, started, raised = make("EdgeCache"), threading.Event(), []

    def fail() -> None:
        started.set()
        time.sleep(0.05)
        raise ValueError("no")

    def ask(compute: Any) -> None:
        try:
            cache.get_or_compute("k", compute, error_ttl=60)
        except (ValueError, ComputeFailedError) as error:
            raised.append(type(error))

    first = threading.Thread(target=ask, args=[fail])
    first.start()
    started.wait(5)
    others = [threading.Thread(target=ask, args=[lambda: "never"]) for _ in range(5)]
    for thread in others:
        thread.start()
    for thread in [first, *others]:
        thread.join()
    assert sorted(kind.__name__ for kind in raised) == ["ComputeFailedError"] * 5 + ["ValueError"]


def test_the_decorator_takes_them_too(make: Maker) -> None:
    cache, calls = make("EdgeCache"), []

    def find(name: str) -> None:
        calls.append(name)

    wrapper = cache.cached(ttl=60, key="find", negative_ttl=30, early=1.0, error_ttl=5)(find)
    run = cache._portal.run if make.api == "awaited" else lambda result: result
    assert run(wrapper("x")) is run(wrapper("x")) is None
    assert calls == ["x"]


@pytest.mark.parametrize(
    "options",
    [{"early": -1}, {"early": float("nan")}, {"negative_ttl": 0}, {"negative_ttl": -1}, {"error_ttl": 0}],
)
def test_bad_options(make: Maker, options: dict[str, Any]) -> None:
    calls = []
    with pytest.raises(InvalidArgumentError, match=next(iter(options))):
        make("EdgeCache").get_or_compute("k", lambda: calls.append(1), **options)
    assert calls == []


def test_a_long_word_of_a_failure_is_cut(make: Maker) -> None:
    cache = make("EdgeCache")

    def fail() -> None:
        raise ValueError("a" + "µ" * 400)  # the cut falls into the middle of a character

    with pytest.raises(ValueError, match="aµ"):
        cache.get_or_compute("k", fail, error_ttl=60)
    with pytest.raises(ComputeFailedError, match="ValueError: aµ"):
        cache.get_or_compute("k", fail, error_ttl=60)
