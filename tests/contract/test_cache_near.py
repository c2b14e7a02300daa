"""The near cache of EdgeCache: coherent, bounded in time, counted, and nobody's way into another's values."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from conftest import Maker

import edge_redis.aio
from edge_redis import EdgeCache, InvalidArgumentError, InvalidTypeError
from edge_redis._cache import announcements
from edge_redis._cache.config import NearCache
from support.cache import value_key
from support.deadline import eventually
from support.near import (
    as_in_another_process,
    eventually_received,
    is_held,
    let_it_listen,
    listening,
    near_of,
    read_until_held,
    reads_sent,
)
from support.servers import Backend, Servers

ONE_SERVER = pytest.mark.parametrize(
    "backend", ["fakeredis", "valkey", pytest.param("redis", marks=pytest.mark.exploration)], indirect=True
)
"""For what this process does by itself: no server does it otherwise."""

LONG = NearCache(size=100, ttl=600.0)
"""What goes before its time went because of a word."""

SOON: dict[str, Any] = {"near_cache": LONG, "flush_interval": 0.02}
"""Writers are asked to tell at the next tick."""


@pytest.fixture
def writer(make: Maker) -> Iterator[EdgeCache]:
    """Another cache of the same namespace, as in another process."""
    with make.backend.client() as client, EdgeCache(client, flush_interval=3600) as cache:
        yield as_in_another_process(cache)


@pytest.fixture
def near(make: Maker) -> Any:
    return listening(make("EdgeCache", **SOON))


WRITES: dict[str, tuple[Callable[[Any], object], Any]] = {
    "put": (lambda cache: cache.put("k", "new"), "new"),
    "put_many": (lambda cache: cache.put_many({"a": 1, "k": "new"}), "new"),
    "delete": (lambda cache: cache.delete("k"), None),
    "delete_many": (lambda cache: cache.delete_many(["a", "k"]), None),
    "clear": (lambda cache: cache.clear(), None),
    "invalidate_tag": (lambda cache: cache.invalidate_tag("t"), None),
    "touch": (lambda cache: cache.touch("k", 0.01), None),
}
"""Writes of the key k, and what is read of it afterwards."""


class TestWord:
    @pytest.mark.parametrize("name", WRITES)
    def test_of_what_another_writes(self, near: Any, writer: Any, name: Any) -> None:
        write, expected = WRITES[name]
        writer.put("k", "old", tags=["t"])
        writer.put("other", "stays")
        read_until_held(near, "k", "other")
        write(writer)
        eventually_received(near, lambda: near.get("k") == expected)
        assert near.get("other") == (None if name == "clear" else "stays")

    def test_of_what_another_evicts(self, make: Maker, writer: Any) -> None:
        near = listening(make("EdgeCache", 1, **SOON))
        with make.backend.client() as client, as_in_another_process(EdgeCache(client, 1)) as small:
            small.put("k", "old")
            read_until_held(near, "k")
            small.put("other", 1)
            eventually_received(near, lambda: near.get("k") is None)

    def test_of_what_another_computes_anew(self, near: Any, writer: Any) -> None:
        writer.get_or_compute("k", lambda: "old", 0.001, stale_ttl=5)  # stale at once, and read all the same
        read_until_held(near, "k")
        assert writer.get_or_compute("k", lambda: "new", 10, stale_ttl=5) == "new"
        eventually_received(near, lambda: near.get("k") == "new")

    def test_of_a_hundred_keys_at_once(self, near: Any, writer: Any) -> None:
        keys = [f"k{number}" for number in range(100)]
        writer.put_many(dict.fromkeys(keys, "old"))
        read_until_held(near, *keys)
        writer.put_many(dict.fromkeys(keys, "new"))
        eventually_received(near, lambda: near.get_many(keys) == dict.fromkeys(keys, "new"))

    def test_of_another_namespace_changes_nothing(self, make: Maker, near: Any, writer: Any) -> None:
        writer.put("k", "v")
        read_until_held(near, "k")
        with make.backend.client() as client, EdgeCache(client, namespace="other") as other:
            other.put("k", "else")
            other.clear()
        for _ in range(20):
            let_it_listen(near)
        assert is_held(near, "k")


FOREIGN: dict[str, Callable[[Any], object]] = {
    "DEL": lambda client: client.delete(value_key("k")),
    "UNLINK": lambda client: client.unlink(value_key("k")),
    "FLUSHALL": lambda client: client.flushall(),
    "FLUSHDB ASYNC": lambda client: client.flushdb(asynchronous=True),
    "RENAME": lambda client: client.rename(value_key("k"), "elsewhere"),
    "PEXPIRE": lambda client: client.pexpire(value_key("k"), 10),
    "SET": lambda client: client.set(value_key("k"), "not ours"),
}


class TestWordOfTheServer:
    @pytest.fixture(params=["valkey", "redis"])
    def backend(self, request: pytest.FixtureRequest, servers: Servers) -> Any:
        return servers.backend(request.param)

    @pytest.mark.parametrize("name", FOREIGN)
    def test_of_what_others_do_to_the_value(self, make: Maker, near: Any, writer: Any, name: Any) -> None:
        writer.put("k", "old")
        read_until_held(near, "k")
        with make.backend.client() as client:
            FOREIGN[name](client)
            eventually_received(near, lambda: near.get("k") is None)

    def test_a_strange_key_makes_nobody_deaf(self, make: Maker, near: Any, writer: Any) -> None:
        writer.put("k", "old")
        read_until_held(near, "k")
        with make.backend.client() as client:
            client.set(value_key("").encode() + b"\xff", "strange")

        def is_read(number: int) -> bool:
            return bool(near.get("k") == number)

        for number in range(3):
            writer.put("k", number)
            eventually_received(near, partial(is_read, number))
            read_until_held(near, "k")

    def test_a_connection_that_is_killed_is_made_again(self, make: Maker, near: Any, writer: Any) -> None:
        writer.put("k", "old")
        read_until_held(near, "k")
        with make.backend.client() as client:
            client.client_kill_filter(_type="pubsub")
            writer.put("k", "new")
            eventually_received(near, lambda: near.get("k") == "new")
            eventually_received(near, lambda: near_of(near).is_listening)
        read_until_held(near, "k")


class TestWithoutTracking:
    """A user whom the server does not let track has writers tell."""

    @pytest.fixture(params=["valkey", "redis"])
    def backend(self, request: pytest.FixtureRequest, servers: Servers) -> Any:
        return servers.backend(request.param)

    @pytest.fixture
    def limit(self, make: Maker) -> Any:
        """Make a user who may do all but what is named; return the arguments of his clients."""

        def made(name: str, *rules: str) -> dict[str, str]:
            with make.backend.client() as client:
                client.execute_command("ACL", "SETUSER", name, "reset", "on", ">pw", "~*", "+@all", *rules)
            return {"username": name, "password": "pw"}

        return made

    @pytest.mark.parametrize("name", WRITES)
    def test_word_comes_of_the_writers(self, make: Maker, limit: Any, writer: Any, name: Any) -> None:
        write, expected = WRITES[name]
        client = make.client(**limit("untracked", "allchannels", "-client|tracking"))
        near = listening(make("EdgeCache", client=client, **SOON))
        assert near_of(near).needs_announcements
        writer.put("k", "old", tags=["t"])
        read_until_held(near, "k")
        write(writer)
        eventually_received(near, lambda: near.get("k") == expected)

    def test_an_announcement_that_was_lost_is_noticed(
        self, make: Maker, limit: Any, writer: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server forgets everything, its subscribers included."""
        monkeypatch.setattr(announcements, "RENEW_SECONDS", 0.1)
        client = make.client(**limit("untracked", "allchannels", "-client|tracking"))
        near = listening(make("EdgeCache", client=client, **SOON))
        writer.put("k", "old")
        read_until_held(near, "k")
        with make.backend.client() as admin:
            admin.flushall()
        writer.put("k", "new")
        eventually_received(near, lambda: near.get("k") == "new")
        read_until_held(near, "k")

    def test_who_may_not_subscribe_reads_the_server(self, make: Maker, limit: Any, writer: Any) -> None:
        client = make.client(**limit("deaf", "resetchannels"))
        near = make("EdgeCache", client=client, **SOON)
        for number in range(20):
            writer.put("k", number)
            assert near.get("k") == number
            let_it_listen(near)
        assert not near_of(near).is_listening

    def test_who_may_not_publish_writes_all_the_same(self, make: Maker, limit: Any, writer: Any) -> None:
        untracked = make.client(**limit("untracked", "allchannels", "-client|tracking"))
        listening(make("EdgeCache", client=untracked, **SOON))
        mute = make("EdgeCache", client=make.client(**limit("mute", "resetchannels")))
        mute.put("k", 1)
        mute.put_many({"a": 1})
        assert mute.delete("k") is True
        assert mute.clear() == 1


@ONE_SERVER
class TestReads:
    def test_what_is_at_hand_asks_nothing(self, make: Maker, near: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        near.put_many({"a": 1, "b": [2]})
        read_until_held(near, "a", "b")
        compute = pytest.fail
        with reads_sent(monkeypatch) as asked:
            assert near.get("a") == 1
            assert near.get_many(["b", "a"]) == {"a": 1, "b": [2]}
            assert near.get_or_compute("b", compute) == [2]
            assert near.get_or_compute("b", compute, stale_ttl=5) == [2]
            assert asked == []
            assert near.get_many(["a", "missing", "b"]) == {"a": 1, "b": [2]}
            assert asked == ["missing"]

    def test_get_many_brings_to_hand_what_it_reads(self, near: Any) -> None:
        near.put_many({"a": 1, "b": 2})
        eventually_received(near, lambda: near.get_many(["a", "b"]) and is_held(near, "a") and is_held(near, "b"))

    def test_hits_are_counted(self, near: Any) -> None:
        near.put("k", 1)
        hits = read_until_held(near, "k")
        for _ in range(10):
            near.get("k")
            near.get_many(["k"])
            near.get_or_compute("k", pytest.fail)
        hits += 30
        assert near.entry("k").access_count == hits
        stats = near.stats()
        assert (stats["hits"], stats["misses"]) == (hits, 0)
        assert stats["near_size"] == 1
        assert stats["near_listening"] is True

    def test_hits_decide_who_is_evicted(self, make: Maker) -> None:
        near = listening(make("EdgeCache", 2, **SOON))
        near.put("k", 1)
        near.put("l", 1)
        read_until_held(near, "k")
        for _ in range(3):
            near.get("l")
        for _ in range(50):
            near.get("k")
        near.put("m", 1)
        assert "k" in near
        assert "l" not in near

    def test_a_value_that_a_caller_changes_is_the_callers_own(self, near: Any) -> None:
        for value in ([1], {"a": 1}, {1}, [[1]], {"a": [1]}):
            near.put("k", value)
            for _ in range(50):
                found = near.get("k")
                assert found == value
                found.clear()
                [found] = near.get_many(["k"]).values()
                assert found == value
                found.clear()
                found = near.get_or_compute("k", pytest.fail)
                assert found == value
                found.clear()
                let_it_listen(near)
                if is_held(near, "k"):
                    break

    def test_none_is_a_value(self, near: Any) -> None:
        near.put("k", None)
        eventually_received(near, lambda: near.get("k", "missing") is None and is_held(near, "k"))
        assert near.get("k", "missing") is None

    def test_who_counts_every_read_has_none(self, make: Maker) -> None:
        with pytest.raises(InvalidArgumentError, match="flush_every"):
            make("EdgeCache", near_cache=True, flush_every=1)


@ONE_SERVER
class TestTime:
    def test_an_entry_never_outlives_its_time_in_redis(self, near: Any) -> None:
        near.put("k", 1, ttl=0.4)
        put_at = time.monotonic()
        eventually_received(near, lambda: near.get("k") is None or is_held(near, "k"))
        was_held, end = False, put_at + 0.4 + 0.002
        while time.monotonic() < end:
            was_held = was_held or is_held(near, "k")
            let_it_listen(near)
        assert was_held
        assert not is_held(near, "k")
        assert near.get("k") is None

    def test_nor_the_time_it_may_be_at_hand(self, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
        near = listening(make("EdgeCache", near_cache={"ttl": 0.1}, flush_interval=0.02))
        near.put("k", 1)
        read_until_held(near, "k")
        eventually_received(near, lambda: not is_held(near, "k"))
        with reads_sent(monkeypatch) as asked:
            near.get("k")
        assert asked == ["k"]

    def test_nor_more_than_so_many(self, make: Maker) -> None:
        near = listening(make("EdgeCache", near_cache={"size": 3}, flush_interval=0.02))
        near.put_many({str(number): number for number in range(20)})
        for _ in range(3):
            for number in range(20):
                assert near.get(str(number)) == number
                assert len(near_of(near)) <= 3
            let_it_listen(near)
        assert near.stats()["near_size"] == 3


@ONE_SERVER
class TestOwnWrites:
    def test_are_seen_at_once(self, near: Any) -> None:
        for number in range(100):
            near.put("k", number, tags=["t"])
            for _ in range(2):
                assert near.get("k") == number
            if number % 10 == 0:
                let_it_listen(near)

    @pytest.mark.parametrize("name", WRITES)
    def test_of_every_kind(self, near: Any, name: Any) -> None:
        write, expected = WRITES[name]
        near.put("k", "old", tags=["t"])
        read_until_held(near, "k")
        write(near)
        if name == "touch":
            time.sleep(0.015)
        assert near.get("k") == expected

    @pytest.mark.parametrize("name", WRITES)
    def test_those_of_another_cache_of_this_process_as_well(self, make: Maker, near: Any, name: Any) -> None:
        write, expected = WRITES[name]
        near.put("k", "old", tags=["t"])
        read_until_held(near, "k")
        write(make("EdgeCache"))
        if name == "touch":
            time.sleep(0.015)
        assert near.get("k") == expected

    def test_with_shards(self, make: Maker) -> None:
        near = listening(make("EdgeCache", **SOON, shards=4))
        keys = [str(number) for number in range(40)]
        near.put_many(dict.fromkeys(keys, 1))
        read_until_held(near, *keys)
        assert near.get_many(keys) == dict.fromkeys(keys, 1)
        assert list(near.get_many(keys)) == keys
        near.put("7", 2)
        assert near.get_many(keys) == dict.fromkeys(keys, 1) | {"7": 2}
        with make.backend.client() as client, EdgeCache(client, shards=4) as other:
            as_in_another_process(other).put_many(dict.fromkeys(keys, 3))
            eventually_received(near, lambda: near.get_many(keys) == dict.fromkeys(keys, 3))
        near.clear()
        assert near.get_many(keys) == {}


BAD: list[tuple[Any, type[Exception]]] = [
    (5, InvalidTypeError),
    ("yes", InvalidTypeError),
    ([100], InvalidTypeError),
    ((100, 5.0), InvalidTypeError),
    (NearCache(size=0), InvalidArgumentError),
    (NearCache(size=-1), InvalidArgumentError),
    (NearCache(size=1.5), InvalidTypeError),  # type: ignore[arg-type] # bad input
    (NearCache(size=True), InvalidTypeError),
    (NearCache(ttl=0), InvalidArgumentError),
    (NearCache(ttl=-1.0), InvalidArgumentError),
    (NearCache(ttl=0.0001), InvalidArgumentError),
    (NearCache(ttl=float("nan")), InvalidArgumentError),
    (NearCache(ttl=float("inf")), InvalidArgumentError),
    (NearCache(ttl="1"), InvalidTypeError),  # type: ignore[arg-type] # bad input
    ({"size": 5, "tll": 1}, InvalidArgumentError),
    ({5: 1}, InvalidArgumentError),
]


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)  # nothing is sent
@pytest.mark.parametrize(("given", "error"), BAD, ids=repr)
def test_bad_settings_are_refused(make: Maker, given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="near_cache"):
        make("EdgeCache", near_cache=given)


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)  # nothing is sent
@pytest.mark.parametrize("given", [True, {}, {"size": 5}, NearCache(), {"ttl": 1, "size": 2}], ids=repr)
def test_settings_in_every_form(make: Maker, given: Any) -> None:
    assert "near_size" in make("EdgeCache", near_cache=given).stats()


@pytest.mark.parametrize("backend", ["fakeredis"], indirect=True)  # nothing is sent
def test_off_by_default(make: Maker) -> None:
    assert "near_size" not in make("EdgeCache").stats()
    assert "near_size" not in make("EdgeCache", near_cache=False).stats()


READS: dict[str, Callable[[Any], Any]] = {
    "get": lambda cache: cache.get("k"),
    "get_many": lambda cache: cache.get_many(["k"]),
    "get_or_compute": lambda cache: cache.get_or_compute("k", pytest.fail),
    "get_or_compute stale": lambda cache: cache.get_or_compute("k", pytest.fail, stale_ttl=1),
}


@ONE_SERVER
@pytest.mark.parametrize("name", READS)
def test_hits_in_a_tight_loop_keep_no_other_task_waiting(backend: Backend, name: str) -> None:
    read = READS[name]

    async def run() -> int:
        async with backend.async_client() as client, edge_redis.aio.EdgeCache(client, **SOON) as cache:
            await cache.put("k", 1)
            while not is_held(cache, "k"):
                await cache.get("k")
                await asyncio.sleep(0.002)
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            task = asyncio.create_task(other())
            for _ in range(2000):
                await read(cache)
            task.cancel()
            return turns

    assert asyncio.run(run()) >= 10


def listeners() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("edge-redis-listener")}


class TestEnd:
    def test_closing_ends_the_thread(self, backend: Backend) -> None:
        before = listeners()
        with backend.client() as client:
            for _ in range(3):
                with EdgeCache(client, **SOON) as cache:
                    listening(cache)
                    assert len(listeners() - before) == 1
                assert listeners() <= before

    def test_closing_before_it_has_begun_or_right_away(self, backend: Backend) -> None:
        before = listeners()
        with backend.client() as client:
            EdgeCache(client, near_cache=True).close()
            with EdgeCache(client, near_cache=True) as cache:
                cache.put("k", 1)
        assert listeners() <= before

    def test_one_that_was_dropped_ends_as_well(self, backend: Backend) -> None:
        before = listeners()
        with backend.client() as client:
            cache = listening(EdgeCache(client, **SOON))
            cache.put("k", 1)
            cache.get("k")
            del cache
            gc.collect()
            eventually(lambda: listeners() <= before)

    def test_closing_ends_the_task_and_its_connection(self, backend: Backend) -> None:
        async def run() -> None:
            async with backend.async_client() as client:
                async with edge_redis.aio.EdgeCache(client, **SOON) as cache:
                    while not near_of(cache).is_listening:
                        await cache.put("k", 1)
                        await asyncio.sleep(0.002)
                assert len(asyncio.all_tasks()) == 1

        asyncio.run(run())

    def test_the_server_is_left_without_a_connection(self, real: Backend) -> None:
        with real.client() as client:
            with EdgeCache(client, near_cache=True) as cache:
                listening(cache)
                assert len(client.client_list(_type="pubsub")) == 1
            eventually(lambda: not client.client_list(_type="pubsub"))


PRELUDE = """
import multiprocessing, os, sys, time, warnings
import redis
from edge_redis import EdgeCache

warnings.simplefilter("ignore", DeprecationWarning)

def eventually(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, condition
        time.sleep(0.002)

def held(cache, key):
    return cache._component.near.has_entry(key)

def read_until_held(cache, key):
    eventually(lambda: cache.get(key) is not None and held(cache, key))

client = redis.Redis.from_url(sys.argv[1])
cache = EdgeCache(client, near_cache={"ttl": 600})

def child():
    assert not held(cache, "k")
    assert not cache._component.near.is_listening
    assert cache.get("k") == "old"
    read_until_held(cache, "k")
    client.set("child", "holds")
    eventually(lambda: cache.get("k") == "new")
    cache.put("from child", 1)
    read_until_held(cache, "from child")
    cache.close()

def parent():
    eventually(lambda: client.get("child") == b"holds")
    read_until_held(cache, "k")
    cache.put("k", "new")
    assert cache.get("k") == "new"
    eventually(lambda: cache.get("from child") == 1)
"""

FORKS = {
    "os.fork": """
        pid = os.fork()
        if pid == 0:
            child()
            os._exit(0)
        parent()
        assert os.waitpid(pid, 0)[1] == 0
        """,
    "multiprocessing": """
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        parent()
        process.join()
        assert process.exitcode == 0
        """,
}


@pytest.mark.parametrize("name", FORKS)
def test_a_forked_child_listens_for_itself_and_its_parent_goes_on(real: Backend, name: str, tmp_path: Any) -> None:
    body = """
        cache.put("k", "old")
        read_until_held(cache, "k")
    """
    program = tmp_path / "program.py"
    program.write_text(PRELUDE + textwrap.dedent(body) + textwrap.dedent(FORKS[name]) + "\ncache.close()\n")
    done = subprocess.run([sys.executable, str(program), str(real.url)], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
