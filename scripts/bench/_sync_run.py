"""One run of one system: the queue is filled, a consumer is let go, and perhaps killed a third of the way."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count as numbers
from typing import Final, NamedTuple

import redis

from _sync_nats import NatsServer
from _sync_systems import CLAIM_SECONDS, Gate, Outcome, Site, Way
from edge_redis.embedded import EmbeddedServer
from sync import SCOPES

POLL_SECONDS: Final = 0.01
STALL_SECONDS: Final = 12 * CLAIM_SECONDS
READY_SECONDS: Final = 60
KILL_SECONDS: Final = 0.03
"""The kill comes within so many seconds of the third."""
_SPAWN: Final = multiprocessing.get_context("spawn")
_NAMES: Final = numbers()


class Servers(NamedTuple):
    """The servers of all runs."""

    edge: EmbeddedServer
    cloud: EmbeddedServer
    nats: NatsServer


class Run(NamedTuple):
    """How long a run took until the last effect, since it began or since the kill, and what became of it."""

    count: int  # type: ignore[assignment] # hides the method of tuples, which nothing calls here
    seconds: float
    outcome: Outcome

    @property
    def rate(self) -> float:
        """Messages a second."""
        return (self.count - self.outcome.lost) / self.seconds


class _Consumer:
    """A process that consumes, once it is let go."""

    def __init__(self, way: Way, site: Site) -> None:
        self._end, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=way.consume, args=(site, Gate(theirs)), daemon=True)
        self._process.start()
        theirs.close()

    def ready(self) -> None:
        if not self._end.poll(READY_SECONDS):
            raise RuntimeError("a consumer did not come up")
        self._end.recv()

    def go(self) -> None:
        self._end.send("go")

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


@contextmanager
def _consumers(way: Way, site: Site, count: int) -> Iterator[list[_Consumer]]:
    consumers = [_Consumer(way, site) for _ in range(count)]
    try:
        for each in consumers:
            each.ready()
        yield consumers
    finally:
        for each in consumers:
            each.kill()


def run(way: Way, servers: Servers, count: int, *, is_durable: bool, with_kill: bool = False) -> Run:
    """Move ``count`` messages; with a kill, seconds are counted from there, and a standby consumer takes over."""
    count = count // way.share // SCOPES * SCOPES
    with servers.edge.client() as edge, servers.cloud.client() as cloud:
        site = _filled(way, servers, (edge, cloud), count, is_durable=is_durable)
        with _consumers(way, site, 2 if with_kill else 1) as consumers:
            began = time.monotonic()
            consumers[0].go()
            if with_kill:
                _until(way, cloud, site, count // 3)
                time.sleep(random.uniform(0, KILL_SECONDS))  # noqa: S311 -- not always right after an effect
                consumers[0].kill()
                began = time.monotonic()
                consumers[1].go()
            ended = _until(way, cloud, site, count)
        return Run(count, ended - began, way.outcome(cloud, site, count))


def _filled(
    way: Way, servers: Servers, clients: tuple[redis.Redis, redis.Redis], count: int, *, is_durable: bool
) -> Site:
    """Fill the queue, fast, and only then let the servers force every write to the disk."""
    for client in clients:
        client.config_set("appendfsync", "no")
        client.flushall()
    name = f"run{next(_NAMES)}"
    way.fill(Site(servers.edge.url, servers.cloud.url, servers.nats.url, name), count)
    if way.system.startswith("NATS"):
        servers.nats.restart("always" if is_durable else "2m")
    for client in clients:
        client.config_set("appendfsync", "always" if is_durable else "no")
    return Site(servers.edge.url, servers.cloud.url, servers.nats.url, name)


def _until(way: Way, cloud: redis.Redis, site: Site, wanted: int) -> float:
    """Return when so many messages had had their effect, or the last one before nothing came any more."""
    had, at = -1, time.monotonic()
    while had < wanted and time.monotonic() - at < STALL_SECONDS:
        if had >= 0:
            time.sleep(POLL_SECONDS)
        now = way.had(cloud, site)
        if now != had:
            had, at = now, time.monotonic()
    return at
