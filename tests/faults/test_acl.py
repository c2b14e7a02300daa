"""Users with fewer rights: connecting needs no CLIENT, and a refused command of a script leaves no half change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import edge_redis
import edge_redis.aio
from edge_redis import EdgeCache, EdgeMetrics, EdgeNode, EdgeSynchronizer, HealthMonitor, InvocationRecord
from edge_redis._io.doctor import examine
from edge_redis.errors import StoreRefusedError
from support.servers import Backend


@pytest.fixture
def users(real: Backend) -> Iterator[Any]:
    """Makes the URL of a user that may run everything but the commands given."""
    assert real.url is not None
    with real.client() as admin:

        def add(*refused: str) -> str:
            rules = ["reset", "on", ">secret", "~*", "&*", "+@all", *(f"-{command}" for command in refused)]
            admin.execute_command("ACL", "SETUSER", "limited", *rules)
            return str(real.url).replace("redis://", "redis://limited:secret@")

        yield add
        admin.execute_command("ACL", "DELUSER", "limited")


def test_connecting_needs_no_client_command(users: Any) -> None:
    url = users("client")

    async def main() -> Any:
        async with edge_redis.aio.connect(url) as client, edge_redis.aio.EdgeCache(client) as cache:
            await cache.put("k", 2)
            return await cache.get("k")

    with edge_redis.connect(url) as client, EdgeCache(client) as cache:
        cache.put("k", 1)
        assert cache.get("k") == 1
    assert asyncio.run(main()) == 2


@pytest.mark.parametrize("command", ["hset", "zadd", "set", "zrem"])
def test_a_put_that_is_refused_in_the_middle_changes_nothing(real: Backend, users: Any, command: str) -> None:
    with real.client() as admin, edge_redis.connect(users(command)) as client:
        whole = EdgeCache(admin, max_size=2)
        whole.put_many({"a": 1, "b": 2})
        with pytest.raises(StoreRefusedError):
            EdgeCache(client, max_size=2, flush_interval=3600).put("c", 3)
        assert whole.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}


def test_every_service_says_that_it_was_refused(real: Backend, users: Any) -> None:
    with edge_redis.connect(users("hset", "xadd", "zadd", "set")) as client, real.client() as admin:
        metrics = EdgeMetrics(client, flush_every=1000, flush_interval=3600)
        metrics.record(InvocationRecord("f", "n", 1.0, success=True))
        for write in (
            lambda: HealthMonitor(client).register(EdgeNode("n", "n")),
            lambda: EdgeSynchronizer(client).update_local({"a": 1}),
            metrics.flush,
        ):
            with pytest.raises(StoreRefusedError):
                write()
        assert admin.dbsize() == 0
        admin.execute_command("ACL", "SETUSER", "limited", "+@all")
        metrics.close()


def test_a_wrong_password_is_tried_once(real: Backend) -> None:
    assert real.url is not None
    with real.client() as admin, edge_redis.connect(real.url.replace("redis://", "redis://nobody:wrong@")) as client:
        admin.execute_command("ACL", "LOG", "RESET")
        with pytest.raises(StoreRefusedError):
            EdgeCache(client, flush_interval=3600).put("k", 1)
        assert sum(int(entry["count"]) for entry in admin.acl_log()) == 1


def test_doctor_says_what_this_user_may_not_do(users: Any) -> None:
    found = {finding.topic: finding for finding in examine(users("xadd", "hset"))}
    assert found["permissions"].level == "fail"
    assert "HSET" in found["permissions"].text
    assert "XADD" in found["permissions"].text
    assert {finding.topic: finding for finding in examine(users())}["permissions"].level == "ok"
