"""Calls of a cloud whose replies are lost return what happened, although the client library sends them again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

import edge_redis
import edge_redis.aio
from edge_redis import ConflictStrategy
from support.checked import present
from support.clouds import change
from support.portal import Portal
from support.proxy import LossyProxy
from support.servers import Backend

CHANGES = 20


@pytest.fixture(params=["blocking", "awaited"])
def lossy(request: pytest.FixtureRequest, valkey: Backend) -> Iterator[tuple[Any, LossyProxy]]:
    """A cloud's store behind a proxy that loses a fifth of the replies."""
    port = present(urlsplit(present(valkey.url)).port)
    with LossyProxy(port, lost=0.2) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        if request.param == "blocking":
            with edge_redis.connect(url) as client, edge_redis.RedisCloudStore(client) as store:
                yield store, proxy
                proxy.losing = False
            return
        portal = Portal()
        made = edge_redis.connect_async(url)
        store = portal.make(edge_redis.aio.RedisCloudStore, made)
        yield store, proxy
        proxy.losing = False
        store.close()
        portal.run(made.aclose())
        portal.close()


def test_each_accepted_change_is_acknowledged_once(lossy: tuple[Any, LossyProxy], valkey: Backend) -> None:
    store, proxy = lossy
    with valkey.client() as client, edge_redis.RedisCloudStore(client) as cloud:
        cloud.keep_accepted()
        for number in range(CHANGES):
            cloud.update("s", {"n": number})
        given = [each.id for each in cloud.read_accepted("g", "c")]
    assert [store.ack_accepted("g", [each]) for each in given] == [1] * CHANGES
    assert store.ack_accepted("g", given) == 0
    assert proxy.dropped > 1


def test_what_is_dropped_or_released_was_there(lossy: tuple[Any, LossyProxy], valkey: Backend) -> None:
    store, proxy = lossy
    dropped, released = [], []
    with valkey.client() as client, edge_redis.RedisCloudStore(client) as cloud:
        for number in range(1, 8):
            cloud.keep_accepted()
            cloud.apply("s", [change(number)], ConflictStrategy.LOCAL_WINS)
            dropped.append(store.drop_accepted())
            released.append(store.release_authority("s"))
    assert (dropped, released) == ([True] * 7, [True] * 7)
    assert not store.drop_accepted()
    assert not store.release_authority("s")
    assert proxy.dropped > 1
