"""Reads logs and append-only files after each round of an experiment, and says what does not hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from edge_redis import ConflictStrategy
from support.history import fields, rules
from support.history.aof import Tail
from support.history.calls import Matched
from support.history.fleet import ENDS, NAMES, Fleet
from support.history.log import Call, Logs
from support.history.replay import Doc, End, Scope, Step
from support.history.rules import History

Rule = Callable[[History], Iterable[str]]

_OF_ALL: tuple[Rule, ...] = (rules.equal, rules.versions)
_OF_STATES: tuple[Rule, ...] = (*_OF_ALL, rules.applied_once, rules.accounted)
RULES: dict[ConflictStrategy, tuple[Rule, ...]] = {
    ConflictStrategy.REMOTE_WINS: _OF_STATES,
    ConflictStrategy.LATEST_WINS: _OF_STATES,
    ConflictStrategy.LOCAL_WINS: (*_OF_STATES, rules.authority_rules),
    ConflictStrategy.MERGE: (*_OF_ALL, rules.too_many_effects, *fields.RULES),
}


@dataclass
class Violation:
    """What does not hold of a scope, and all that is known of it."""

    strategy: str
    scope: str
    faults: list[str]
    timeline: str

    def __str__(self) -> str:
        lines = "\n  ".join(fault[:600] for fault in self.faults[:5])
        return f"{self.strategy} {self.scope}: {len(self.faults)} violations:\n  {lines}"


class Checker:
    """Follows an experiment from round to round."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._logs = Logs(fleet.plan.folder)
        self._tails = [Tail() for _ in ENDS]
        self._ends = [End(end) for end in ENDS]
        self._claimed: set[tuple[int, int, str]] = set()
        self.calls: Counter[tuple[str, str]] = Counter()
        self.steps: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()

    def check(self, strategies: Iterable[ConflictStrategy]) -> list[Violation]:
        """Return what does not hold of what was done since the last time; nothing may be under way."""
        starts = [dict(end.docs) for end in self._ends]
        steps = [
            end.steps(tail.new_blocks(self._fleet.aof(end.number)))
            for end, tail in zip(self._ends, self._tails, strict=True)
        ]
        calls: dict[Scope, list[Call]] = defaultdict(list)
        for call in self._logs.new_calls():
            calls[call.strategy, call.scope].append(call)
            self.calls[call.kind, call.outcome] += 1
        found = []
        for strategy in strategies:
            seen: list[Iterable[Scope]] = [*steps, *starts, calls]
            names = {scope for each in seen for namespace, scope in each if namespace == strategy}
            for name in sorted(names):
                scope = (strategy.value, name)
                violation = self._scope(
                    strategy,
                    scope,
                    calls[scope],
                    [each.get(scope, []) for each in steps],
                    [s.get(scope) for s in starts],
                )
                found += [violation] if violation else []
        return found

    def _scope(
        self,
        strategy: ConflictStrategy,
        scope: Scope,
        calls: list[Call],
        steps: list[list[Step]],
        starts: list[Doc | None],
    ) -> Violation | None:
        finals = [end.docs.get(scope) for end in self._ends]
        authority = self._fleet.plan.authority(int(scope[1][1:]))
        history = History(strategy, scope[1], authority, starts[-1], finals, steps, self._claimed)
        for end_steps in steps:
            self.steps.update(step.kind for step in end_steps)
        faults: list[str] = []
        for end in ENDS:
            matched = Matched([call for call in calls if call.end == end], steps[end])
            faults += [f"{NAMES[end]}: {fault}" for fault in matched.faults(starts[end])]
        for rule in RULES[strategy]:
            faults += rule(history)
        self.excused.update(history.excused)
        return Violation(*scope, faults, timeline(history, calls, faults)) if faults else None


def timeline(history: History, calls: Iterable[Call], faults: Iterable[str]) -> str:
    """Return all that is known of a scope: what is wrong, calls by time, and each end's steps."""

    def lines() -> Iterator[Any]:
        yield from ("violations:", *faults)
        yield from ("", f"before: {history.start}", "", "calls:")
        for call in calls:
            yield from call.lines
        for end, steps in enumerate(history.ends):
            yield from ("", f"{NAMES[end]}:", *steps, f"finally {history.finals[end]}")

    return "\n".join(map(str, lines())) + "\n"
