"""What must hold of a scope's history under MERGE, once everything is healed.

A document is a map of fields, each with the stamp of its last change (clock, origin), and a stamp
of the last time when the scope was deleted. So:

- no stamp ever goes back at an end, in a life of it;
- a write stamps what it changes after everything that it saw;
- every change that took effect anywhere, acknowledged or not, is the field's final one, or the
  final one of the field or of the scope's delete is later (excused is what an edge had not
  confirmed when it was wiped);
- every final field is one that somebody wrote.

A document of another strategy (the cloud writes such until an edge has sent it the strategy)
counts as fields that were all changed at its clock, as docs/sync.md says. What is written plainly
upon a plain document takes its place: a field that it leaves out does not come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edge_redis._core import codec
from edge_redis.cloudstores import visible_data
from support.history.fleet import EDGES
from support.history.replay import Doc, Step
from support.history.rules import History

Stamp = tuple[str, str]
Fields = dict[str, tuple[Stamp, Any]]
NEVER: Stamp = ("", "")
GONE = object()
"""The value of a field that was deleted."""
LIFTED = "\x01"
"""Before the origin in the stamps of a plain document's fields."""


def is_plain(doc: Doc | None) -> bool:
    return doc is None or doc.body[:1] != b"\x92"


def fields_of(doc: Doc | None) -> tuple[Stamp, Fields]:
    """Return the stamp of the scope's delete, and the fields."""
    if doc is None:
        return NEVER, {}
    if doc.body[:1] == b"\x92":
        (at, by, *_), fields = codec.decode(doc.body)
        return (at, by), {
            name: ((clock, origin), value[0] if value else GONE) for name, (clock, origin, *value) in fields.items()
        }
    data = visible_data(doc.body)
    stamp = (doc.clock, LIFTED + doc.origin)
    if data is None:
        return stamp, {}
    clock, _, origin = doc.deleted.partition(" ")
    deleted = (clock, LIFTED + origin) if clock else NEVER
    return deleted, {name: (stamp, value) for name, value in data.items()}


def equal(history: History) -> Iterator[str]:
    """Yield where replicas differ in fields, stamps or version; whether one holds them as fields is no matter."""
    seen = [doc and (doc.version, doc.clock, _content(doc)) for doc in history.finals]
    if any(each != seen[0] for each in seen):
        yield f"replicas differ: {seen}"


def _content(doc: Doc) -> tuple[Stamp, Fields]:
    """Return what a document says, but for what only some ends know while the cloud's document is a plain one.

    These are its fields that a later plain one left out, and a delete before it.
    """
    deleted, fields = fields_of(doc)
    return NEVER if deleted[1].startswith(LIFTED) else deleted, {
        name: (stamp, value)
        for name, (stamp, value) in fields.items()
        if value is not GONE or not stamp[1].startswith(LIFTED)
    }


def left_out(history: History) -> Iterator[str]:
    """Yield the fields that came back though a plain document left them out."""
    latest: dict[str, str] = {}
    for step in history.writes():
        if step.after is not None and is_plain(step.after) and is_plain(step.before):
            latest[step.after.origin] = max(step.after.clock, latest.get(step.after.origin, ""))
    for final in history.finals:
        for name, ((clock, by), value) in fields_of(final)[1].items():
            if value is not GONE and by.startswith(LIFTED) and clock < latest.get(by.removeprefix(LIFTED), ""):
                yield f"{name} of {clock} came back"


def monotone(history: History) -> Iterator[str]:
    """Yield where the stamp of a field goes back at an end, or a write is stamped before what it saw."""
    for step in history.steps:
        if step.after is None or step.before is None or step.after.body == step.before.body:
            continue
        if not (is_plain(step.after) and is_plain(step.before)):
            yield from _back(step)
            yield from _too_early(step)


def _back(step: Step) -> Iterator[str]:
    old_deleted, old = fields_of(step.before)
    deleted, new = fields_of(step.after)
    if deleted < old_deleted:
        yield f"the delete of the scope goes back from {old_deleted}: {step}"
    for name, (stamp, _) in old.items():
        if max(deleted, new[name][0] if name in new else NEVER) < stamp:
            yield f"{name} goes back from {stamp}: {step}"


def _too_early(step: Step) -> Iterator[str]:
    if step.kind != "write":
        return
    old_deleted, old = fields_of(step.before)
    seen = max([old_deleted, *(stamp for stamp, _ in old.values())])
    for name, (stamp, _) in fields_of(step.after)[1].items():
        if old.get(name, (None, None))[0] != stamp and stamp[0] <= seen[0]:
            yield f"{name} is stamped {stamp}, and {seen} had been seen: {step}"


def accounted(history: History) -> Iterator[str]:
    """Yield the changes that are not in the final state, nor written over by a later one."""
    last_deleted, last = fields_of(history.final)
    shown_keys = history.shown_to_the_cloud()
    written: set[tuple[str, Stamp]] = set()
    confirmed = {
        (step.end, step.life): step.version for edge in EDGES for step in history.ends[edge] if step.kind == "wipe"
    }
    replaced = {step.before.key for step in history.writes() if step.before and is_plain(step.after)}
    for step in history.writes():
        deleted, new = fields_of(step.after)
        old_deleted, old = fields_of(step.before)
        changes = {name: stamp for name, (stamp, _) in new.items() if old.get(name, (None, None))[0] != stamp}
        written |= {(name, stamp) for name, (stamp, _) in new.items()} | {("", deleted)}
        limit = confirmed.get((step.end, step.life))
        if limit is not None and step.written.version > limit and step.written.key not in shown_keys:
            history.excused["unconfirmed at an edge that was wiped"] += 1
            continue
        if step.written.key in replaced:
            continue
        if deleted != old_deleted and deleted > last_deleted:
            yield f"the delete at {deleted} is lost: {step}"
        for name, stamp in changes.items():
            if max(last_deleted, last[name][0] if name in last else NEVER) < stamp:
                yield f"{name} of {stamp} is lost: {step}"
    yield from _made_up(history, written)


def _made_up(history: History, written: set[tuple[str, Stamp]]) -> Iterator[str]:
    deleted, first = fields_of(history.start)
    written |= {(name, stamp) for name, (stamp, _) in first.items()} | {("", deleted), ("", NEVER)}
    last_deleted, last = fields_of(history.final)
    for name, stamp in [("", last_deleted), *((name, stamp) for name, (stamp, _) in last.items())]:
        if (name, stamp) not in written:
            yield f"nobody wrote {name or 'the delete'} of {stamp}"


RULES = (equal, monotone, left_out, accounted)
