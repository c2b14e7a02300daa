"""What happened to every scope at one end, read from its append-only file: a list of steps.

A step is one of

    write     a call of the public API wrote the scope's next version
    reassert  LOCAL_WINS wrote the local state again, above a remote one
    take      a state of the other end, or what was merged of it, took the place of the local one
    note      the document was written and its state is the one before: a version or a clock was raised
    conflict  the losing side of a conflict was recorded
    confirm   changes up to a version were confirmed
    effect    a push was recorded in the history as having taken effect
    wipe      everything was taken from this end
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from edge_redis._sync.origin import name_of
from support.history.actors import CLOUD
from support.history.aof import Block

Key = tuple[str, str, str]
"""What tells a state of a scope from every other: its clock, checksum and origin."""

Scope = tuple[str, str]
"""Namespace (which is the strategy's name) and scope."""


class Doc(NamedTuple):
    """A scope's document."""

    version: int
    clock: str
    tick: str
    origin: str
    checksum: str
    base: str
    body: bytes
    deleted: str = ""
    """Clock and origin of the delete before a plain state of the cloud."""

    @property
    def key(self) -> Key:
        return self.clock, self.checksum, self.origin

    @property
    def stamp(self) -> tuple[str, str]:
        return self.clock, self.checksum

    @property
    def name(self) -> str:
        return name_of(self.origin)


class Step(NamedTuple):
    """Something that happened at an end, in the life it had since it was last wiped."""

    end: int
    life: int
    kind: str
    before: Doc | None = None
    after: Doc | None = None
    key: Key | None = None
    version: int = 0

    @property
    def written(self) -> Doc:
        """The document that this step left, of a step that wrote or took one."""
        assert self.after is not None
        return self.after

    def __str__(self) -> str:
        name = f"end {self.end}, life {self.life}: {self.kind}"
        if self.after is None:
            return f"{name} {self.version or ''} {self.key or ''}"
        doc = self.after
        return (
            f"{name} version {doc.version} clock {doc.clock} origin {doc.origin!r} checksum {doc.checksum[:16]} "
            f"base {doc.base} body {doc.body!r}"
        )


def _split(key: bytes) -> tuple[str, str, str] | None:
    """Return namespace, what and scope of a key of the sync component that belongs to a scope."""
    tag, _, rest = key.decode().partition("}:")
    what, _, scope = rest.partition(":")
    namespace, _, component = tag.removeprefix("er:{").rpartition(":")
    if component not in ("sync0", "cloud0") or what not in ("doc", "pending", "history", "conflicts"):
        return None
    return namespace, what, scope


def _pairs(words: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(words[::2], words[1::2], strict=True))


class End:
    """One end, replayed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.life = 0
        self.docs: dict[Scope, Doc] = {}
        self.confirmed: dict[Scope, int] = {}
        """The newest version confirmed in this life."""

    def steps(self, blocks: Iterable[Block]) -> dict[Scope, list[Step]]:
        """Return the steps of each scope that blocks tell of. A wipe stands among the steps of every scope."""
        found: dict[Scope, list[Step]] = defaultdict(list)
        for block in blocks:
            if any(words[0].upper() == b"FLUSHALL" for words in block):
                for scope in {*self.docs, *found}:
                    found[scope].append(self._step("wipe", scope, version=self.confirmed.get(scope, 0)))
                self.life += 1
                self.docs.clear()
                self.confirmed.clear()
            else:
                self._block(block, found)
        return found

    def _step(self, kind: str, scope: Scope, **facts: Any) -> Step:
        return Step(self.number, self.life, kind, before=self.docs.get(scope), **facts)

    def _block(self, block: Block, found: dict[Scope, list[Step]]) -> None:
        is_call = queued = False
        fields: dict[bytes, bytes] = {}
        scope: Scope | None = None
        for words in block:
            name = words[0].upper()
            if name == b"HSET" and b":repeats:" in words[1]:
                is_call = True
                continue
            split = _split(words[1]) if len(words) > 1 else None
            if split is None:
                continue
            namespace, what, scope_name = split
            scope = (namespace, scope_name)
            if name == b"HSET" and what == "doc":
                fields |= _pairs(words[2:])
            elif name == b"XADD":
                queued |= what == "pending"
                found[scope] += self._entry(what, scope, words)
        if scope is not None and b"version" in fields:
            found[scope].append(self._written(scope, fields, is_call=is_call, queued=queued))

    def _entry(self, what: str, scope: Scope, words: list[bytes]) -> Iterable[Step]:
        start = next(index for index, word in enumerate(words) if index > 1 and b"-" in word) + 1
        entry = _pairs(words[start:])
        if what == "conflicts":
            key = (entry[b"clock"].decode(), entry[b"checksum"].decode(), entry[b"origin"].decode())
            yield self._step("conflict", scope, key=key, version=int(entry[b"version"]))
        elif what == "history" and entry[b"direction"] == b"push" and entry[b"success"] == b"1":
            version = int(entry[b"version"])
            if self.number == CLOUD:
                yield self._step("effect", scope, version=version)
            else:
                self.confirmed[scope] = max(version, self.confirmed.get(scope, 0))
                yield self._step("confirm", scope, version=version)

    def _written(self, scope: Scope, fields: dict[bytes, bytes], *, is_call: bool, queued: bool) -> Step:
        before = self.docs.get(scope)
        names = (b"clock", b"latest_clock", b"origin", b"checksum", b"ancestor")
        clock, tick, origin, checksum, base = (fields[name].decode() for name in names)
        body, deleted = fields.get(b"data"), fields.get(b"deleted", b"").decode()
        if body is None:
            body, deleted = (before.body, before.deleted) if before else (b"", "")
        after = Doc(int(fields[b"version"]), clock, tick, origin, checksum, base, body, deleted)
        if is_call:
            kind = "write"
        elif queued:
            kind = "reassert"
        elif before is not None and before.key == after.key:
            kind = "note"
        else:
            kind = "take"
        step = self._step(kind, scope, after=after)
        self.docs[scope] = after
        return step
