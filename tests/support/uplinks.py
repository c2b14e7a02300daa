"""Random histories of changes, pushed through stores that send splices and through ones that send full states."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge_redis import ConflictStrategy, RedisCloudStore
from edge_redis._sync import fields, scripts
from edge_redis._sync.change import TOMBSTONE
from edge_redis._sync.merge import merge_into
from edge_redis._sync.wire import format_change
from edge_redis.cloudstores import Change, encode_data

SCOPE = "room"
PURGE = None
"""A step that purges deleted scopes, in place of a push."""


@dataclass(frozen=True)
class Push:
    """A call of ``apply``, by one of several stores."""

    store: int
    changes: Sequence[Change]


class _Writer:
    """An edge that writes one scope."""

    def __init__(self, name: str, strategy: ConflictStrategy, source: random.Random) -> None:
        self.origin = f"{name}\1{name * 8}"
        self.is_merging = strategy is ConflictStrategy.MERGE
        self.source = source
        self.version = self.clock = 0
        self.data: dict[str, Any] = {f"field {number:02}": number / 7 for number in range(60)}
        self.fields = fields.lift(f"{0:018d}", self.origin, None)
        self.knows = ""

    def write(self, now: int) -> Change:
        """Return its next change: usually of a field or two, sometimes a delete or something else altogether."""
        source = self.source
        self.version += source.choice([1, 1, 1, 4])
        self.clock = max(self.clock + 1, now + source.randrange(-3, 4))
        body, clock = self._write(f"{self.clock:018d}"), f"{self.clock:018d}"
        checksum = hashlib.sha256(body).hexdigest()
        ancestor, self.knows = self.knows, ""
        return Change(self.version, clock, self.origin, checksum, ancestor, body)

    def _write(self, clock: str) -> bytes:
        kind = self.source.random()
        if kind < 0.05 and not self.is_merging:
            return TOMBSTONE
        if kind < 0.15:
            edits: dict[str, Any] = {f"field {n:02}": self.source.randbytes(20) for n in range(60)}
        else:
            names = self.source.sample(sorted(self.data), 2)
            edits = {name: self.source.choice([None, "text of a field", self.source.random()]) for name in names}
        self.data |= edits
        if not self.is_merging:
            return encode_data(self.data)
        self.fields = fields.edit(self.fields, self.data, (clock, self.origin), is_delta=False)
        return fields.pack(self.fields)


def make_history(seed: int, strategy: ConflictStrategy, pushes: int = 25) -> Iterator[Push | None]:
    """Yield what edges push, some of it again, and where deleted scopes are purged."""
    source = random.Random(f"{seed} {strategy}")
    names = "a" if strategy is ConflictStrategy.LOCAL_WINS else "abc"
    writers = [_Writer(name, strategy, source) for name in names]
    done: list[Push] = []
    for now in range(10, 10 + 5 * pushes, 5):
        writer = source.randrange(len(writers))
        if done and source.random() < 0.2:  # a reply was lost, or a worker's successor sends it from another process
            yield Push(source.choice([done[-1].store, len(writers)]), source.choice([done[-1], *done]).changes)
        elif source.random() < 0.05:
            yield PURGE
        else:
            if done and source.random() < 0.5:  # it has pulled the state that another one wrote
                state = source.choice(done).changes[-1]
                writers[writer].knows = state.stamp if state.origin != writers[writer].origin else ""
            changes = [writers[writer].write(now) for _ in range(source.choice([1, 1, 2, 5]))]
            done.append(Push(writer, changes))
            yield done[-1]


class Spliced:
    """Several stores on one cloud."""

    def __init__(self, client: Any, namespace: str, strategy: ConflictStrategy) -> None:
        self.strategy = strategy
        self.stores = [RedisCloudStore(client, namespace=namespace) for _ in range(4)]

    def take(self, step: Push | None) -> object:
        if step is PURGE:
            return self.stores[0].purge_tombstones(0)
        return self.stores[step.store].apply(SCOPE, step.changes, self.strategy)


class InFull(Spliced):
    """The same without any splice."""

    def take(self, step: Push | None) -> object:
        if step is PURGE:
            return super().take(step)
        store = self.stores[step.store]
        return store._runner.run(self._apply(store._component.shards.of(1)[0].replica, step.changes))

    async def _apply(self, replica: Any, changes: Sequence[Change]) -> object:
        settings = f"{self.strategy.value} 0 - cloud"
        if self.strategy is ConflictStrategy.MERGE:
            return await merge_into(replica, SCOPE, changes, "")
        outcomes = await scripts.apply_encoded(replica, SCOPE, [*map(format_change, changes)], settings)
        return outcomes or await merge_into(replica, SCOPE, changes, "")


def dump(client: Any, namespace: str) -> dict[str, Any]:
    """Return all that a cloud holds, but for its random id and the times of its events."""
    tag = f"er:{{{namespace}:cloud0}}"
    found: dict[str, Any] = {"doc": client.hgetall(f"{tag}:doc:{SCOPE}")}
    for name in ("history", "conflicts"):
        found[name] = [fields for _, fields in client.xrange(f"{tag}:{name}:{SCOPE}")]
    for name in ("feed", "purged"):
        found[name] = client.zrange(f"{tag}:{name}", 0, -1, withscores=True)
    found["watermark"] = client.hgetall(f"{tag}:gc_watermark")
    found["number"] = client.get(f"{tag}:feed_number")
    return found
