"""Tags, and walking over the keys."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Maker

from edge_redis import InvalidArgumentError, InvalidKeyError, InvalidTypeError, WrongKeyTypeError
from support.cache import TAG, assert_index_is_exact, expire, snapshot, value_key
from support.deadline import eventually


def tag_keys(client: Any) -> set[str]:
    """What Redis holds for tags."""
    return {key.decode() for key in client.scan_iter(f"{TAG}:tag*")}


def test_invalidating_a_tag_removes_its_entries_alone(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("a", 1, tags=("x", "y"))
    cache.put("b", 2, tags=["y"])
    cache.put_many({"c": 3, "d": 4}, tags={"z"})
    cache.put("e", 5)
    assert cache.invalidate_tag("y") == 2
    assert cache.get_many("abcde"[i] for i in range(5)) == {"c": 3, "d": 4, "e": 5}
    assert cache.invalidate_tag("y") == cache.invalidate_tag("x") == cache.invalidate_tag("never") == 0
    assert cache.invalidate_tag("z") == 2
    with make.backend.client() as client:
        assert tag_keys(client) == set()
        assert_index_is_exact(client, {"e"})


def test_overwriting_replaces_the_tags(make: Maker) -> None:
    cache = make("EdgeCache")
    cache.put("k", 1, tags=("old", "both"))
    cache.put("k", 2, tags=("both", "new"))
    assert cache.invalidate_tag("old") == 0
    assert cache.get("k") == 2
    cache.put("k", 3)
    assert cache.invalidate_tag("both") == cache.invalidate_tag("new") == 0
    assert cache.get("k") == 3


def test_no_way_to_go_leaves_a_tag_behind(make: Maker) -> None:
    cache = make("EdgeCache", max_size=4)

    def put(key: str, ttl: float | None = None) -> None:
        cache.put(key, 1, ttl, tags=("t", key))

    with make.backend.client() as client:
        put("deleted")
        cache.delete("deleted")
        put("cleared")
        cache.clear()
        put("purged", 0.001)
        eventually(lambda: "purged" not in cache)
        cache.purge_expired()
        put("swept", 0.001)
        eventually(lambda: "swept" not in cache)
        cache.put("plain", 1)
        put("lost")
        client.delete(value_key("lost"))
        cache.get("lost")
        cache.flush()
        put("corrupt")
        client.set(value_key("corrupt"), "junk")
        cache.get("corrupt")
        put("evicted")
        cache.put_many({str(i): i for i in range(4)})
        assert tag_keys(client) == set()
        assert_index_is_exact(client, {"0", "1", "2", "3"})


def test_many_entries_of_one_tag(make: Maker) -> None:
    cache, other = make("EdgeCache"), make("EdgeCache", namespace="other")
    cache.put_many({str(i): i for i in range(750)}, tags=("t",))
    other.put("1", 1, tags=("t",))
    assert cache.invalidate_tag("t") == 750
    assert other.get("1") == 1
    with make.backend.client() as client:
        assert_index_is_exact(client, set())


def test_odd_tags(make: Maker) -> None:
    cache = make("EdgeCache")
    tags = ["ü" * 512, "a:b{c}", '"', "\\", "\0", "\n", "𝄞"]
    cache.put("k", 1, tags=tags)
    for tag in tags:
        cache.put("k", 1, tags=tags)
        assert cache.invalidate_tag(tag) == 1
    with make.backend.client() as client:
        assert tag_keys(client) == set()


def test_bad_tags(make: Maker) -> None:
    cache = make("EdgeCache")
    with make.backend.client() as client:
        before = snapshot(client)
        for tags, kind in [
            ("abc", InvalidTypeError),
            (5, InvalidTypeError),
            ([1], InvalidTypeError),
            ([""], InvalidKeyError),
            (["\ud800"], InvalidKeyError),
            (["t" * 1025], InvalidKeyError),
            (map(str, range(65)), InvalidArgumentError),
        ]:
            with pytest.raises(kind):
                cache.put("k", 1, tags=tags)
        for tag, kind in [("", InvalidKeyError), (1, InvalidTypeError), (None, InvalidTypeError)]:
            with pytest.raises(kind):
                cache.invalidate_tag(tag)
        assert snapshot(client) == before


@pytest.mark.parametrize("planted", [f"{TAG}:tag:t", f"{TAG}:tagged"])
def test_keys_of_another_kind(make: Maker, planted: str) -> None:
    cache = make("EdgeCache")
    with make.backend.client() as client:
        client.set(planted, "not ours")
        client.set("er:{default:cache0}:layout", 1)
        before = snapshot(client)
        with pytest.raises(WrongKeyTypeError):
            cache.put("k", 1, tags=("t",))
        with pytest.raises(WrongKeyTypeError):
            cache.invalidate_tag("t")
        assert snapshot(client) == before


def test_walking_over_the_keys(make: Maker) -> None:
    cache = make("EdgeCache", max_size=3000)
    assert list(cache.keys()) == []
    cache.put_many({f"ü{i}": i for i in range(2100)})
    cache.put("short", 1)
    with make.backend.client() as client:
        expire(client, {"short"})
    found = list(cache.keys())
    assert set(found) == {f"ü{i}" for i in range(2100)}
    assert len(found) == 2100
