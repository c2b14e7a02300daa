"""Watches that are paused anywhere and killed at any time, over nodes that come and go: each change is recorded once.

A plain schedule says who is silent when. Silences of well under the timeout are never recorded, those of well over
it exactly once, with one recovery each, whatever happens to the watches, as long as one of them runs.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine
from typing import Any, Final

import fakeredis
import pytest

from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis.models import EdgeNode, WatchRound
from support.clock import ServerClock, stop_the_clock
from support.health import make_health, make_leader
from support.site import START

INTERVAL, LEASE = 5, 15.0
SHORT, LONG = 45, 150
"""Silences in seconds: beats are 5 s apart, a takeover takes a lease and an interval."""
NODES = tuple(f"n{number}" for number in range(7))
SECONDS = 1500
SEEDS: Final = (1, 3, 5, 7)


class Watcher:
    """A watch that does a round every interval, and may stop in the middle of one."""

    def __init__(self, runner: BlockingRunner, chance: random.Random) -> None:
        self._runner, self._chance = runner, chance
        self._component = make_leader(lease_seconds=LEASE, max_history=20, suspicion_seconds=5.0)
        self._phase = chance.randrange(INTERVAL)
        self._flow: Coroutine[Any, Any, WatchRound] | None = None
        self._step: Any = None
        self.paused_until = 0

    def tick(self, second: int, *, may_stop: bool) -> None:
        """Go on with the round, or begin one where it is time."""
        if second < self.paused_until:
            return
        if self._flow is None and second % INTERVAL != self._phase:
            return
        try:
            if self._flow is None:
                self._flow = self._component.run_once()
                self._step = self._flow.send(None)
            while True:
                if may_stop and self._chance.random() < 0.02:
                    self.paused_until = second + self._chance.choice([2, 12, 40, 130])
                    return
                self._step = self._flow.send(self._runner.perform(self._step))
        except StopIteration:
            self._flow = None


class Schedule:
    """Who is silent when: at most two of seven at once, so that it is no silence of many."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._until = dict.fromkeys(NODES, 0)
        self._rests_until = {name: chance.randrange(100, 300) for name in NODES}
        self.long = dict.fromkeys(NODES, 0)

    def silent(self, second: int) -> set[str]:
        """Return who is silent now; let others fall silent, while there is time for all to come back."""
        silent = {name for name in NODES if second < self._until[name]}
        for name in NODES:
            if len(silent) < 2 and second >= self._rests_until[name] and second < SECONDS - 2 * LONG:
                length = self._chance.choice([SHORT, LONG])
                self._until[name] = second + length
                self._rests_until[name] = second + length + self._chance.randrange(60, 200)
                self.long[name] += length == LONG
                silent.add(name)
        return silent


def play(clock: ServerClock, seed: int, shards: int = 1) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Return the states recorded of each node, and how often each was silent for long."""
    chance = random.Random(seed)
    runner = BlockingRunner(fakeredis.FakeRedis())
    monitor, schedule = make_health(shards=shards), Schedule(chance)
    clock.now = START.timestamp()
    runner.run(monitor.heartbeat_many([EdgeNode(name, name) for name in NODES]))
    watchers = [Watcher(runner, chance) for _ in range(3)]
    for second in range(SECONDS):
        clock.now = START.timestamp() + second
        silent = schedule.silent(second)
        if second % 5 == 0:
            runner.run(monitor.heartbeat_many([name for name in NODES if name not in silent]))
        for index, watcher in enumerate(watchers):
            others = [other for other in watchers if other is not watcher and second >= other.paused_until]
            if others and chance.random() < 0.002:
                watchers[index] = Watcher(runner, chance)
            watcher.tick(second, may_stop=bool(others))
    recorded: dict[str, list[str]] = {name: [] for name in NODES}
    for change in runner.run(monitor.transitions(10_000)):
        recorded.setdefault(change.node_id, []).append(change.state)
    return recorded, schedule.long


FIRST, *OTHERS = SEEDS


@pytest.mark.parametrize(
    ("seed", "shards"),
    [
        (FIRST, 1),
        *(pytest.param(seed, 1, marks=pytest.mark.exploration) for seed in OTHERS),
        pytest.param(OTHERS[0], 3, marks=pytest.mark.exploration),
    ],
)
def test_each_long_absence_is_recorded_once_and_no_short_one(
    monkeypatch: pytest.MonkeyPatch, seed: int, shards: int
) -> None:
    recorded, long = play(stop_the_clock(monkeypatch, START.timestamp()), seed, shards)
    assert sum(long.values()) >= 5
    verdicts = {
        name: [state for state in states if state in ("unhealthy", "recovered")] for name, states in recorded.items()
    }
    assert verdicts == {name: ["unhealthy", "recovered"] * times for name, times in long.items()}
    for states in recorded.values():
        assert states.count("suspected") == states.count("unhealthy") + states.count("healthy")


ROUND_PAUSES: Final = (5, 5, 5, 12, 40, 90, 200)
SUSPICION = 20.0
BOUND = 60 + 5 * 60 + SUSPICION + 8 * max(ROUND_PAUSES)
"""Seconds: a timeout, a mass outage, a suspicion, four rounds of grace, two for the suspicion, two for the outage."""


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.exploration) for seed in range(3, 16))]
)
def test_a_dead_node_is_unhealthy_within_a_bound_in_every_schedule(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    clock = stop_the_clock(monkeypatch, START.timestamp())
    chance = random.Random(seed)
    runner, monitor = BlockingRunner(fakeredis.FakeRedis()), make_health()
    runner.run(monitor.heartbeat_many([EdgeNode(name, name) for name in NODES]))
    leaders = [make_leader(suspicion_seconds=chance.choice([0.0, SUSPICION])) for _ in range(2)]
    pauses = chance.choice([ROUND_PAUSES, ROUND_PAUSES[:3], ROUND_PAUSES[3:], ROUND_PAUSES[-1:]])
    alive, dead = set(NODES), set(chance.sample(NODES, chance.choice([1, 2, 5])))
    died = end = 0.0
    while not died or clock.now < end:
        clock.now += chance.choice(pauses)
        if not died and clock.now > START.timestamp() + 900:
            alive -= dead
            died, end = clock.now, clock.now + BOUND
        runner.run(monitor.heartbeat_many(sorted(alive)))
        runner.run(chance.choice(leaders).run_once())
    verdicts = [
        change for change in runner.run(monitor.transitions(1000)) if change.state in ("unhealthy", "recovered")
    ]
    assert sorted(change.node_id for change in verdicts) == sorted(dead), "each once, and no live node"
