"""An experiment: load under a nemesis, healing, check; again and again, until the time is up or something is wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from edge_redis import ConflictStrategy, EdgeSynchronizer, RedisCloudStore, SyncState
from edge_redis._sync.keys import SyncKeys
from edge_redis.cloudstores import visible_data
from support.history.actors import CLOUD, KEPT, LOAD, Plan
from support.history.checker import Checker, Violation
from support.history.fleet import EDGES, NAMES, Fleet
from support.history.nemesis import Nemesis

_DOC = ("version", "clock", "checksum", "data")


def _same(one: list[bytes], other: list[bytes]) -> bool:
    """Whether two documents are equal to a user: fields that may be merged can be written in two ways."""
    if one == other:
        return True
    return None not in one + other and one[:2] == other[:2] and visible_data(one[3]) == visible_data(other[3])


def _user_sees(state: SyncState | None) -> object:
    return state and (state.data, state.version, state.checksum, state.updated_at)


@dataclass
class Report:
    """What an experiment has seen."""

    strategies: tuple[ConflictStrategy, ...]
    seconds: float = 0.0
    rounds: int = 0
    healing: list[float] = field(default_factory=list)
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    harms: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the report as a person reads it."""
        kinds = sorted({kind for kind, _ in self.calls})
        yield f"strategies     {', '.join(self.strategies)}"
        yield f"load           {self.seconds:.0f} s in {self.rounds} rounds, {self.calls.total():,} calls"
        for kind in kinds:
            outcomes = ", ".join(
                f"{self.calls[kind, outcome]:,} {outcome}"
                for outcome in ("ok", "unknown", "fail")
                if self.calls[kind, outcome]
            )
            yield f"  {kind:<12} {outcomes}"
        yield "steps          " + _listed(self.steps)
        yield "harm done      " + _listed(self.harms)
        yield "excused        " + (_listed(self.excused) or "nothing")
        if self.healing:
            mean = sum(self.healing) / len(self.healing)
            yield f"time to heal   {mean:.1f} s on average, {max(self.healing):.1f} s at most"
        for strategy in self.strategies:
            bad = sum(violation.strategy == strategy for violation in self.violations)
            yield f"{strategy.value:<14} " + (f"VIOLATED for {bad} scopes" if bad else "holds")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()) if count)


class Experiment:
    """One fleet, for some strategies, until ``seconds`` of load are over."""

    def __init__(self, plan: Plan, *, wipes: bool = True, say: Callable[[str], None] = lambda _: None) -> None:
        self._plan = plan
        self._wipes = wipes
        self._say = say
        self.report = Report(plan.strategies)

    def run(self, seconds: float, round_seconds: float, stalled_seconds: float = 20.0) -> Report:
        """Run rounds of load and healing; end at the first that is not as it must be."""
        report = self.report
        with Fleet(self._plan) as fleet:
            nemesis = Nemesis(fleet, self._plan.seed, wipe=self._wipe(fleet) if self._wipes else None)
            checker = Checker(fleet)
            while report.seconds < seconds and not report.violations:
                span = min(round_seconds, max(1.0, seconds - report.seconds))
                self._load(fleet, nemesis, span)
                report.rounds, report.seconds = report.rounds + 1, report.seconds + span
                began = time.monotonic()
                violations = self._heal(fleet, stalled_seconds)
                report.healing.append(time.monotonic() - began)
                report.violations += [*violations, *checker.check(self._plan.strategies)]
                if report.seconds >= seconds and not report.violations:
                    report.violations += self._by_the_api(fleet)
                report.harms = nemesis.counts + fleet.proxy.counts
                report.calls, report.steps, report.excused = checker.calls, checker.steps, checker.excused
                checking = time.monotonic() - began - report.healing[-1]
                self._say(
                    f"round {report.rounds}: {report.seconds:.0f} s, {checker.calls.total():,} calls, healed in "
                    f"{report.healing[-1]:.1f} s, checked in {checking:.1f} s, {len(report.violations)} violations"
                )
        return report

    @staticmethod
    def _wipe(fleet: Fleet) -> Callable[[int], None]:
        return lambda edge: fleet.open_scopes(edge, wiped=True)

    def _load(self, fleet: Fleet, nemesis: Nemesis, seconds: float) -> None:
        nemesis.skew()
        fleet.phase.value = LOAD
        nemesis.harm(seconds)
        nemesis.finish()

    def _heal(self, fleet: Fleet, stalled_seconds: float) -> list[Violation]:
        """Undo all harm and wait until nothing is left to do; say what is, where nothing changes any more."""
        fleet.mend()
        fleet.rest()
        changed, before = time.monotonic(), None
        while True:
            reading = time.monotonic()
            left, now = self._left(fleet)
            if not left:
                return self._dead_letters(fleet)
            if now != before:
                changed, before = time.monotonic(), now
            elif time.monotonic() - changed > stalled_seconds:
                fleet.write_stacks()
                stalled = [
                    Violation(*scope, [f"nothing happened for {stalled_seconds:.0f} s, and {what}"], "")
                    for scope, what in left.items()
                ]
                return [*self._dead_letters(fleet), *stalled]
            # The proxy has a thread of this process: reading must leave it most of the time.
            time.sleep(max(0.1, 4 * (time.monotonic() - reading)))

    def _left(self, fleet: Fleet) -> tuple[dict[tuple[str, str], str], object]:
        """Return what is left to do of each scope, and something that changes as long as anything does."""
        with fleet.clients() as clients:
            found = [self._read(client, end) for end, client in enumerate(clients)]
        left: dict[tuple[str, str], str] = {}
        for index, (strategy, scope) in enumerate(self._all_scopes()):
            docs = [docs[index] for docs, _ in found]
            waiting = [outboxes[index] for _, outboxes in found]
            if any(waiting):
                left[strategy, scope] = f"outboxes hold {waiting}"
            elif any(not _same(doc, docs[0]) for doc in docs):
                left[strategy, scope] = f"replicas differ: {[doc[:3] for doc in docs]}"
        return left, found

    def _all_scopes(self) -> list[tuple[str, str]]:
        return [
            (strategy.value, f"s{number}") for strategy in self._plan.strategies for number in range(self._plan.scopes)
        ]

    def _read(self, client: redis.Redis, end: int) -> tuple[list[list[bytes]], list[int]]:
        docs, outboxes = client.pipeline(transaction=False), client.pipeline(transaction=False)
        for strategy, scope in self._all_scopes():
            keys = SyncKeys(strategy, "cloud" if end == CLOUD else "sync")
            docs.hmget(keys.doc(scope), _DOC)
            outboxes.xlen(keys.pending(scope))
        return docs.execute(), outboxes.execute()

    def _dead_letters(self, fleet: Fleet) -> list[Violation]:
        """There must be none: nothing that was done here is a change's own fault."""
        found = []
        with fleet.clients() as clients:
            for edge in EDGES:
                for strategy in self._plan.strategies:
                    letters: Any = clients[edge].xrange(SyncKeys(strategy.value, "sync").dead_letters)
                    for _, letter in letters:
                        fault = f"a dead letter at {NAMES[edge]}: {letter}"
                        found.append(Violation(strategy.value, letter[b"scope"].decode(), [fault], ""))
        return found

    def _by_the_api(self, fleet: Fleet) -> list[Violation]:
        """What users read must be the same at all ends too, and synchronized."""
        found = []
        with fleet.clients() as clients:
            for strategy in self._plan.strategies:
                store = RedisCloudStore(clients[CLOUD], namespace=strategy.value, max_conflicts=KEPT)
                for number in range(self._plan.scopes):
                    final = store.get(f"s{number}")
                    for edge in EDGES:
                        sync = EdgeSynchronizer(clients[edge], **self._plan.settings(strategy, number, edge))
                        state, is_synced = sync.get_local_state(), sync.is_synced
                        if _user_sees(state) != _user_sees(final) or not is_synced:
                            fault = f"{NAMES[edge]} has {state}, synced {is_synced}, and the cloud {final}"
                            found.append(Violation(strategy.value, f"s{number}", [fault], ""))
        return found


def save(folder: Path, violations: list[Violation]) -> list[Path]:
    """Write what is known of each scope that is not as it must be to a file of its own."""
    paths = []
    for violation in violations[:20]:
        path = folder / f"violation-{violation.strategy}-{violation.scope}.txt"
        with path.open("a") as file:
            file.write(f"{violation}\n\n{violation.timeline}\n")
        paths.append(path)
    return paths
