"""What the benchmark of edge_redis beside its peers shares: the messages, their effect, and how effects are counted.

A message is `<scope>:<number> ` and the canonical encoding of the payload. A peer's effect is that its body is the
scope's value in a hash of the cloud, and that its id is counted in another, both in one round trip a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple, cast

import redis

from edge_redis import RedisCloudStore
from edge_redis._core import codec
from edge_redis._sync.keys import SyncKeys
from edge_redis.cloudstores import encode_data
from sync import DATA, SCOPES

BATCH: Final = 200
CLAIM_SECONDS: Final = 1.0
GROUP: Final = "cloud"
MAX_HISTORY: Final = 100_000


class Site(NamedTuple):
    """Where a run's servers are, and the name of its queue: none is used twice."""

    edge: str
    cloud: str
    nats: str
    name: str


class Gate:
    """Where a consumer that is ready waits until it may begin."""

    def __init__(self, end: Connection) -> None:
        self._end = end

    def wait(self) -> None:
        """Say that all is ready, and return when the run begins."""
        self._end.send("ready")
        self._end.recv()


class Outcome(NamedTuple):
    """What became of a run's messages."""

    lost: int
    twice: int
    older: int
    """Scopes left with an older state than their last."""


@dataclass(frozen=True)
class Way:
    """One system with one guarantee. ``consume`` runs in a process of its own until it is killed."""

    system: str
    guarantee: str
    fill: Callable[[Site, int], None]
    consume: Callable[[Site, Gate], None]
    had: Callable[[Any, Site], int]
    """How many messages have had an effect by now, a repeated one perhaps counted again."""
    outcome: Callable[[Any, Site, int], Outcome]
    share: int = 1
    """It moves one message in so many: a slow one would take most of the time."""


def messages(count: int) -> Iterator[bytes]:
    """Give the messages, the scopes in turn."""
    for number in range(count // SCOPES):
        for scope in range(SCOPES):
            yield b"s%d:%d %b" % (scope, number, encode_data({**DATA, "n": number}))


def effect(pipeline: Any, name: str, message: bytes) -> None:
    """Let a message have its effect in the cloud."""
    key, _, body = message.partition(b" ")
    pipeline.hset(f"{name}:state", key.partition(b":")[0], body)
    pipeline.hincrby(f"{name}:effects", key, 1)


def peer_had(cloud: redis.Redis, site: Site) -> int:
    """Return how many messages of a peer have had an effect."""
    return int(cloud.hlen(f"{site.name}:effects"))


def peer_outcome(cloud: redis.Redis, site: Site, count: int) -> Outcome:
    """Return what became of a peer's messages."""
    times = [int(value) for value in cloud.hvals(f"{site.name}:effects")]
    states = [codec.decode(cast("bytes", body)) for body in cloud.hvals(f"{site.name}:state")]
    return Outcome(count - len(times), sum(times) - len(times), _older([state["n"] for state in states], count))


def edge_had(cloud: redis.Redis, site: Site) -> int:
    """Return how many changes have taken effect in edge_redis's cloud, by its history."""
    keys = SyncKeys(site.name, "cloud")
    with cloud.pipeline(transaction=False) as pipeline:
        for scope in range(SCOPES):
            pipeline.xlen(keys.history(f"s{scope}"))
        return sum(pipeline.execute())


def edge_outcome(cloud: redis.Redis, site: Site, count: int) -> Outcome:
    """Return what became of edge_redis's changes: each that took effect is one successful push of the history."""
    lost = twice = 0
    last: list[int] = []
    with RedisCloudStore(cloud, namespace=site.name) as store:
        for scope in range(SCOPES):
            events = store.sync_history(f"s{scope}", MAX_HISTORY)
            versions = [event.version for event in events if event.success and event.direction == "push"]
            lost += len(set(range(1, count // SCOPES + 1)) - set(versions))
            twice += len(versions) - len(set(versions))
            state = store.get(f"s{scope}")
            last += [state.data["n"]] if state else []
    return Outcome(lost, twice, _older(last, count))


def _older(numbers: list[int], count: int) -> int:
    return SCOPES - numbers.count(count // SCOPES - 1)
