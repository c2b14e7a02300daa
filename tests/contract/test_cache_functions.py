"""The decorator of EdgeCache: which functions it takes, what their keys are, and what can be done with a result."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Maker

from edge_redis import InvalidArgumentError, InvalidTypeError, NoStore, UnsupportedTypeError

CALLS: list[Any] = []


def double(number: int, *, plus: int = 0) -> int:
    """Return twice the number."""
    CALLS.append(number)
    return 2 * number + plus


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    def price(self, article: str) -> str:
        return f"{self.name}:{article}"

    @staticmethod
    def tax(amount: int) -> int:
        return amount // 5


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


def run(make: Maker, cache: Any, result: Any) -> Any:
    """Return a result, awaited where the API is."""
    return cache._portal.run(result) if make.api == "awaited" else result


def test_a_decorator_without_parentheses_is_refused_at_once(make: Maker) -> None:
    cache = make("EdgeCache")
    with pytest.raises(InvalidTypeError, match=r"needs parentheses: @cache\.cached\(\)"):
        cache.cached(double)
    for decorate in (cache.cached(lambda _: 60), cache.cached(ttl=double), cache.cached(double, "own-key")):
        assert run(make, cache, decorate(double)(4)) == 8


def test_a_result_can_be_named_removed_and_renewed(make: Maker) -> None:
    cache = make("EdgeCache")
    cached = cache.cached(60)(double)
    assert run(make, cache, cached(4)) == run(make, cache, cached(4)) == 8
    assert CALLS == [4]
    assert cached.key(4) == cached.key(number=4) == cached.key(4, plus=0)
    assert cache.get(cached.key(4)) == 8
    assert run(make, cache, cached.invalidate(4)) is True
    assert run(make, cache, cached.invalidate(4)) is False
    assert run(make, cache, cached(4)) == 8
    assert run(make, cache, cached.refresh(4)) == 8
    assert CALLS == [4, 4, 4]
    assert (cached.__name__, cached.__doc__, cached.__wrapped__) == ("double", "Return twice the number.", double)


def test_ttl_and_tags_may_be_functions_of_the_result(make: Maker) -> None:
    cache = make("EdgeCache")
    cached = cache.cached(lambda value: value, tags=lambda value: [f"value:{value}"])(double)
    run(make, cache, cached(30))
    assert cache.entry(cached.key(30)).ttl_seconds == 60
    assert cache.invalidate_tag("value:60") == 1
    run(make, cache, cached.refresh(30))
    assert cache.invalidate_tag("value:60") == 1


def test_a_result_can_be_kept_from_being_stored(make: Maker) -> None:
    cache = make("EdgeCache")
    cached = cache.cached(key="k")(lambda: NoStore([1]))
    for _ in range(2):
        assert run(make, cache, cached()) == [1]
        assert run(make, cache, cached.refresh()) == [1]
    assert cache.size == 0


def local() -> Callable[[], int]:
    def inner() -> int:
        return 1

    return inner


class Successor:
    def __call__(self, number: int) -> int:
        return number + 1


def in_main() -> int:
    return 1


in_main.__module__ = "__main__"

ACCIDENTAL = {
    "a lambda": lambda: 1,
    "a function inside a function": local(),
    "a function of a script": in_main,
    "a partial": functools.partial(double, 1),
    "a callable object": Successor(),
}


@pytest.mark.parametrize("kind", ACCIDENTAL)
def test_names_that_are_shared_by_accident_are_refused(make: Maker, kind: str) -> None:
    cache = make("EdgeCache")
    with pytest.raises(InvalidArgumentError, match="key="):
        cache.cached()(ACCIDENTAL[kind])
    cached = cache.cached(key="named")(ACCIDENTAL[kind])
    args = [5] if kind == "a callable object" else []
    assert run(make, cache, cached(*args)) is not None


def test_a_wrapped_callable_has_the_name_of_what_it_wraps(make: Maker) -> None:
    cache = make("EdgeCache")
    wrapped = functools.wraps(double)(functools.partial(double))
    del wrapped.__qualname__
    cached = cache.cached()(wrapped)
    assert cached.key(1).startswith(f"{__name__}.double:")


def test_functions_written_in_c_are_cached_by_their_arguments(make: Maker) -> None:
    cache = make("EdgeCache")
    hexadecimal = cache.cached(key="hex")(functools.partial(int, base=16))
    assert run(make, cache, hexadecimal("ff")) == 255
    assert run(make, cache, hexadecimal("f")) == 15
    largest = cache.cached()(max)
    assert [run(make, cache, largest(1, 2)), run(make, cache, largest(3, 2))] == [2, 3]


def test_methods_are_refused_without_a_function_that_makes_keys(make: Maker) -> None:
    cache = make("EdgeCache")
    for key in (None, "price"):
        with pytest.raises(InvalidArgumentError, match="method"):
            cache.cached(key=key)(Shop.price)
    Shop.cached_price = cache.cached(key=lambda self, article: f"{self.name}:{article}")(Shop.price)  # type: ignore[attr-defined]
    assert [run(make, cache, Shop(name).cached_price("tea")) for name in "ab"] == ["a:tea", "b:tea"]  # type: ignore[attr-defined]
    assert run(make, cache, cache.cached()(Shop.tax)(10)) == 2


@pytest.mark.parametrize("kind", [classmethod, staticmethod])
def test_the_decorator_goes_below_classmethod_and_staticmethod(make: Maker, kind: Any) -> None:
    with pytest.raises(InvalidTypeError, match=f"@{kind.__name__} above"):
        make("EdgeCache").cached()(kind(double))


def test_kinds_of_functions_that_cannot_be_cached_are_refused(make: Maker) -> None:
    cache = make("EdgeCache")

    def generator() -> Any:
        yield 1

    async def async_generator() -> Any:
        yield 1

    for function in (generator, async_generator):
        with pytest.raises(InvalidTypeError, match="generator"):
            cache.cached(key="g")(function)
    with pytest.raises(InvalidTypeError, match="function"):
        cache.cached(key="n")(5)


def test_a_coroutine_function_is_for_the_asyncio_cache(make: Maker) -> None:
    async def later() -> int:
        await asyncio.sleep(0)
        return 1

    cache = make("EdgeCache")
    if make.api == "awaited":
        assert run(make, cache, cache.cached(key="k")(later)()) == 1
    else:
        with pytest.raises(InvalidTypeError, match="coroutine function"):
            cache.cached(key="k")(later)


def test_an_argument_that_cannot_be_part_of_a_key_is_named(make: Maker) -> None:
    cache = make("EdgeCache")
    with pytest.raises(UnsupportedTypeError, match=r"argument 'plus' of .*key="):
        run(make, cache, cache.cached()(double)(1, plus=object()))
