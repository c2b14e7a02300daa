"""What goes in comes out as the type it was; what cannot is refused; what is damaged says so."""

import collections
import contextlib
import enum
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_redis import EdgeNodeStatus
from edge_redis._core import codec
from edge_redis.errors import CorruptDataError, InvalidArgumentError, UnsupportedTypeError, ValueTooLargeError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.datetimes(timezones=st.one_of(st.none(), st.just(UTC), st.just(timezone(timedelta(hours=-3, minutes=-30))))),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)
HASHABLE = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.tuples(inner)
        | st.sets(HASHABLE, max_size=4)
    ),
    max_leaves=12,
)


def shape(value: object) -> object:
    """The types of a value and of all inside it, with the value."""
    if isinstance(value, dict):
        return dict, {key: shape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [shape(item) for item in value]
    return type(value), value


@given(VALUES)
def test_a_value_comes_back_as_the_type_it_was(value: object) -> None:
    assert shape(codec.decode(codec.encode(value))) == shape(value)


@given(VALUES)
def test_the_canonical_form_decodes_too(value: object) -> None:
    assert codec.decode(codec.canonical(value)) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=2), st.randoms())
def test_equal_maps_have_one_checksum(data: dict[str, int], random: Any) -> None:
    shuffled = list(data.items())
    random.shuffle(shuffled)
    assert codec.checksum(dict(shuffled)) == codec.checksum(data)
    assert codec.checksum({"outer": dict(shuffled)}) == codec.checksum({"outer": data})


def test_a_change_changes_the_checksum() -> None:
    sums = {codec.checksum(value) for value in ({"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": [1]}, {"a": (1,)}, {"b": 1})}
    assert len(sums) == 6


@pytest.mark.parametrize("value", [2**63 - 1, 2**64, -(2**63), -(2**63) - 1, 2**200, -(2**200), math.inf])
def test_the_ends_of_the_numbers(value: float) -> None:
    assert codec.decode(codec.encode(value)) == value


def test_a_named_zone_and_a_fold_survive() -> None:
    berlin = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    back = codec.decode(codec.encode(berlin))
    assert (back.tzinfo.key, back.fold, back) == ("Europe/Berlin", 1, berlin)


@pytest.mark.parametrize("status", EdgeNodeStatus)
def test_a_node_status_is_carried_as_what_it_is(status: EdgeNodeStatus) -> None:
    value = {"status": status, status: [(status, {status})]}
    assert shape(codec.decode(codec.canonical(value))) == shape(value)
    assert codec.checksum(status) != codec.checksum(status.value)


def test_a_status_of_a_later_release_does_not_decode() -> None:
    with pytest.raises(CorruptDataError):
        codec.decode(codec.encode(EdgeNodeStatus.ONLINE).replace(b"online", b"asleep"))


class Colour(enum.IntEnum):
    RED = 1


class Lazy(str):
    __slots__ = ()


def cyclic() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [object(), Colour.RED, Lazy("a"), collections.OrderedDict(a=1), {"deep": [lambda: 1]}, 1j, range(3)],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("encode", [codec.encode, codec.canonical])
def test_other_types_are_refused(value: object, encode: Any) -> None:
    with pytest.raises(UnsupportedTypeError) as failure:
        encode(value)
    assert isinstance(failure.value, TypeError)


@pytest.mark.parametrize("value", [cyclic(), "\ud800", {"a": "\udfff"}], ids=["cycle", "surrogate", "inside"])
@pytest.mark.parametrize("encode", [codec.encode, codec.canonical])
def test_values_that_cannot_be_written_are_refused(value: object, encode: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be encoded"):
        encode(value)


def test_the_size_limit_is_of_the_encoded_bytes() -> None:
    assert codec.encode(b"x" * 10, limit=12) == b"\xc4\x0a" + b"x" * 10
    with pytest.raises(ValueTooLargeError, match="13 bytes; the limit is 12"):
        codec.encode(b"x" * 11, limit=12)


@given(st.binary())
def test_any_bytes_decode_or_are_corrupt(body: bytes) -> None:
    with contextlib.suppress(CorruptDataError):
        codec.decode(body)


@pytest.mark.parametrize(
    "body",
    [b"", b"\x91" * 100_000, b"\xc1", b"\x01\x01", b"\xd4\x63\x00", b"\xd4\x05\x00", b"\xd5\x04\x91\xa0", b"\xa1\xff"],
    ids=["empty", "deep", "reserved", "trailing", "unknown-type", "bad-date", "bad-datetime", "bad-text"],
)
def test_damage_is_corrupt_data(body: bytes) -> None:
    with pytest.raises(CorruptDataError):
        codec.decode(body)


def nested(levels: int) -> tuple[object, ...]:
    value: tuple[object, ...] = ()
    for _ in range(levels - 1):
        value = (value,)
    return value


@pytest.mark.parametrize("encode", [codec.encode, codec.canonical])
def test_tuples_nest_to_a_limit(encode: Any) -> None:
    deep = nested(codec.MAX_NESTED)
    assert codec.decode(encode(deep)) == deep
    for levels in (codec.MAX_NESTED + 1, 200, 240):
        with pytest.raises(InvalidArgumentError, match="deeper than 32"):
            encode(nested(levels))


def test_planted_bytes_that_nest_too_deeply_are_corrupt() -> None:
    body = msgpack.packb(1)
    for _ in range(200):
        body = msgpack.packb(msgpack.ExtType(1, b"\x91" + body))
    with pytest.raises(CorruptDataError, match="deeper than 32"):
        codec.decode(body)


def test_a_bare_extension_has_no_canonical_form() -> None:
    with pytest.raises(UnsupportedTypeError, match="ExtType"):
        codec.canonical({"a": [msgpack.ExtType(1, b"\xc1")]})


def test_no_pickle_is_ever_read() -> None:
    with pytest.raises(CorruptDataError):
        codec.decode(b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.")


def test_examples_of_every_type_named() -> None:
    value = {
        "tuple": (1, (2,)),
        "set": {1},
        "frozenset": frozenset({(1, 2)}),
        "date": date(2026, 1, 2),
        "timedelta": timedelta(days=-3, microseconds=5),
        "decimal": Decimal("1.10"),
        "uuid": UUID(int=5),
        "bytes": b"\x00",
        "none": None,
    }
    assert shape(codec.decode(codec.encode(value))) == shape(value)


MERSENNE = 2**61 - 1


@pytest.mark.parametrize(
    "value",
    [
        {number * MERSENNE: 0 for number in range(2**70, 2**70 + 400)},
        {number * MERSENNE for number in range(2**70, 2**70 + 400)},
        [[{(number * MERSENNE,): 0 for number in range(2**70, 2**70 + 400)}]],
        {Decimal(number * MERSENNE): 0 for number in range(400)},
    ],
    ids=["map", "set", "tuples", "decimals"],
)
def test_many_keys_with_one_hash_are_refused_before_they_take_quadratic_time(value: object) -> None:
    with pytest.raises(CorruptDataError, match="have one hash"):
        codec.decode(codec.encode(value))


def test_many_different_or_equal_values_are_decoded() -> None:
    value = [*range(2**70, 2**70 + 1000), *[(1, 2)] * 1000, {(number,): [number] for number in range(1000)}]
    assert codec.decode(codec.encode(value)) == value
