"""Hints that carry states bring an edge to what it would read, whichever of them are lost, repeated or forged."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edge_redis import ConflictStrategy, EdgeSynchronizer, RedisCloudStore
from edge_redis._core.session import Receive, Send
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._services.listening import Reader
from edge_redis._sync.worker import Worker
from support.servers import Servers

SCOPES = ["shop/1", "shop/2", "hall"]
FIELDS = [2, 60, 60]
"""Of each scope: a body that is small, and some of which hints carry splices."""


class Edge:
    """An edge and its worker, which is woken by hand and gets the hints that the test lets pass."""

    def __init__(self, client: Any, store: Any, pull: tuple[str, ...]) -> None:
        self.client = client
        self.runner = BlockingRunner(client)
        self.worker = Worker(
            store,
            namespace="default",
            group="cloud",
            consumer="one",
            batch_size=100,
            claim_idle_seconds=5.0,
            max_deliveries=5,
            pull=pull,
        )
        hints = store._component.hints(Reader(self.worker, lambda is_news=None: None))
        self._session = hints.session()
        step = self._session.send(None)
        self._channel = b""
        while not hints.is_listening:
            if isinstance(step, Send):
                self._channel = step.args[1].encode()
            step = self._session.send(None if isinstance(step, Send) else [b"subscribe", b"channel", 1])
        assert isinstance(step, Receive)

    def hear(self, message: bytes) -> None:
        self._session.send([b"message", self._channel, message])

    def work(self) -> int:
        return self.runner.run(self.worker.run_once())

    def states(self) -> dict[str, Any]:
        found = {}
        for scope in SCOPES:
            with EdgeSynchronizer(self.client, scope=scope) as sync:
                found[scope] = sync.get_local_state()
        return found


class Channel:
    """The hints of a cloud."""

    def __init__(self, client: Any) -> None:
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe("er:{default:cloud0}:wake")
        self._pubsub.get_message(timeout=5.0)

    def take(self) -> list[bytes]:
        found = []
        while message := self._pubsub.get_message():
            found.append(message["data"])
        return found

    def close(self) -> None:
        self._pubsub.close()


@contextmanager
def world(servers: Servers, pull: tuple[str, ...] = ("*",)) -> Iterator[tuple[RedisCloudStore, Edge, Channel]]:
    near, far = servers.backend("fakeredis"), servers.backend("fakeredis")
    with near.client() as edge_client, far.client() as cloud_client, far.client() as link:
        channel = Channel(cloud_client)
        yield RedisCloudStore(cloud_client), Edge(edge_client, RedisCloudStore(link), pull), channel
        channel.close()


def edit(source: random.Random, scope: str) -> dict[str, Any]:
    fields = FIELDS[SCOPES.index(scope)]
    count = source.choice([1, 1, 1, fields])
    return {f"field {source.randrange(fields)}": source.randbytes(12) for _ in range(count)}


def forge(source: random.Random, message: bytes) -> bytes:
    """Return a hint that says something else: of another position, of another scope, or with other bytes."""
    head, _, state = message.partition(b"\n")
    position, _, writer = head.partition(b" ")
    store, _, number = position.rpartition(b":")
    kind = source.randrange(3)
    if kind == 0:
        return b"%b:%d %b\n%b" % (store, int(number) + source.choice([-2, -1, 1, 2]), writer, state)
    if kind == 1:
        return head + b"\n" + state[: source.randrange(len(state) + 1)]
    at = source.randrange(len(message) - 10, len(message))
    return message[:at] + source.randbytes(1) + message[at + 1 :]


def pass_some(source: random.Random, new: list[bytes], old: list[bytes]) -> Iterator[bytes]:
    """Yield some of the new hints, perhaps one that is forged, and perhaps an old one."""
    yield from source.sample(new, source.randrange(len(new) + 1))
    if source.random() < 0.3:
        yield forge(source, source.choice(old))
    if source.random() < 0.2:
        yield source.choice(old)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("pull", [("*",), ("shop/*",)], ids=["all", "some"])
def test_an_edge_comes_to_the_cloud_s_states_whatever_becomes_of_hints(
    servers: Servers, seed: int, pull: tuple[str, ...]
) -> None:
    source = random.Random(seed)
    with world(servers, pull) as (cloud, edge, channel):
        old: list[bytes] = []
        for _ in range(40):
            scope = source.choice(SCOPES)
            cloud.update(scope, edit(source, scope), is_delta=source.random() < 0.8)
            if source.random() < 0.1:
                with EdgeSynchronizer(edge.client, ConflictStrategy.REMOTE_WINS, scope="shop/1") as sync:
                    sync.update_local({"edge": source.random()}, is_delta=True)
            if source.random() < 0.05:
                edge.client.flushall()
            new = channel.take()
            old += new
            for message in pass_some(source, new, old):
                edge.hear(message)
            if source.random() < 0.6:
                edge.work()
        while edge.work():
            pass
        carried = SCOPES if pull == ("*",) else SCOPES[:2]
        assert {scope: edge.states()[scope] for scope in carried} == {scope: cloud.get(scope) for scope in carried}


@pytest.mark.parametrize("size", [3, 2000], ids=["with its body", "as a splice"])
def test_a_small_change_is_there_before_the_feed_is_read_and_is_read_no_more(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    with world(servers) as (cloud, edge, channel):
        for number in range(2):
            cloud.update("hall", {"text": "x" * size, "n": number})
            edge.work()
            edge.work()
        channel.take()
        before = edge.worker.cloud.link  # type: ignore[union-attr] # a RedisCloudStore
        state = cloud.update("hall", {"n": 2}, is_delta=True)
        for message in channel.take():
            edge.hear(message)
        read = edge.worker.cloud.changes_since
        at_read = []

        def read_after_looking(*args: Any, **options: Any) -> Any:
            feed: Any = read(*args, **options)
            at_read.append((edge.states()["hall"], feed))
            return feed

        monkeypatch.setattr(edge.worker.puller._cloud, "changes_since", read_after_looking)
        assert edge.work() == 1
        [(found, feed)] = at_read
        assert (found, feed.changes) == (state, [])
        after = edge.worker.cloud.link  # type: ignore[union-attr]
        assert after["bytes_down"] - before["bytes_down"] < 500
        assert edge.work() == 0


def test_a_forged_hint_hides_no_change(servers: Servers) -> None:
    with world(servers) as (cloud, edge, channel):
        cloud.update("hall", {"n": 1})
        edge.work()
        channel.take()
        cloud.update("shop/1", {"n": 1})
        [message] = channel.take()
        cloud.update("shop/2", {"n": 2})
        edge.hear(message.replace(b"shop/1", b"shop/2"))  # the state of another scope, with its true checksum
        while edge.work():
            pass
        assert edge.states() == {scope: cloud.get(scope) for scope in SCOPES}
