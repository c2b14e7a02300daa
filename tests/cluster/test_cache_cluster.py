"""EdgeCache over several shards: on a real cluster, and on a single server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import fakeredis
import pytest
from conftest import Maker
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from edge_redis import EdgeCache, InvalidArgumentError, InvalidTypeError, StoreError, StoreUnavailableError
from edge_redis._cache.keys import name_shards
from edge_redis._core.operation import Batch
from edge_redis._core.slots import SLOTS, hash_slot
from edge_redis._io.blocking_runner import BlockingRunner
from support.cluster import Cluster
from support.deadline import eventually
from support.near import as_in_another_process, eventually_received, is_held, listening, near_of, read_until_held

# The library's asyncio client drops nodes with their connections open when it looks for its masters anew.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed (ClusterNode|Connection|transport):ResourceWarning"),
    pytest.mark.usefixtures("swept"),
]

MASTERS = 3
KEYS = [f"key{number}" for number in range(60)]


class Site(Maker):
    """Makes caches on a cluster whose clients do not try for long."""

    backend: Any

    def client(self, **kwargs: Any) -> Any:
        retry = AsyncRetry(NoBackoff(), 3) if self.api == "awaited" else Retry(NoBackoff(), 3)
        return super().client(retry=retry, **kwargs)


@pytest.fixture(params=["blocking", "awaited"])
def site(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Site]:
    made = Site(cluster, request.param)  # type: ignore[arg-type]
    yield made
    made.close()


@pytest.fixture
def writer(cluster: Cluster) -> Iterator[EdgeCache]:
    """A cache as in another process."""
    with (
        cluster.client(retry=Retry(NoBackoff(), 3)) as client,
        EdgeCache(client, flush_interval=3600) as cache,
    ):
        yield as_in_another_process(cache)


def everything(cache: Any) -> Iterator[Any]:
    """Use all that a cache does; yield what it answers."""
    yield cache.put("a", 1)
    yield cache.put_many({key: [key] for key in KEYS}, tags=["t"])
    yield cache.put_many({"u": 1, "v": 2}, 50, tags=["t", "u"])
    yield cache.put_many({})
    yield cache.size
    yield cache.get("a"), cache.get("missing"), cache.get("missing", 5)
    yield list(cache.get_many([*KEYS[:30], "missing", "a"]).items())
    yield cache.get_many([])
    yield "a" in cache, "missing" in cache
    yield cache.delete("a"), cache.delete("a")
    yield cache.delete_many([*KEYS[:10], "missing"])
    yield cache.delete_many([])
    yield cache.touch("u", 70), cache.touch("missing")
    yield [cache.get("u") for _ in range(3)]
    entry = cache.entry("u")
    yield entry.value, entry.access_count, round(entry.ttl_seconds / 7)
    yield cache.entry("missing")
    yield cache.get_or_compute("computed", lambda: {"x": 1}, tags=["t"])
    yield cache.get_or_compute("computed", pytest.fail)
    yield cache.invalidate_tag("u"), cache.invalidate_tag("u"), cache.invalidate_tag("none")
    yield cache.size
    stats = cache.stats()
    yield {name: stats[name] for name in ("size", "max_size", "hits", "misses", "evictions", "expirations", "repaired")}
    yield cache.hit_rate
    yield cache.purge_expired()
    yield cache.invalidate_tag("t")
    yield cache.put_many(dict.fromkeys(KEYS, 0))
    yield cache.clear(), cache.clear()
    yield cache.size, cache.get_many(KEYS)


def expected() -> list[Any]:
    """What a cache of one shard answers."""
    with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as client, EdgeCache(client, shards=1) as cache:
        return list(everything(cache))


def all_keys(cache: Any) -> list[str]:
    """The keys of a cache of either API."""
    portal = getattr(cache, "_portal", None)
    if portal is None:
        return list(cache.keys())

    walk = cache._target.keys

    async def collect() -> list[str]:
        return [key async for key in walk()]

    keys: list[str] = portal.run(collect())
    return keys


class TestOnACluster:
    def test_answers_as_a_single_one_does(self, site: Any) -> None:
        assert list(everything(site("EdgeCache"))) == expected()

    def test_with_one_shard_it_is_exact_as_well(self, site: Any) -> None:
        assert list(everything(site("EdgeCache", shards=1))) == expected()

    def test_counts_every_read_where_that_is_asked_for(self, site: Any) -> None:
        assert list(everything(site("EdgeCache", flush_every=1))) == expected()

    def test_walks_over_the_keys_of_all_masters(self, site: Any) -> None:
        cache = site("EdgeCache", 2000)
        keys = {str(number) for number in range(1500)}
        cache.put_many(dict.fromkeys(keys, 1))
        assert set(all_keys(cache)) == keys

    def test_spreads_over_the_masters(self, site: Any, cluster: Any) -> None:
        cache = site("EdgeCache", 10_000)
        cache.put_many({str(number): number for number in range(3200)})
        counts = [sum(b"}:v:" in key for key in keys) for keys in cluster.keys_by_master()]
        assert sum(counts) == 3200
        for count in counts:  # 12 shards of 267, four a master
            assert abs(count - 3200 / 3) < 120

    def test_never_holds_more_than_its_bound(self, site: Any, cluster: Any, writer: Any) -> None:
        caches = [site("EdgeCache", 50), site("EdgeCache", 50)]
        for number in range(300):
            caches[number % 2].put(str(number), number)
            if number % 20 == 0:
                assert caches[0].size <= 50
        caches[0].put_many({f"many{number}": number for number in range(300)})
        values = [key for keys in cluster.keys_by_master() for key in keys if b"}:v:" in key]
        assert len(values) == caches[1].size
        assert 40 <= len(values) <= 50
        assert caches[0].stats()["evictions"] == 600 - len(values)

    def test_has_no_more_shards_than_entries(self, site: Any) -> None:
        cache = site("EdgeCache", 3)
        for number in range(20):
            cache.put(str(number), number)
        assert 1 <= cache.size <= 3

    def test_a_master_that_is_gone_takes_its_part_alone(self, site: Any, cluster: Any) -> None:
        cache = site("EdgeCache", 1000, on_error="miss")
        cache.put_many(dict.fromkeys(KEYS, 1))
        there = [key for key in KEYS if key in _keys_of(cluster, 0)]
        gone = [key for key in KEYS if key in _keys_of(cluster, 1)]
        raising = site("EdgeCache", 1000)
        assert raising.get(there[0]) == 1
        cluster.masters[1].kill()
        try:
            assert raising.get(there[0]) == 1
            with pytest.raises(StoreUnavailableError):
                raising.get(gone[0])
            assert cache.get(gone[0], "miss") == "miss"
            assert cache.get(there[0]) == 1
        finally:
            cluster.masters[1].restart()
            cluster.wait_until_ok()
        eventually(lambda: cache.get(gone[0]) == 1, seconds=30)

    def test_a_slot_moves_whole_while_entries_are_written(self, site: Any, cluster: Any) -> None:
        cache, slot = site("EdgeCache", 10_000, shards=1), hash_slot("default:cache0")
        values = {f"before{number}": number for number in range(40)}
        cache.put_many(values)
        for step, _ in enumerate(cluster.moving_slot(slot)):
            if step % 20 == 10:
                with pytest.raises(StoreError):
                    cache.put(f"during{step}", step)
        cache.put("after", 1)
        assert cache.get_many(values) == values
        assert (cache.size, cache.stats()["repaired"]) == (41, 0)
        cluster.flush()
        cluster.return_slot(slot)


def _keys_of(cluster: Cluster, master: int) -> set[str]:
    return {key.partition(b"}:v:")[2].decode() for key in cluster.keys_by_master()[master] if b"}:v:" in key}


NEAR: dict[str, Any] = {"near_cache": {"ttl": 600}, "flush_interval": 0.05}


class TestNearCache:
    def test_hears_of_writes_on_every_master(self, site: Any, writer: Any, cluster: Any) -> None:
        near = listening(site("EdgeCache", **NEAR))
        writer.put_many(dict.fromkeys(KEYS, "old"))
        assert all(_keys_of(cluster, master) for master in range(MASTERS))
        read_until_held(near, *KEYS)
        assert near.get_many(KEYS) == dict.fromkeys(KEYS, "old")
        for key in KEYS:
            writer.put(key, "new")
        eventually_received(near, lambda: near.get_many(KEYS) == dict.fromkeys(KEYS, "new"))
        read_until_held(near, *KEYS)
        writer.clear()
        eventually_received(near, lambda: near.get_many(KEYS) == {})

    def test_hears_of_writers_where_it_may_not_track(self, site: Any, writer: Any, cluster: Any) -> None:
        for node in cluster.masters:
            with node.client() as client:
                rules = ("reset", "on", ">pw", "~*", "allchannels", "+@all", "-client|tracking")
                client.execute_command("ACL", "SETUSER", "untracked", *rules)
        client = site.client(username="untracked", password="pw")
        near = listening(site("EdgeCache", client=client, **NEAR))
        assert near_of(near).needs_announcements
        writer.put_many(dict.fromkeys(KEYS, "old"))
        read_until_held(near, *KEYS)
        writer.put_many(dict.fromkeys(KEYS, "new"))
        eventually_received(near, lambda: near.get_many(KEYS) == dict.fromkeys(KEYS, "new"))

    def test_does_all_that_one_does_without(self, site: Any) -> None:
        assert list(everything(listening(site("EdgeCache", **NEAR))))[:-1] == expected()[:-1]

    def test_a_master_that_goes_and_returns_leaves_nothing_stale(self, site: Any, writer: Any, cluster: Any) -> None:
        near = listening(site("EdgeCache", **NEAR))
        writer.put_many(dict.fromkeys(KEYS, "old"))
        read_until_held(near, *KEYS)
        others = [*sorted(_keys_of(cluster, 0))[:4], *sorted(_keys_of(cluster, 2))[:4]]
        cluster.masters[1].kill()
        try:
            eventually_received(near, lambda: not near_of(near).is_listening)
            assert not any(is_held(near, key) for key in KEYS)
            for key in others:
                writer.put(key, "meanwhile")
                assert near.get(key) == "meanwhile"
        finally:
            cluster.masters[1].restart()
            cluster.wait_until_ok()
        eventually_received(near, lambda: near_of(near).is_listening, seconds=30)
        read_until_held(near, *KEYS)
        writer.put_many(dict.fromkeys(KEYS, "new"))
        eventually_received(near, lambda: near.get_many(KEYS) == dict.fromkeys(KEYS, "new"))


def all_are(cache: Any, value: str) -> bool:
    """Whether all keys have this value; not yet, where a master cannot be reached."""
    with contextlib.suppress(StoreUnavailableError):
        return bool(cache.get_many(KEYS) == dict.fromkeys(KEYS, value))
    return False


@pytest.mark.parametrize("api", ["blocking", "awaited"])
def test_a_failover_leaves_nothing_stale(api: str) -> None:
    cluster = Cluster(MASTERS, replicas=1)
    site = Site(cluster, api)  # type: ignore[arg-type]
    try:
        near = listening(site("EdgeCache", **NEAR))
        with cluster.client() as client, EdgeCache(client) as other:
            writer = as_in_another_process(other)
            writer.put_many(dict.fromkeys(KEYS, "old"))
            read_until_held(near, *KEYS)
            master = cluster.masters[0]
            with cluster.replica_of(master).client() as replica:
                replica.execute_command("CLUSTER", "FAILOVER")
                eventually(lambda: replica.info("replication")["role"] == "master", seconds=30)
            for value in ("after", "and later"):
                writer.put_many(dict.fromkeys(KEYS, value))
                eventually_received(near, partial(all_are, near, value))
                eventually_received(near, lambda: near_of(near).is_listening, seconds=30)
                read_until_held(near, *KEYS)
            # The old master is a replica now, and may go without a trace.
            master.stop()
            cluster.wait_until_ok()
            writer.put_many(dict.fromkeys(KEYS, "at last"))
            eventually_received(near, lambda: all_are(near, "at last"))
    finally:
        site.close()
        cluster.stop()


class TestOnOneServer:
    """On every server and in both APIs."""

    @pytest.mark.parametrize("shards", [2, 7])
    def test_answers_as_a_single_one_does(self, make: Maker, shards: Any) -> None:
        assert list(everything(make("EdgeCache", shards=shards))) == expected()

    def test_walks_over_the_keys_of_all(self, make: Maker) -> None:
        cache = make("EdgeCache", 2000, shards=4)
        keys = {str(number) for number in range(700)}
        cache.put_many(dict.fromkeys(keys, 1))
        assert set(all_keys(cache)) == keys

    def test_shares_its_bound(self, make: Maker) -> None:
        cache = make("EdgeCache", 10, shards=4)
        for number in range(50):
            cache.put(str(number), number)
            assert cache.size <= 10
        assert cache.size == 10
        assert cache.stats()["max_size"] == 10

    def test_shares_its_budget(self, make: Maker) -> None:
        cache = make("EdgeCache", shards=4, max_bytes=4000)
        for number in range(60):
            cache.put(str(number), b"x" * 100)
            assert cache.stats()["bytes"] <= 4000
        assert cache.stats()["bytes"] > 3000

    @pytest.mark.parametrize("eviction", ["least_accessed", "lru", "adaptive"])
    def test_evicts_by_every_policy(self, make: Maker, eviction: Any) -> None:
        cache = make("EdgeCache", 20, shards=4, eviction=eviction)
        for first in range(0, 200, 10):
            cache.put_many({str(number): number for number in range(first, first + 10)})
        assert cache.size == 20

    @pytest.mark.parametrize(("first", "then"), [(4, 1), (1, 4), (4, 8)])
    def test_another_number_is_refused(self, make: Maker, first: Any, then: Any) -> None:
        cache = make("EdgeCache", shards=first)
        cache.put_many(dict.fromkeys(KEYS, 1))
        other = make("EdgeCache", shards=then)
        puts: list[Callable[[], object]] = [
            lambda: other.put("k", 1),
            lambda: other.put_many({"k": 1}),
            lambda: other.put("key0", 1),
        ]
        for put in puts:
            with pytest.raises(InvalidArgumentError, match="shards"):
                put()
        with pytest.raises(InvalidArgumentError, match="shards"):
            other.get_or_compute("k", lambda: 1)
        assert cache.get_many(KEYS) == dict.fromkeys(KEYS, 1)
        assert cache.get("k") is None
        assert cache.size == len(KEYS)

    @pytest.mark.parametrize(("first", "then"), [(4, 1), (1, 4)])
    def test_once_it_is_cleared_another_number_will_do(self, make: Maker, first: Any, then: Any) -> None:
        cache = make("EdgeCache", shards=first)
        cache.put_many(dict.fromkeys(KEYS, 1))
        cache.clear()
        other = make("EdgeCache", shards=then)
        other.put("k", 1)
        assert other.get("k") == 1
        with pytest.raises(InvalidArgumentError, match="shards"):
            cache.put("k", 2)

    def test_clearing_with_another_number_does_not_split_the_cache(self, make: Maker) -> None:
        cache, other = make("EdgeCache", shards=4), make("EdgeCache")
        cache.put_many(dict.fromkeys(KEYS, 1))
        with pytest.raises(InvalidArgumentError, match="shards"):
            other.clear()
        with pytest.raises(InvalidArgumentError, match="shards"):
            other.put("k", 1)
        assert cache.size == len(KEYS)

    def test_a_number_that_another_has_changed_meanwhile_is_refused(self, make: Maker) -> None:
        one, same, other = make("EdgeCache", shards=4), make("EdgeCache", shards=4), make("EdgeCache", shards=8)
        for cache in (one, same):
            cache.put("k", 1)
        same.clear()
        other.put("k", 8)
        with pytest.raises(InvalidArgumentError, match="shards"):
            one.put("k", 4)
        assert other.get("k") == 8

    @pytest.mark.parametrize("given", [0, -1, 1025])
    def test_numbers_that_cannot_be(self, make: Maker, given: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="shards"):
            make("EdgeCache", 10_000, shards=given)

    @pytest.mark.parametrize("given", ["4", 2.0, True])
    def test_what_is_no_number(self, make: Maker, given: Any) -> None:
        with pytest.raises(InvalidTypeError, match="shards"):
            make("EdgeCache", shards=given)

    def test_more_than_entries(self, make: Maker) -> None:
        with pytest.raises(InvalidArgumentError, match="shards"):
            make("EdgeCache", 3, shards=4)

    def test_namespaces_are_apart(self, make: Maker) -> None:
        one, two = (make("EdgeCache", namespace=name, shards=4) for name in ("one", "two"))
        one.put_many(dict.fromkeys(KEYS, 1))
        two.put_many(dict.fromkeys(KEYS, 2))
        assert one.clear() == len(KEYS)
        assert two.get_many(KEYS) == dict.fromkeys(KEYS, 2)


def test_an_empty_batch_asks_no_node(cluster: Cluster) -> None:
    with cluster.client() as client:
        assert BlockingRunner(client).run(Batch([])) == []


@pytest.mark.parametrize("shards", [2, 3, 16, 100])
def test_each_shard_has_its_part_of_the_slots(shards: int) -> None:
    names = name_shards("default", shards)
    assert len(set(names)) == shards
    parts = [hash_slot(f"default:cache{name}") * shards // SLOTS for name in names]
    assert parts == list(range(shards))
