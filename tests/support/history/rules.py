"""What must hold of a scope's history once everything is healed, for each strategy.

**Versions.** At each end, in each of its lives: no version, clock or newest clock seen ever goes
back; a write is numbered one above what it was made of, so there is no gap between two remote
states, and stamped after it.

**Nothing is applied twice.** Each state that takes the place of another is above it in the
strategy's order (REMOTE_WINS and LOCAL_WINS: version, the cloud's authority, origin, checksum;
LATEST_WINS: clock, origin, checksum), so none does so twice; and the cloud's history tells of as
many effects at most as there were writes at the edges, in all and (where versions decide) of
each version.

**Every update is accounted for.** Every write that took effect at an end, acknowledged or not, is

- the final state, or
- in the lineage of the final state: each write has as its parent the state it was made of, so all
  that came after it was written in knowledge of it, or
- in the conflict stream of an end, or in the lineage of a state that is there.

Two states of the same data and clock are one, and who was written in knowledge of either knew both.

And the final state is the greatest in the strategy's order of all writes that are so accounted for.

Excused is only what an edge had not yet confirmed when it was wiped, unless the cloud has had it.

**LOCAL_WINS.** A remote state never replaces one at the edge that has the authority, and what was
last written there is the final data.

MERGE has rules of its own (``support.history.fields``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_redis import ConflictStrategy
from support.history.actors import CLOUD
from support.history.fleet import EDGES
from support.history.replay import Doc, Key, Step


def by_version(doc: Doc) -> tuple[Any, ...]:
    return doc.version, doc.name == "cloud", doc.origin.encode(), doc.checksum


def by_clock(doc: Doc) -> tuple[Any, ...]:
    return doc.clock, doc.origin.encode(), doc.checksum


def order_of(strategy: ConflictStrategy) -> Callable[[Doc], tuple[Any, ...]]:
    return by_clock if strategy is ConflictStrategy.LATEST_WINS else by_version


@dataclass
class History:
    """One scope between two times when all was healed."""

    strategy: ConflictStrategy
    name: str
    authority: int
    start: Doc | None
    finals: Sequence[Doc | None]
    ends: Sequence[Sequence[Step]]
    claimed: set[tuple[int, int, str]] = field(default_factory=set)
    """Ends, their lives and scopes where the authority has made itself known; of all of the past."""
    excused: Counter[str] = field(default_factory=Counter)

    @property
    def final(self) -> Doc | None:
        return self.finals[CLOUD]

    @property
    def steps(self) -> Iterator[Step]:
        for steps in self.ends:
            yield from steps

    def writes(self, ends: Iterable[int] = (*EDGES, CLOUD), kinds: Sequence[str] = ("write",)) -> list[Step]:
        return [step for end in ends for step in self.ends[end] if step.kind in kinds]

    def shown_to_the_cloud(self) -> set[Key]:
        """Return what the cloud has had, as far as the history shows it."""
        return {step.after.key for step in self.ends[CLOUD] if step.after} | {
            step.key for step in self.steps if step.key
        }


def versions(history: History) -> Iterator[str]:
    """Yield where versions or clocks go back, or leave a gap."""
    for step in history.steps:
        before, after = step.before, step.after
        if after is None:
            continue
        if step.kind == "write" and after.version != (before.version if before else 0) + 1:
            yield f"a write is not numbered one above {before and before.version}: {step}"
        if before is None:
            continue
        if after.version < before.version or after.tick < before.tick:
            yield f"a version or clock goes back from {before.version}, {before.tick}: {step}"
        if step.kind in ("write", "reassert") and after.clock <= before.clock:
            yield f"a write is stamped before what it was made of, {before.clock}: {step}"


def applied_once(history: History) -> Iterator[str]:
    """Yield what took the place of a state above it, and what the cloud has applied more often than it was written."""
    order = order_of(history.strategy)
    local = history.strategy is ConflictStrategy.LOCAL_WINS
    for step in history.steps:
        if step.kind == "write" and local and step.end == history.authority:
            history.claimed.add((step.end, step.life, history.name))
        if step.kind != "take" or step.before is None:
            continue
        if local and (step.end, step.life, history.name) in history.claimed:
            yield f"a remote state replaced that of the authority, {step.before.key}: {step}"
        elif order(step.written) <= order(step.before):
            yield f"what was there, {order(step.before)}, was above what took its place: {step}"
    yield from too_many_effects(history)


def too_many_effects(history: History) -> Iterator[str]:
    written = history.writes(EDGES, ("write", "reassert"))
    effects = [step.version for step in history.ends[CLOUD] if step.kind == "effect"]
    if len(effects) > len(written):
        yield f"the cloud has applied {len(effects)} changes of {len(written)}"
    if history.strategy in (ConflictStrategy.REMOTE_WINS, ConflictStrategy.LOCAL_WINS):
        twice = Counter(effects) - Counter(step.written.version for step in written)
        if twice:
            yield f"the cloud has applied more often than they were written the versions {sorted(twice)}"


class Lineage:
    """Which states each state was made of.

    Two that have the same data at the same clock are one state, which was made of all that either was made of.
    """

    def __init__(self, history: History) -> None:
        self._same: dict[tuple[str, str], set[Key]] = defaultdict(set)
        self._parents: dict[Key, set[Key]] = defaultdict(set)
        for step in history.writes(kinds=("write", "reassert")):
            assert step.after is not None
            self._same[step.after.stamp].add(step.after.key)
            if step.before:
                self._parents[step.after.key].add(step.before.key)

    def of(self, keys: Iterable[Key | None]) -> set[Key]:
        """Return these states and all that they were made of, as far back as this history goes."""
        found: set[Key] = set()
        rest = {key for key in keys if key is not None}
        while rest:
            key = rest.pop()
            found.add(key)
            rest |= (self._same[key[:2]] | self._parents[key]) - found
        return found


def _lost_by_wipes(history: History, shown: set[Key]) -> set[Key]:
    """Return what an edge had not confirmed when it was wiped, and the cloud has not had."""
    lost: set[Key] = set()
    for edge in EDGES:
        confirmed = {step.life: step.version for step in history.ends[edge] if step.kind == "wipe"}
        for step in history.writes([edge], ("write", "reassert")):
            if step.life in confirmed and step.written.version > confirmed[step.life]:
                lost.add(step.written.key)
    return lost - shown


def accounted(history: History) -> Iterator[str]:
    """Yield the writes that are neither in the final state, nor known to it, nor in conflict, nor excused."""
    lineage = Lineage(history)
    shown = history.shown_to_the_cloud()
    covered = lineage.of([history.final and history.final.key, *(step.key for step in history.steps if step.key)])
    wiped = _lost_by_wipes(history, shown)
    lost = wiped - covered
    history.excused["unconfirmed at an edge that was wiped"] += len(lost)
    missing = {step.written.key: step.written for step in history.writes() if step.written.key not in covered | lost}
    if history.start is not None and history.start.key not in covered:
        missing[history.start.key] = history.start
    for doc in missing.values():
        yield f"lost: version {doc.version} of {doc.name}, clock {doc.clock}: {doc.body!r}"
    if history.strategy is not ConflictStrategy.LOCAL_WINS:
        # What came after a state that was wiped, and is there, is above it: it need not be compared itself.
        yield from _greatest(history, wiped)


def _greatest(history: History, lost: set[Key]) -> Iterator[str]:
    order = order_of(history.strategy)
    kept = [step.written for step in history.writes() if step.written.key not in lost]
    if history.final is None:
        if kept:
            yield f"{len(kept)} writes and no final state"
        return
    for doc in kept:
        if order(doc) > order(history.final):
            yield f"the final state {order(history.final)} is below {order(doc)}"


def authority_rules(history: History) -> Iterator[str]:
    """LOCAL_WINS: yield where the final data are not those last written at the edge that has the authority."""
    steps = history.ends[history.authority]
    wipe = max((index for index, step in enumerate(steps) if step.kind == "wipe"), default=-1)
    last = [step.after for step in steps[wipe + 1 :] if step.kind in ("write", "take")]
    want = last[-1] if last else history.start if wipe < 0 and not _is_foreign(history) else None
    if want is not None and (history.final is None or history.final.body != want.body):
        yield f"the authority's last data are {want.body!r}, and the final {history.final and history.final.body!r}"


def _is_foreign(history: History) -> bool:
    """Whether the edge has not written since it came to life: it is not known to have the authority then."""
    return not any(end == history.authority and name == history.name for end, _, name in history.claimed)


def equal(history: History) -> Iterator[str]:
    """Yield where replicas differ in data, version or checksum."""
    seen = {doc and (doc.version, doc.clock, doc.checksum, doc.body) for doc in history.finals}
    if len(seen) > 1 and history.strategy is not ConflictStrategy.MERGE:
        yield "replicas differ: " + "; ".join(
            "none" if doc is None else f"version {doc.version} clock {doc.clock} {doc.checksum[:16]} of {doc.origin!r}"
            for doc in history.finals
        )
