"""Values of public enums and of users' own types in the cache."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import pytest
from conftest import Maker

from edge_redis import EdgeNodeStatus, InvalidArgumentError, InvalidTypeError, TypeCodec, UnsupportedTypeError
from support.near import component_of


@dataclass(frozen=True)
class Price:
    amount: int
    currency: str


class Point(NamedTuple):
    x: int
    y: int


class Colour(IntEnum):
    RED = 1


CODEC = {
    Price: TypeCodec(32, asdict, lambda data: Price(**data)),
    Point: TypeCodec(33, tuple, lambda parts: Point(*parts)),
    Colour: TypeCodec(127, int, Colour),
}

VALUES = {
    "status": EdgeNodeStatus.DEGRADED,
    "status inside": {EdgeNodeStatus.ONLINE: [EdgeNodeStatus.OFFLINE, ("x", EdgeNodeStatus.SYNCING)]},
    "statuses": {EdgeNodeStatus.ONLINE, EdgeNodeStatus.MAINTENANCE},
    "price": Price(1, "EUR"),
    "prices": [Price(1, "EUR"), (Price(2, "USD"), {"deep": {Price(3, "EUR")}})],
    "point": Point(1, -1),
    "colour": {Colour.RED: Colour.RED},
}


def build(parts: Any) -> Price:
    return Price(*parts)


def types_of(value: object) -> object:
    if type(value) is dict:
        return [(types_of(key), types_of(item)) for key, item in value.items()]
    if type(value) in (list, tuple):
        return type(value), [types_of(item) for item in value]  # type: ignore[attr-defined]
    return type(value)


@pytest.mark.parametrize("options", [{}, {"flush_every": 1}, {"near_cache": True}], ids=["plain", "exact", "near"])
def test_public_enums_and_own_types_come_back_as_they_were(make: Maker, options: dict[str, Any]) -> None:
    cache = make("EdgeCache", codec=CODEC, **options)
    for key, value in VALUES.items():
        cache.put(key, value)
    for _ in range(2):  # the second time from the near cache
        for key, value in VALUES.items():
            found = cache.get(key)
            assert (found, types_of(found)) == (value, types_of(value))
    assert cache.get_many(VALUES) == VALUES
    entry = cache.entry("price")
    assert entry is not None
    assert entry.value == VALUES["price"]
    assert cache.get_or_compute("new", lambda: VALUES["prices"]) == VALUES["prices"]
    assert cache.pop("new") == VALUES["prices"]


def test_own_types_are_compared_by_type_and_value(make: Maker) -> None:
    cache = make("EdgeCache", codec=CODEC)
    cache.put("k", [{"b": Price(1, "EUR"), "a": Point(1, 2)}])
    assert not cache.compare_and_set("k", [{"a": (1, 2), "b": Price(1, "EUR")}], 0)
    assert cache.compare_and_set("k", [{"a": Point(1, 2), "b": Price(1, "EUR")}], EdgeNodeStatus.ONLINE)
    assert not cache.compare_and_delete("k", "online")
    assert cache.compare_and_delete("k", EdgeNodeStatus.ONLINE)


def double(price: Price, status: EdgeNodeStatus) -> Price:
    return Price(2 * price.amount, f"{price.currency} {status}")


def test_own_types_are_arguments_of_cached_functions(make: Maker) -> None:
    key_of = make("EdgeCache", codec=CODEC).cached(key="double")(double).key
    keys = {key_of(Price(amount, "EUR"), status) for amount in (1, 1, 2) for status in EdgeNodeStatus}
    assert len(keys) == 2 * len(EdgeNodeStatus)
    with pytest.raises(UnsupportedTypeError, match="argument 'price'"):
        make("EdgeCache").cached(key="double")(double).key(Price(1, "EUR"), EdgeNodeStatus.ONLINE)


def test_an_own_type_without_a_codec_is_refused_and_its_entry_is_corrupt_to_others(make: Maker) -> None:
    cache, other = make("EdgeCache", codec=CODEC), make("EdgeCache")
    with pytest.raises(UnsupportedTypeError, match="Price is not carried"):
        other.put("k", Price(1, "EUR"))
    cache.put("k", Price(1, "EUR"))
    assert other.get("k") is None
    assert other.stats()["corrupt"] == 1
    assert "k" not in cache


def fail(_: object) -> object:
    raise RuntimeError("no")


def test_an_error_of_encode_is_raised_and_one_of_decode_is_a_corrupt_entry(make: Maker) -> None:
    refusing = make("EdgeCache", codec={Price: TypeCodec(32, fail, build)})
    with pytest.raises(InvalidArgumentError, match="Price raised RuntimeError"):
        refusing.put("k", [Price(1, "EUR")])
    assert refusing.size == 0
    failing = make("EdgeCache", codec={Price: TypeCodec(32, lambda _: 1, fail)})
    failing.put("k", Price(1, "EUR"))
    assert failing.get("k", "default") == "default"
    assert (failing.stats()["corrupt"], failing.size) == (1, 0)


@pytest.mark.parametrize(
    ("codec", "error"),
    [
        ([(Price, TypeCodec(32, tuple, build))], InvalidTypeError),
        ({"Price": TypeCodec(32, tuple, build)}, InvalidTypeError),
        ({Price: (32, tuple)}, InvalidTypeError),
        ({Price: ("32", tuple, Price)}, InvalidTypeError),
        ({Price: (32, None, Price)}, InvalidTypeError),
        ({Price: (32, tuple, 5)}, InvalidTypeError),
        ({Price: TypeCodec(31, tuple, build)}, InvalidArgumentError),
        ({Price: TypeCodec(128, tuple, build)}, InvalidArgumentError),
        ({Price: TypeCodec(32, tuple, build), Point: TypeCodec(32, tuple, build)}, InvalidArgumentError),
        ({dict: TypeCodec(32, tuple, dict)}, InvalidArgumentError),
        ({tuple: TypeCodec(32, list, tuple)}, InvalidArgumentError),
        ({EdgeNodeStatus: TypeCodec(32, str, EdgeNodeStatus)}, InvalidArgumentError),
    ],
)
def test_a_wrong_codec_is_refused(make: Maker, codec: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        make("EdgeCache", codec=codec)


def test_a_codec_may_be_given_as_a_plain_tuple(make: Maker) -> None:
    cache = make("EdgeCache", codec={Price: (40, astuple, lambda data: Price(*data))})
    cache.put("k", Price(1, "EUR"))
    assert cache.get("k") == Price(1, "EUR")
    assert component_of(cache).config.codec is not component_of(make("EdgeCache")).config.codec
