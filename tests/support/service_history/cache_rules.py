"""What must hold of the calls of a cache, key by key.

    values      a read gives a value that was put to this key, or nothing
    order       no read gives what was replaced or removed, and acknowledged as such, before the read began; a read of a
                near cache may do so for a stated time, but not for a write of its own process
    seen        no read gives what is older than a value that was seen before: by any process, or, of a near cache,
                by the same one; and no process sees a value again after it has seen another
    counters    are linearizable, and no two calls of ``incr`` return one number
    size        is never above ``max_size``

A put or a removal that ended in an error may take effect at any later time, or never.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf

from support.history.log import Call
from support.service_history.counters import Raise, Reading, count_faults


def latest(call: Call) -> float:
    """Return when a call has taken effect at the latest."""
    return call.returned if call.outcome == "ok" else inf


def process_of(call: Call) -> str:
    """Return which life of which process made a call."""
    return call.op.rpartition(".")[0]


class Before:
    """For any moment the highest mark of those that came before it."""

    def __init__(self, marks: Iterable[tuple[float, float]]) -> None:
        ordered = sorted(marks)
        self._moments = [moment for moment, _ in ordered]
        self._highest = [-inf, *accumulate((mark for _, mark in ordered), max)]

    def __call__(self, moment: float) -> float:
        return self._highest[bisect_left(self._moments, moment)]


class KeyHistory:
    """The calls of one key."""

    def __init__(self, calls: Sequence[Call], stale_seconds: float) -> None:
        self._stale = stale_seconds
        self._reads = [call for call in calls if call.kind == "get" and call.outcome == "ok"]
        self._removals = [call for call in calls if call.kind == "delete"]
        self._puts = {call.data: call for call in calls if call.kind == "put"}
        self._writes = [*self._removals, *self._puts.values()]

    def faults(self, *, is_evicted: bool = False) -> Iterator[str]:
        """Yield what is wrong. Where entries are evicted, one may be missing at any time."""
        yield from self._values()
        known = [read for read in self._reads if _value(read) is None or _value(read) in self._puts]
        shared = self._bound(self._writes)
        own = {name: self._bound(w for w in self._writes if process_of(w) == name) for name in map(process_of, known)}
        for read in known:
            value, moment = _value(read), read.invoked
            if value is None and is_evicted:
                continue
            bounds = [shared(moment - self._stale)] + ([own[process_of(read)](moment)] if self._stale else [])
            if self._latest(value, read.returned) < max(bounds):
                yield f"{read.op} read {value!r} after it was replaced and the replacement acknowledged"
        yield from self._seen(known)

    def _values(self) -> Iterator[str]:
        for read in self._reads:
            put = self._puts.get(_value(read))
            if _value(read) is not None and (put is None or put.invoked > read.returned):
                yield f"{read.op} read {_value(read)!r}, which nobody had put"

    @staticmethod
    def _bound(writes: Iterable[Call]) -> Before:
        """Return by moment when the write began that was acknowledged by then and began last."""
        return Before((write.returned, write.invoked) for write in writes if write.outcome == "ok")

    def _latest(self, value: str | None, moment: float) -> float:
        """Return when at the latest the write took effect that a read saw, of all that it may have seen."""
        if value is not None:
            return latest(self._puts[value])
        return max((latest(each) for each in self._removals if each.invoked < moment), default=-1.0)

    def _seen(self, reads: Sequence[Call]) -> Iterator[str]:
        by_process: dict[str, list[Call]] = defaultdict(list)
        for read in reads:
            if _value(read) is not None:
                by_process[process_of(read)].append(read)
        groups = by_process.values() if self._stale else [[read for some in by_process.values() for read in some]]
        for group in groups:
            seen = Before((read.returned, self._puts[read.answer["answer"]].invoked) for read in group)
            for read in group:
                if latest(self._puts[read.answer["answer"]]) < seen(read.invoked):
                    yield f"{read.op} read {_value(read)!r} after a newer value was seen"
        for group in by_process.values():
            yield from _returning(group)


def _value(read: Call) -> str | None:
    value: str | None = read.answer["answer"]
    return value


def _returning(reads: Sequence[Call]) -> Iterator[str]:
    """Yield reads by one process of a value that it had seen replaced by another."""
    gone: set[str | None] = set()
    newest: str | None = None
    for read in sorted(reads, key=lambda read: read.invoked):
        value = _value(read)
        if value in gone:
            yield f"{read.op} read {value!r} again, after {newest!r}"
        elif value != newest:
            gone.add(newest)
            newest = value


def cache_faults(calls: Sequence[Call], *, stale_seconds: float = 0.0, max_size: int | None = None) -> Iterator[str]:
    """Yield what is wrong with the calls of one cache; with ``max_size`` it is one that evicts."""
    by_key: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_key[call.scope].append(call)
        if call.kind == "size" and call.outcome == "ok" and max_size is not None and call.answer["answer"] > max_size:
            yield f"{call.op} found {call.answer['answer']} entries, of {max_size} at most"
    for key, some in sorted(by_key.items()):
        faults = KeyHistory(some, stale_seconds).faults(is_evicted=max_size is not None)
        yield from (f"{key}: {fault}" for fault in (*faults, *_counter_faults(some)))


def _counter_faults(calls: Sequence[Call]) -> Iterator[str]:
    raises = [call for call in calls if call.kind == "incr"]
    done = [call for call in raises if call.outcome == "ok"]
    # The call's own raise is in its answer: counted just before it returned.
    readings = [Reading(call.invoked, call.returned, call.answer["answer"], call.op) for call in done]
    yield from count_faults([Raise(call.invoked, latest(call)) for call in raises], readings)
    answers = [call.answer["answer"] for call in done]
    if len(answers) != len(set(answers)):
        yield f"two calls of incr returned one number: {sorted(answers)}"
