"""What goes wrong in an experiment: chosen by seed, carried out for a while, undone."""

from __future__ import annotations

import heapq
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from itertools import count

import redis

from support.history.fleet import EDGES, Member, ProcessGroup

HOUR = 3600


class Nemesis:
    """Does one harm after another to a group of processes and its servers."""

    def __init__(
        self, fleet: ProcessGroup, seed: int, *, wipe: Callable[[int], None] | None = None, every: float = 0.25
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._fleet = fleet
        self._wipe = wipe
        self._pick = random.Random(seed)
        self._every = every
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        harms: list[tuple[int, Callable[[], None]]] = [
            (5, self._kill_worker), (3, self._pause_worker),
            (3, self._kill_writer), (2, self._pause_writer),
            (2, self._kill_server), (8, self._harm_link), (2, self._flush_scripts),
            (1 if wipe else 0, self._wipe_edge),
        ]  # fmt: skip
        self._weights = [weight for weight, _ in harms]
        self._harms = [harm for _, harm in harms]

    def skew(self) -> None:
        """Set the servers' clocks, each up to an hour ahead or behind."""
        ends = range(len(self._fleet.servers))
        self.counts["clocks of servers set"] += len(ends)
        for end in ends:
            self._fleet.skews[end] = self._pick.randint(-HOUR, HOUR)

    def harm(self, seconds: float) -> None:
        """Do harm for so long, and leave it as it is then."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._undo(time.monotonic())
            self._pick.choices(self._harms, self._weights)[0]()
            time.sleep(self._pick.uniform(0, 2 * self._every))

    def finish(self) -> None:
        """At the very end, while outboxes are full: cut the workers off in what they do, and kill them."""
        for link in self._fleet.links("workers to"):
            link.lost_replies = 0.3
        time.sleep(0.2)
        for link in self._fleet.links("workers to cloud"):
            link.hole = True
        time.sleep(0.1)
        for worker in self._fleet.workers:
            self._kill(worker, "workers killed")
        self._undo(float("inf"))

    def _undo(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), undo))

    def _kill(self, member: Member, what: str) -> None:
        if not member.is_alive or member.paused:
            return
        self.counts[what] += 1
        member.kill()
        self._later(self._pick.uniform(0, 0.5), lambda: None if member.is_alive else member.start())

    def _pause(self, member: Member, what: str) -> None:
        if not member.is_alive or member.paused:
            return
        self.counts[what] += 1
        member.signal(signal.SIGSTOP)
        self._later(
            self._pick.choice([0.2, 0.5, 1.0, 3.0]), lambda: member.signal(signal.SIGCONT) if member.paused else None
        )

    def _kill_worker(self) -> None:
        self._kill(self._pick.choice(self._fleet.workers), "workers killed")

    def _pause_worker(self) -> None:
        self._pause(self._pick.choice(self._fleet.workers), "workers stopped for a while")

    def _kill_writer(self) -> None:
        self._kill(self._pick.choice(self._fleet.writers), "edge processes killed")

    def _pause_writer(self) -> None:
        self._pause(self._pick.choice(self._fleet.writers), "edge processes stopped for a while")

    def _kill_server(self) -> None:
        server = self._pick.choice(self._fleet.servers)
        self.counts["servers killed"] += 1
        server.kill()
        time.sleep(self._pick.uniform(0, 0.5))
        server.restart()

    def _harm_link(self) -> None:
        link = self._pick.choice(list(self._fleet.proxy.links.values()))
        kind = self._pick.choice(["hole", "delay", "requests", "replies", "cut"])
        if kind == "hole":
            self.counts["links made black holes"] += 1
            link.hole = True
        elif kind == "delay":
            self.counts["links delayed"] += 1
            link.delay = self._pick.choice([0.01, 0.05, 0.2, 0.6])
        else:
            self.counts[{"requests": "links that lose requests", "replies": "links that lose replies",
                         "cut": "links that cut replies"}[kind]] += 1  # fmt: skip
            name = {"requests": "lost_requests", "replies": "lost_replies", "cut": "cut_replies"}[kind]
            setattr(link, name, self._pick.choice([0.02, 0.1, 0.5]))
        self._later(self._pick.uniform(0.3, 2.0), link.heal)

    def _flush_scripts(self) -> None:
        with self._fleet.client(self._pick.randrange(len(self._fleet.servers))) as client:
            client.script_flush()
        self.counts["scripts flushed"] += 1

    def _wipe_edge(self) -> None:
        """Take everything from an edge. What had not gone up is lost, and no protocol could help that."""
        assert self._wipe is not None
        edge = self._pick.choice(EDGES)
        try:
            self._wipe(edge)
        except redis.RedisError:
            return
        self.counts["edges wiped"] += 1
