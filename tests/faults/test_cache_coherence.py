"""Near caches of many processes stay coherent, whatever is cut: a history checker, and every order of a few steps."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Any

import fakeredis
import pytest
import redis

from edge_redis._cache.api import Cache
from edge_redis._cache.compute_options import check_compute_options
from edge_redis._cache.config import CacheConfig, NearCache
from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_entry import MISSING, PendingFill
from edge_redis._core.operation import Sleep, stepper
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis.errors import EdgeRedisError, StoreRefusedError
from support.cache import TAG
from support.coherence import BUGS, Report, run
from support.forked import fork_server
from support.near import start_session
from support.servers import Backend
from support.simulation import LOSSES, Actor, Fault, Scenario, explore, seeds

SECONDS = float(os.environ.get("EDGE_REDIS_COHERENCE_SECONDS", "30"))
PROCESSES = 8
SHORT_SECONDS = 3.0
SHORT_PROCESSES = ["", "", "", "ignores its own writes"]
"""The bugs of the processes of the short run: one has a bug that shows at once."""


def others(client: redis.Redis, kind: str) -> list[str]:
    """The connections of this kind that are not one's own."""
    own = str(client.client_id())
    return [each["id"] for each in client.client_list(_type=kind) if each["id"] != own]


def kill_at_random(client: redis.Redis, seconds: float, *, seed: int) -> int:
    """Cut connections for so long: those that read and write often, those that listen at times and at the end."""
    pick = random.Random(seed)
    killed, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        victims = others(client, pick.choices(["normal", "pubsub"], [12, 1])[0])
        if victims:
            killed += client.client_kill_filter(_id=pick.choice(victims))
        time.sleep(pick.uniform(0.01, 0.08))
    listeners = others(client, "pubsub")
    for victim in pick.sample(listeners, len(listeners) // 2):
        killed += client.client_kill_filter(_id=victim)
    return killed


def reports_of(backend: Backend, bugs: Sequence[str], seconds: float) -> tuple[list[Report], int]:
    """Have processes, each with its bug, read and write while connections are cut; return what they report."""
    backend.flush()
    context = fork_server()
    barrier, reports = context.Barrier(len(bugs) + 1), context.Queue()
    workers = [
        context.Process(target=run, args=(backend.url, number, seconds, bug, barrier, reports))
        for number, bug in enumerate(bugs)
    ]
    for worker in workers:
        worker.start()
    with backend.client() as client:
        barrier.wait(60)
        killed = kill_at_random(
            client, seconds - 0.1, seed=round(1000 * seconds)
        )  # the last cuts are in the midst of writes
    barrier.wait(60)
    found = sorted((reports.get(timeout=60) for _ in workers), key=lambda report: report.number)
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * len(bugs)
    for report in found:
        print(report)  # noqa: T201 -- shown where the test fails, or by -s
    return found, killed


def test_in_a_short_run_the_process_with_a_bug_alone_goes_back_in_time(valkey: Backend) -> None:
    reports, killed = reports_of(valkey, SHORT_PROCESSES, SHORT_SECONDS)
    assert [bool(report.went_back or report.stale) for report in reports] == [bool(bug) for bug in SHORT_PROCESSES]
    assert killed > 5 * SHORT_SECONDS
    for report in reports:
        assert report.reads > report.writes > 20
        assert report.held > 3


@pytest.mark.exploration
def test_no_process_goes_back_in_time_or_stays_behind(valkey: Backend) -> None:
    reports, killed = reports_of(valkey, [""] * PROCESSES, SECONDS)
    assert [report.went_back for report in reports] == [[]] * PROCESSES
    assert [report.stale for report in reports] == [[]] * PROCESSES
    # It has looked at what it was made for.
    assert killed > 5 * SECONDS
    assert sum(report.overtaken for report in reports) > PROCESSES
    assert sum(report.sessions for report in reports) > 1.5 * PROCESSES
    for report in reports:
        assert report.reads > 5 * report.writes > 100
        assert report.asked < 0.8 * report.reads  # what is left was at hand
        assert report.held > 10


@pytest.mark.exploration
def test_the_checker_notices_every_bug(valkey: Backend) -> None:
    missing = {bug for bug in BUGS if bug}
    for _ in range(5):  # each is a matter of chance
        bugs = [*islice(cycle(sorted(missing)), 4), ""]
        reports, _ = reports_of(valkey, bugs, 3.0)
        noticed = [bug for bug, report in zip(bugs, reports, strict=True) if report.went_back or report.stale]
        assert "" not in noticed
        missing.difference_update(noticed)
        if not missing:
            break
    assert not missing


GONE = 100
"""What is read once the entry was deleted, which happens last."""


async def late(awaitable: Awaitable[Any]) -> Any:
    """Perform a flow whose replies are on their way for a while, in which anything may happen."""
    flow = stepper(awaitable)
    step = flow.send(None)
    while True:
        try:
            try:
                result = await step
            except EdgeRedisError as error:
                step = flow.throw(error)
            else:
                await Sleep(0)
                step = flow.send(result)
        except StopIteration as end:
            return end.value


class Site:
    """One process: a cache whose near cache hears what is published, each message when the schedule says so."""

    def __init__(self, server: fakeredis.FakeServer) -> None:
        self.client = fakeredis.FakeRedis(server=server)
        self.near = NearEntries(NearCache(10, 600.0), time.monotonic)
        self.cache = Cache("default", CacheConfig(near=NearCache(10, 600.0)), time.monotonic, self.near)
        self._words: Any = self.client.pubsub(  # type: ignore[no-untyped-call] # redis-py's
            ignore_subscribe_messages=True
        )
        self._words.subscribe(f"{TAG}:written")
        self._words.get_message(timeout=1)
        self._session = start_session(self.near, [CacheKeys("default")])
        self._session.send(None)
        self._session.throw(StoreRefusedError("no tracking"))
        self._session.send(None)
        self._session.send([b"subscribe", f"{TAG}:written".encode(), 1])
        BlockingRunner(self.client).run(self.cache.tick())
        assert self.near.is_listening
        self.least = 0
        self.went_back: list[str] = []

    async def read(self, *, times: int) -> None:
        """Read as the service does, and check that no read falls behind what was known when it began."""
        for _ in range(times):
            least = self.least
            value = self.near.get("k")
            if value is MISSING:
                value = await late(self.cache.get("k", GONE))
            if value < least:
                self.went_back.append(f"{value} after {least}")
            self.least = max(self.least, value)

    async def read_otherwise(self) -> None:
        """Read by get_or_compute, which looks at the entry that it finds at last."""
        least = self.least
        value = await late(self.cache.get_or_compute("k", lambda: GONE, options=check_compute_options()))
        if value < least:
            self.went_back.append(f"{value} after {least}")
        self.least = max(self.least, value)

    async def hear(self, *, words: int) -> None:
        """Hear so many words, each at a step of its own."""
        for _ in range(words):
            await Sleep(0)
            self.hear_one()

    def hear_one(self) -> bool:
        message = self._words.get_message(timeout=0)
        if message is None:
            return False
        self._session.send([b"message", message["channel"], message["data"]])
        return True


async def writes(cache: Cache, values: Sequence[int]) -> None:
    for value in values:
        if value == GONE:
            await cache.delete("k")
        else:
            await cache.put("k", value)


Names = Sequence[str]


def scenario(readers: Names, values: Sequence[int], faults: Sequence[Fault] = (), *, words: int = 2) -> Scenario:
    """Readers named by their site and what they do, a writer elsewhere, and words that arrive at any later time."""
    server = fakeredis.FakeServer()
    client = fakeredis.FakeRedis(server=server)
    writer = Cache("default", CacheConfig(), time.monotonic)
    sites = {name: Site(server) for name in sorted({reader[0] for reader in readers})}
    BlockingRunner(client).run(writer.put("k", 1))
    for site in sites.values():
        while site.hear_one():
            pass
    reads: dict[str, Callable[[Site], Awaitable[None]]] = {
        "once": lambda site: site.read(times=1),
        "twice": lambda site: site.read(times=2),
        "otherwise": Site.read_otherwise,
    }

    def reading(name: str) -> Actor:
        site = sites[name[0]]
        return Actor(name, site.client, lambda: reads[name[2:]](site), faults)

    actors = [
        *map(reading, readers),
        Actor("writer", client, lambda: writes(writer, values), faults),
        *(Actor(f"listener {name}", site.client, partial(site.hear, words=words)) for name, site in sites.items()),
    ]

    def check(_: Sequence[Actor]) -> None:
        for site in sites.values():
            assert site.went_back == []
            kept.append(site.near.get("k") is not MISSING)
            while site.hear_one():
                pass
            held = site.near.get("k")
            stored = BlockingRunner(client).run(writer.get("k", MISSING))
            assert held is MISSING or held == stored, (held, stored)

    return Scenario(actors, check)


kept: list[bool] = []
"""Whether, at the end of each run and before the last messages, the entry was at hand."""

SCENARIOS: dict[str, tuple[Names, Sequence[int]]] = {
    "overwritten": (["A once", "A once"], [2]),
    "deleted": (["A once", "A once"], [GONE]),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_words_may_arrive_at_any_later_time(name: str) -> None:
    kept.clear()
    readers, values = SCENARIOS[name]
    assert explore(lambda: scenario(readers, values, words=1)) == 180
    assert set(kept) == {True, False}


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.exploration)])
def test_in_many_orders_with_replies_lost(count: int) -> None:
    readers = ["A twice", "A once", "A otherwise", "B twice"]
    seeds(lambda: scenario(readers, [2, 3, GONE], LOSSES, words=3), count=count)


def keeps_what_was_overtaken(near: NearEntries, key: str) -> None:
    near._fills.pop(key, None)


BROKEN: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "which of two reads is newer": (PendingFill, "record_generation", lambda *_: True),
    "that a read was overtaken": (NearEntries, "_invalidate_fill", keeps_what_was_overtaken),
}


@pytest.mark.parametrize("bug", BROKEN)
def test_a_near_cache_that_does_not_look_is_noticed(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    monkeypatch.setattr(*BROKEN[bug])
    with pytest.raises(AssertionError, match="choices"):
        explore(lambda: scenario(["A once", "A twice"], [2], words=1))
