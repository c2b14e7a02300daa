"""What a signature covers, and whose key it takes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from edge_redis._sync.signing import Keyring, SignedText, Signer
from edge_redis.cloudstores import Change
from edge_redis.errors import (
    EdgeRedisError,
    InvalidArgumentError,
    InvalidTypeError,
    SignatureError,
    StoreUnavailableError,
)

TILL, OTHER, CLOUD = b"till-1's own key", b"till-2's own key", b"the cloud's own k"
LATER, LAST = f"{7:018d}", f"{8:018d}"
KEYS: Any = {"till-1": TILL, "till-2": OTHER, "cloud": CLOUD}


def signed(*, is_renewable: bool = False, key: bytes = TILL, scope: str = "room", namespace: str = "shop") -> Change:
    signer = Signer(namespace, "till-1", key, is_renewable=is_renewable)
    return Change(3, LATER, "till-1", "a" * 64, "", b"\x80", signature=signer.sign(scope, 3, LATER, "a" * 64))


def ring(keys: Any = KEYS) -> Keyring:
    return Keyring("shop", keys)


def test_what_its_origin_signed() -> None:
    for is_renewable in (False, True):
        ring().check_change("room", signed(is_renewable=is_renewable))


@pytest.mark.parametrize(
    "forged",
    [
        replace(signed(), version=4),
        replace(signed(), version=2),
        replace(signed(), clock=LAST),
        replace(signed(), version=4, clock=LAST),
        replace(signed(), origin="till-2"),
        replace(signed(), origin="nobody"),
        replace(signed(), checksum="b" * 64),
        replace(signed(), signature=""),
        replace(signed(), signature="3"),
        replace(signed(), signature=signed().signature.replace("3:", "4:", 1)),
        replace(signed(), version=4, signature=signed().signature.replace("3:", "4:", 1)),
        replace(signed(), signature=signed().signature[:-1] + "g"),
        replace(signed(), signature=signed().signature + "0"),
        signed(key=OTHER),
        signed(key=CLOUD),
        signed(scope="hall"),
        signed(namespace="town"),
        replace(signed(is_renewable=True), version=4),
        replace(signed(is_renewable=True), clock=LAST),
        replace(signed(is_renewable=True), version=4, clock=LAST, checksum="b" * 64),
        replace(signed(is_renewable=True), version=2, clock="0" * 18),
    ],
)
def test_anything_else_is_refused(forged: Change) -> None:
    with pytest.raises(SignatureError):
        ring().check_change("room", forged)


def test_a_renewable_change_may_be_written_again_later() -> None:
    ring().check_change("room", replace(signed(is_renewable=True), version=9, clock=LAST))


def test_no_two_changes_are_one_text() -> None:
    parts = [("a", "bc", 1, "2", "3", "4"), ("ab", "c", 1, "2", "3", "4"), ("a", "bc", 12, "", "3", "4")]
    parts += [("a", "bc", 1, "23", "", "4"), ("a", "bc", 1, "2", "34", "")]
    texts = [SignedText(*part).hex(TILL, "p") for part in parts]
    assert all(one != other for one, other in combinations(texts, 2))
    assert SignedText(*parts[0]).hex(TILL, "p") == texts[0]


@pytest.mark.parametrize("kind", [tuple, list])
def test_a_key_that_is_being_replaced(kind: type) -> None:
    new = b"the next key of till-1"
    ring({"till-1": kind((new, TILL))}).check_change("room", signed())
    ring({"till-1": kind((new, TILL))}).check_change("room", signed(key=new))
    with pytest.raises(SignatureError):
        ring({"till-1": new}).check_change("room", signed())


def test_keys_by_a_function() -> None:
    ring(KEYS.get).check_change("room", signed())
    with pytest.raises(SignatureError, match="there is no key of 'till-1'"):
        ring(lambda _: None).check_change("room", signed())
    with pytest.raises(StoreUnavailableError, match="a key of 'till-1' must be bytes"):
        ring(lambda _: "text").check_change("room", signed())


def test_a_function_that_fails_is_waited_for() -> None:
    def fails(_: str) -> None:
        raise KeyError("vault")

    with pytest.raises(StoreUnavailableError, match="the function of keys failed for 'till-1'"):
        ring(fails).check_change("room", signed())


def test_an_offer_at_the_version_that_was_signed() -> None:
    raised = replace(signed(), version=9)
    assert ring().prepare_reoffer("room", raised) == signed()
    with pytest.raises(SignatureError):
        ring().check_change("room", raised)
    renewable = replace(signed(is_renewable=True), version=9, clock=LAST)
    assert ring().prepare_reoffer("room", renewable) == renewable


def test_the_cloud_vouches_for_what_comes_down() -> None:
    bare = replace(signed(), signature="")
    countersigned = ring().countersign("room", bare)
    assert ring().prepare_reoffer("room", replace(countersigned, version=9)) == countersigned
    assert not ring().can_reoffer("room", bare)
    assert not ring({"cloud": OTHER}).can_reoffer("room", countersigned)
    with pytest.raises(SignatureError):  # but nobody pushes in another's name by it
        ring().check_change("room", countersigned)
    assert ring().countersign("room", signed()) == signed()  # its origin's own does
    assert ring({"till-1": TILL}).countersign("room", bare) == bare


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"till-1": b"short"}, InvalidArgumentError),
        ({"till-1": (TILL, b"short")}, InvalidArgumentError),
        ({"till-1": "a text of many words"}, InvalidTypeError),
        ({"till-1": None}, InvalidTypeError),
        ({"": TILL}, InvalidArgumentError),
        ({7: TILL}, InvalidTypeError),
        ([TILL], InvalidTypeError),
        (TILL, InvalidTypeError),
    ],
)
def test_bad_keys(keys: Any, error: type[EdgeRedisError]) -> None:
    with pytest.raises(error) as raised:
        ring(keys)
    assert TILL.decode() not in str(raised.value)


def test_no_error_shows_a_key() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        Signer("shop", "till-1", b"hidden", is_renewable=False)
    assert "hidden" not in str(raised.value)
