"""Merging is a join: in whatever order, and however often, the same comes out."""

from __future__ import annotations

import hashlib
from functools import reduce
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from edge_redis import CorruptDataError
from edge_redis._core import codec
from edge_redis._sync import fields as field_maps
from edge_redis._sync.fields import Field, Fields
from edge_redis._sync.merge import fields_of, merge_states
from edge_redis.cloudstores import Change

CLOCKS = st.sampled_from([f"{n:018d}" for n in range(4)])
STAMPS = st.tuples(CLOCKS, st.sampled_from(["", "a", "b", "\x01a", "\x01b"]))
VALUES = st.one_of(st.none(), st.sampled_from([0, "x", [1], None]).map(codec.canonical))
FIELDS = st.dictionaries(st.sampled_from("abc"), st.builds(Field, STAMPS, VALUES), max_size=3)
PLAIN = st.dictionaries(st.sampled_from("ab"), CLOCKS, max_size=2)
DELETES = st.one_of(st.just(field_maps.NO_STAMP), STAMPS)
SCOPES = st.builds(Fields, FIELDS, DELETES, PLAIN).map(lambda each: field_maps.join(each, each))


@given(SCOPES, SCOPES, SCOPES)
def test_join_is_a_join(one: Fields, two: Fields, three: Fields) -> None:
    assert field_maps.join(one, one) == one
    assert field_maps.join(one, two) == field_maps.join(two, one)
    assert field_maps.join(field_maps.join(one, two), three) == field_maps.join(one, field_maps.join(two, three))


@given(SCOPES)
def test_a_body_is_the_fields(fields: Fields) -> None:
    body = field_maps.pack(fields)
    assert field_maps.is_merged(body)
    assert field_maps.unpack(body) == fields
    assert field_maps.pack(field_maps.unpack(body)) == body


@given(st.lists(st.tuples(SCOPES, st.integers(1, 5)), min_size=1, max_size=4), st.data())
def test_any_order_and_repetition_of_states_comes_to_the_same(states: Any, data: Any) -> None:
    changes = []
    for fields, version in states:
        body = field_maps.pack(fields)
        clock = max([each.stamp[0] for each in fields.fields.values()] + [fields.deleted[0] or f"{0:018d}"])
        changes.append(Change(version, clock, "o", hashlib.sha256(body).hexdigest(), "", body))
    expected = merge_states(*changes)
    shuffled = data.draw(st.permutations(changes + data.draw(st.lists(st.sampled_from(changes), max_size=3))))
    found = merge_states(*shuffled)
    assert reduce(merge_states, shuffled[1:], merge_states(shuffled[0])) == found
    assert fields_of(found) == fields_of(expected)
    assert (found.version, found.clock, found.origin) == (expected.version, expected.clock, expected.origin)
    if len(changes) > 1:
        assert found == expected


@given(SCOPES, st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), st.booleans())
def test_an_update_wins_over_all_it_knew(present: Fields, data: dict[str, int], is_delta: bool) -> None:  # noqa: FBT001
    stamp = (f"{9:018d}", "me")
    after = field_maps.edit(present, data, stamp, is_delta=is_delta)
    assert after.data == ({**present.data, **data} if is_delta else data)
    assert field_maps.join(present, after) == field_maps.join(after, present)
    assert field_maps.join(present, after).data == after.data


@pytest.mark.parametrize(
    "body", [b"\x92\xc0\xc0", b"\x92\x92\xa0\xa0\x91\x01", b"\x92", codec.canonical([["", ""], {"a": 1}])]
)
def test_what_is_no_body_of_fields_is_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptDataError):
        field_maps.unpack(body)
