"""Splices: the result of any edit comes back, in Python and in Lua; a damaged one yields nothing."""

from __future__ import annotations

import random
from importlib import resources
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from edge_redis import CorruptDataError
from edge_redis._core import codec
from edge_redis._sync import splice
from edge_redis._sync.change import Change
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.splice import MAX_RUNS, MIN_BODY_BYTES, apply_splice, make_splice

LUA = (resources.files("edge_redis._sync") / "lua" / "include" / "splice.lua").read_text()
MAKE = LUA + "return make_splice(ARGV[1], ARGV[2])"
APPLY = LUA + "return apply_splice(ARGV[1], ARGV[2])"

TEXTS = st.binary(max_size=64)
EDITS = st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 64), TEXTS), max_size=12)
SPLICES = st.one_of(
    st.binary(max_size=40),
    st.from_regex(rb"[0-9]{1,12}( [0-9]{1,12}){0,8}:[a-c]{0,20}", fullmatch=True),
    st.from_regex(rb"[0-9: -]{0,30}", fullmatch=True),
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return a body of some kind, and an edited one."""
    seed, kind = draw(st.integers(0, 2**32)), draw(st.sampled_from(["random", "zeros", "words", "period"]))
    size = draw(st.integers(0, 6000))
    source = random.Random(seed)
    base = {
        "random": lambda: source.randbytes(size),
        "zeros": lambda: bytes(size),
        "words": lambda: b"".join(source.choices([b"alpha", b"beta", b"\xc0\xff"], k=size // 4)),
        "period": lambda: (b"0123456789abcdefghijklmnopqrstuvwxyz" * (size // 36 + 1))[:size],
    }[kind]()
    result = base
    for at, removed, text in draw(EDITS):
        result = result[:at] + text + result[at + removed :]
    return base, result


@given(bodies())
def test_the_result_of_any_edit_comes_back(pair: tuple[bytes, bytes]) -> None:
    base, result = pair
    made = make_splice(base, result)
    if made is None:
        assert len(result) < MIN_BODY_BYTES or not base or base != result
    else:
        assert apply_splice(base, made) == result
        assert len(made) <= len(result) // 2 + 24 * MAX_RUNS


@pytest.mark.parametrize("strategy", ["plain", "merged"])
def test_a_change_of_one_field_takes_few_bytes(strategy: str) -> None:
    data: dict[str, object] = {f"field {number:05}": number / 7 for number in range(4000)}
    stamps = {name: [f"{number:018d}", 1] for number, name in enumerate(data)}
    before = codec.canonical([data, stamps] if strategy == "merged" else data)
    data["field 02000"], stamps["field 02000"] = "twenty bytes of text", ["000000000000009999", 2]
    after = codec.canonical([data, stamps] if strategy == "merged" else data)
    made = make_splice(before, after)
    assert made is not None
    assert len(made) < 80
    assert apply_splice(before, made) == after


def test_changes_of_many_fields_with_equal_stamps_take_few_bytes_each() -> None:
    stamp = ["001764388800000000", "site-17\1abcdef0123456789"]
    fields = {f"field {number:05}": [*stamp, f"{number * 7919 % 9973:060}"] for number in range(1000)}
    before = codec.canonical(fields)
    for number in range(0, 1000, 10):
        fields[f"field {number:05}"] = ["001764388800009999", stamp[1], "twenty bytes of text"]
    made = make_splice(before, codec.canonical(fields))
    assert made is not None
    assert len(made) < 100 * 100
    assert apply_splice(before, made) == codec.canonical(fields)


def test_what_differs_everywhere_is_not_spliced() -> None:
    source = random.Random(1)
    assert make_splice(source.randbytes(5000), source.randbytes(5000)) is None
    assert make_splice(b"", bytes(5000)) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=bodies())
def test_lua_makes_and_applies_the_same_splices(client: Any, pair: tuple[bytes, bytes]) -> None:
    base, result = pair
    made = make_splice(base, result)
    assert client.eval(MAKE, 0, base, result) == made
    if made is not None:
        assert client.eval(APPLY, 0, base, made) == result


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=st.binary(max_size=60), damaged=SPLICES)
def test_a_damaged_splice_yields_nothing(client: Any, base: bytes, damaged: bytes) -> None:
    result: bytes | None
    try:
        result = apply_splice(base, damaged)
    except CorruptDataError:
        result = None
    else:
        assert len(result) <= len(base) + len(damaged)
    assert client.eval(APPLY, 0, base, damaged) == result


def state(size: int) -> Change:
    return Change(1, "0" * 18, "a", "c" * 64, "", bytes(size))


def test_known_states_are_bounded_in_bytes() -> None:
    known = KnownStates(max_bytes=4000)
    for scope in ("a", "b", "c"):
        known.put(scope, state(1500))
        known.get("a")
    assert [known.get(scope) is not None for scope in ("a", "b", "c")] == [True, False, True]
    assert known.bytes == 3000
    known.put("a", state(600))
    known.put("large", state(4001))
    known.put("c", state(splice.MIN_BODY_BYTES - 1))
    assert [known.get(scope) is not None for scope in ("a", "large", "c")] == [True, False, False]
    known.remove("a")
    assert (len(known), known.bytes) == (0, 0)
