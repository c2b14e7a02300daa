"""Patterns of scopes: ``*`` any text, ``?`` one character, nothing else is special; the same in Python and in Lua."""

from __future__ import annotations

import time
from functools import cache
from importlib import resources
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from edge_redis import InvalidArgumentError, InvalidKeyError, InvalidTypeError
from edge_redis._sync.patterns import Carried, Patterns, check_patterns

LUA = (resources.files("edge_redis._sync") / "lua" / "include" / "patterns.lua").read_text("utf-8")
MATCH = LUA + "return matches_any(ARGV[1], {compile_pattern(ARGV[2])}) and 1 or 0"

TEXTS = st.text(st.sampled_from("ab/.%[^$-é漢\n\0"), min_size=1, max_size=12)
PATTERNS = st.text(st.sampled_from("ab/.%[^$-é漢\n\0**??"), min_size=1, max_size=12)


@cache
def expected(pattern: str, text: str) -> bool:
    """The definition, tried in every way."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return expected(pattern[1:], text) or (text != "" and expected(pattern, text[1:]))
    return text != "" and pattern[0] in ("?", text[0]) and expected(pattern[1:], text[1:])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(pairs=st.lists(st.tuples(PATTERNS, TEXTS), min_size=1, max_size=10))
def test_a_pattern_matches_alike_at_both_ends(client: Any, pairs: list[tuple[str, str]]) -> None:
    for pattern, text in pairs:
        for name in (text, pattern.replace("*", text).replace("?", "x")):
            patterns = Patterns([pattern])
            assert patterns.matches(name) is expected(pattern, name)
            assert client.eval(MATCH, 0, name, patterns.texts[0]) == expected(pattern, name)


def test_no_pattern_takes_long() -> None:
    patterns = Patterns(["a*" * 300 + "?b", "*?" * 300 + "b"])
    start = time.process_time()
    assert not patterns.matches("a" * 1000)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    ("given_patterns", "error"),
    [
        ("till/*", InvalidTypeError),
        (None, InvalidTypeError),
        ([1], InvalidTypeError),
        ([""], InvalidKeyError),
        (["x" * 2000], InvalidKeyError),
        ([f"till {number}" for number in range(101)], InvalidArgumentError),
    ],
    ids=["a-str", "none", "an-int", "empty", "long", "many"],
)
def test_unusable_patterns_are_refused(given_patterns: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="pull"):
        check_patterns("pull", given_patterns)


def test_patterns_are_known_by_what_they_say_not_by_how() -> None:
    assert Carried.of(["b", "a**", "b"], ()).digest == Carried.of(("a*", "b"), ["b"]).digest
    assert Carried.of(["b"], ()).digest != Carried.of((), ["b"]).digest
    assert Carried.of(["a", "***"], []).digest == Carried.of([], ["*"]).digest == ""
    assert not Patterns([]).matches("anything")


def test_hints_are_heard_of_the_first_segments_of_the_patterns() -> None:
    assert Patterns(["till/*", "till/1", "door"]).segments == ["door", "till"]
    assert Patterns(["till/*", "t*/1"]).segments is None
    assert Patterns(["*"]).segments is None
