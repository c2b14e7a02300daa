"""The calls of a scope against what took effect at the end where they were made.

    acknowledged   took effect exactly once, as the version, clock, origin and checksum it returned, and
                   made of the state before it what such a call makes of it
    unknown        took effect at most once
    failed         took no effect
    any effect     is that of a call
    versions       of a call begun after another was acknowledged are higher
    reads          gave a state that was there

"Once" is once in a life of the end: an end that is wiped forgets which calls it has had.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from edge_redis._core import codec
from edge_redis.cloudstores import visible_data
from support.history.log import TOKEN, Call
from support.history.replay import Doc, Step


def data_of(doc: Doc | None) -> dict[str, Any]:
    """Return what users see of a document; nothing of one that is not there or is deleted."""
    return {} if doc is None else visible_data(doc.body) or {}


def is_deleted(doc: Doc) -> bool:
    return visible_data(doc.body) is None


def expected(call: Call, before: dict[str, Any]) -> dict[str, Any]:
    """Return what a call makes of the data before it."""
    if call.kind == "delta":
        return {**before, **call.data}
    if call.kind == "replace":
        return dict(call.data)
    return {name: value for name, value in before.items() if name not in call.data}


def _token(step: Step) -> str | None:
    """Return which call of new data this was, None of one that only deleted."""
    new = data_of(step.after).get(TOKEN)
    return None if new == data_of(step.before).get(TOKEN) else new


def _is_reported(call: Call, step: Step) -> bool:
    """Whether a step wrote what the call returned."""
    answer, doc = call.answer, step.after
    assert doc is not None
    # Calls return the checksum of the data, of merged fields too.
    return answer["clock"] == doc.clock and answer["checksum"] in (doc.checksum, codec.checksum(data_of(doc)))


class Matched:
    """The calls and writes of one scope at one end, each with the other."""

    def __init__(self, calls: Sequence[Call], steps: Sequence[Step]) -> None:
        self._calls = [call for call in calls if call.kind != "read"]
        self._reads = [call for call in calls if call.kind == "read" and call.outcome == "ok"]
        self._steps = steps
        self._wiped = any(step.kind == "wipe" for step in steps)
        self._unexplained = [step for step in steps if step.kind == "write"]
        self._of: dict[str, Step] = {}

    def faults(self, start: Doc | None) -> Iterator[str]:
        """Yield what is wrong; ``start`` is the document before the first step."""
        yield from self._by_token()
        yield from self._by_clock()
        self._explain_effects_before_a_wipe()
        yield from self._deletes()
        for step in self._unexplained:
            yield f"a write that nobody made: {step}"
        yield from self._times()
        yield from self._seen(start)

    def _explained(self, call: Call, step: Step) -> Iterator[str]:
        self._unexplained.remove(step)
        assert step.after is not None
        want, have = expected(call, data_of(step.before)), data_of(step.after)
        if want != have:
            yield f"{call.op} made {have} of {data_of(step.before)}, and not {want}"
        if call.outcome == "ok":
            answer = call.answer
            doc = step.after
            same = (answer["version"], answer["origin"]) == (doc.version, doc.name)
            if not same or not _is_reported(call, step):
                yield f"{call.op} returned {answer} and wrote {step}"
            self._of[call.op] = step

    def _by_token(self) -> Iterator[str]:
        effects: dict[str, list[Step]] = defaultdict(list)
        for step in self._unexplained:
            token = _token(step)
            if token is not None:
                effects[token].append(step)
        for call in self._calls:
            if call.kind in ("delta", "replace"):
                yield from self._effects(call, effects.get(call.op, []))

    def _effects(self, call: Call, found: Sequence[Step]) -> Iterator[str]:
        """Yield what is wrong with the effects of a call of new data, which tell by themselves whose they are.

        All but one: a call that was sent again over a wipe may find its own effect, which has come back from the cloud.
        """
        if self._wiped and call.outcome == "ok" and not any(_is_reported(call, step) for step in found):
            same = (step for step in self._unexplained if data_of(step.after).get(TOKEN) == call.op)
            found = [*found, *[step for step in same if _is_reported(call, step) and step not in found][:1]]
        if len({step.life for step in found}) < len(found):
            yield f"{call.op} took effect {len(found)} times: {[step.written.version for step in found]}"
        if call.outcome == "fail" and found:
            yield f"{call.op} failed and took effect: {found[0]}"
        matching = [step for step in found if step.written.clock == call.answer.get("clock")]
        if call.outcome == "ok" and not matching:
            yield f"{call.op} was acknowledged and took no effect as returned: {call.answer}"
        for step in found:
            if step in matching or call.outcome != "ok":
                yield from self._explained(call, step)
            else:
                self._unexplained.remove(step)

    def _by_clock(self) -> Iterator[str]:
        # Acknowledged calls first: what is left may be of a call without a reply.
        for call in sorted(self._calls, key=lambda call: call.outcome != "ok"):
            if call.kind != "fields" or call.outcome == "fail":
                continue
            if call.outcome == "ok":
                found = [step for step in self._unexplained if _is_reported(call, step)]
                # Two lives of an edge may come to the same clock, and even to the same data.
                found.sort(key=lambda step: expected(call, data_of(step.before)) != data_of(step.after))
                if not found:
                    yield f"{call.op} was acknowledged and took no effect as returned: {call.answer}"
            else:
                found = [
                    step
                    for step in self._unexplained
                    if _token(step) is None
                    and not is_deleted(step.written)
                    and expected(call, data_of(step.before)) == data_of(step.after)
                ]
            for step in found[:1]:
                yield from self._explained(call, step)

    def _explain_effects_before_a_wipe(self) -> None:
        """Take away second effects of calls whose reply was lost, and that were sent again after the end was wiped."""
        for call in self._calls:
            if call.kind != "fields" or call.op not in self._of:
                continue
            lives = {self._of[call.op].life}
            for step in list(self._unexplained):
                is_same = expected(call, data_of(step.before)) == data_of(step.after)
                if step.life not in lives and _token(step) is None and not is_deleted(step.written) and is_same:
                    lives.add(step.life)
                    self._unexplained.remove(step)

    def _deletes(self) -> Iterator[str]:
        """Deletes do not return their version: there must be as many as were acknowledged, or may have been made."""
        deletes = [step for step in self._unexplained if is_deleted(step.written)]
        calls = [call for call in self._calls if call.kind == "delete"]
        sure = sum(call.outcome == "ok" and call.answer["answer"] for call in calls)
        perhaps = sum(call.outcome == "unknown" for call in self._calls if call.kind in ("delete", "fields"))
        if len(deletes) < sure or (len(deletes) > sure + perhaps and not self._wiped):
            yield f"{sure} deletes were acknowledged, {perhaps} are unknown, and {len(deletes)} took effect"
        for step in deletes:
            self._unexplained.remove(step)

    def _times(self) -> Iterator[str]:
        lives: dict[int, list[tuple[Call, int]]] = defaultdict(list)
        for call in self._calls:
            if call.op in self._of:
                step = self._of[call.op]
                lives[step.life].append((call, step.written.version))
        for done in lives.values():
            ended = sorted(done, key=lambda pair: pair[0].returned)
            newest, index = 0, 0
            for call, version in sorted(done, key=lambda pair: pair[0].invoked):
                while index < len(ended) and ended[index][0].returned < call.invoked:
                    newest, index = max(newest, ended[index][1]), index + 1
                if version <= newest:
                    yield f"{call.op} has version {version}, after {newest} was acknowledged"

    def _seen(self, start: Doc | None) -> Iterator[str]:
        docs = [start, *(step.after for step in self._steps if step.after)]
        there = {(doc.clock, doc.version) for doc in docs if doc}
        for call in self._reads:
            if "version" in call.answer and (call.answer["clock"], call.answer["version"]) not in there:
                yield f"{call.op} read what was never there: {call.answer}"
