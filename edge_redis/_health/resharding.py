"""Moves the nodes of a namespace to another number of shards (``_core/resharding.py``).

- Every script but those of relays refuses to read as well where a shard is closed.
- With the end of copying, each new shard has a term that is not below any that was seen in the old one; with the first
  old shard, the first new one has the lease of the leading watch, and the mass outage. Heartbeats count as missing
  from now on.
- The transitions stay in the streams of the old shards, and are read there (``ShardRecord.list_logs``): so the position
  of a reader or a relay in them keeps its meaning, and new streams are read from their beginning. Relays that have
  begun in an old shard have begun in the new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from edge_redis._core.chunks import split_chunks
from edge_redis._core.operation import Argument, Batch, Invoke, Operation, command
from edge_redis._core.reply_values import or_empty
from edge_redis._core.resharding import Claim, ShardChange, check_closed, not_closed
from edge_redis._core.script import load
from edge_redis._core.shard_record import ShardRecord, choose_shard
from edge_redis._health.keys import HealthKeys
from edge_redis._health.shards import make_shards
from edge_redis.errors import StoreError

_RECEIVE: Final = load(__package__, "receive_node")
_FINISH: Final = load(__package__, "finish_receiving")
_FORGET: Final = load(__package__, "forget_nodes")

_NODES_A_ROUND: Final = 50
"""Nodes that are copied in one round trip, each with its history."""
_NODES_FORGOTTEN: Final = 200

FindKeys: TypeAlias = Callable[[str], Sequence[bytes]]
"""Returns every key that begins with a hash tag: a server must be scanned for the nodes that are only checked."""


class HealthResharding(ShardChange[HealthKeys]):
    """The change of the number of shards of a namespace's nodes."""

    units = "the nodes"

    def __init__(self, namespace: str, find_keys: FindKeys) -> None:
        super().__init__(make_shards(namespace, lambda keys: keys))
        self._find_keys = find_keys

    async def move(self, old: HealthKeys, new: Sequence[HealthKeys], claim: Claim, *, is_copied: bool) -> None:
        """Copy everything to the new shards that do not have it yet, and remove it."""
        copying = _Copying(old, new, claim, self._find_keys)
        ids = await copying.list_ids()
        if not is_copied:
            await copying.copy(ids)
        for some in split_chunks(ids, _NODES_FORGOTTEN):
            if not await _FORGET([old.moved], [claim.move, *some], int):
                raise not_closed(old)

    def advance(self, record: ShardRecord) -> ShardRecord:
        """Return the record once one more of the old shards was moved, whose transitions are still read."""
        return record.advance_with_logs()


class _Copying:
    """The copying of one closed shard."""

    def __init__(self, old: HealthKeys, new: Sequence[HealthKeys], claim: Claim, find_keys: FindKeys) -> None:
        self._old = old
        self._new = new
        self._find_keys = find_keys
        self._claim = claim

    async def copy(self, ids: Sequence[str]) -> None:
        """Copy all nodes, and what the shard has of all of them."""
        for some in split_chunks(ids, _NODES_A_ROUND):
            await self._copy(some)
        await self._finish()

    async def list_ids(self) -> list[str]:
        """Return the nodes that are registered, and those that are only checked."""
        found = {each.decode(errors="replace") for each in await self._read_ids()}
        prefixes = [f"{prefix}:".encode() for prefix in (self._old.nodes, self._old.histories, self._old.spells)]
        for key in await Invoke(self._find_keys, f"{self._old.tag}:"):
            for prefix in prefixes:
                if key.startswith(prefix):
                    found.add(key[len(prefix) :].decode(errors="replace"))
        return sorted(found)

    def _read_ids(self) -> Operation[list[bytes]]:
        return command(list[bytes], "ZRANGE", self._old.heartbeats, 0, -1)

    async def _copy(self, ids: Sequence[str]) -> None:
        reads: list[Operation[Any]] = []
        for node_id in ids:
            reads += self._read_node(node_id)
        found = await Batch(reads)
        width = len(found) // len(ids)
        await Batch([self._receive(each, found[at * width : (at + 1) * width]) for at, each in enumerate(ids)])

    def _read_node(self, node_id: str) -> Iterable[Operation[Any]]:
        old = self._old
        yield command(_format_score, "ZSCORE", old.heartbeats, node_id)
        yield command(_format_score, "ZSCORE", old.deadlines, node_id)
        yield command(or_empty, "HGET", old.suspects, node_id)
        yield command(int, "SISMEMBER", old.flapping, node_id)
        for key in (old.node(node_id), old.history(node_id), old.spells_of(node_id)):
            yield command(or_empty, "DUMP", key)
            yield command(_expiry_ms, "PTTL", key)

    def _receive(self, node_id: str, found: Sequence[Argument]) -> Operation[int]:
        keys = self._new[choose_shard(node_id, len(self._new))]
        return _RECEIVE([keys.received], [*self._claim, node_id, *found], int)

    async def _finish(self) -> None:
        await check_closed(self._old, self._claim)
        leader = await command(dict[bytes, bytes], "HGETALL", self._old.leader)
        names = await command(list[bytes], "SMEMBERS", self._old.relay_names)
        rest: list[Argument] = [len(names), *names, *(word for field in leader.items() for word in field)]
        calls: list[Operation[int]] = [
            _FINISH([keys.received], [*self._claim, int(at == 0 and self._claim.source.endswith(".0")), *rest], int)
            for at, keys in enumerate(self._new)
        ]
        done: list[int] = await Batch(calls)
        if not all(done):
            raise StoreError("another process changes the number of shards of the nodes")


def _format_score(reply: Any) -> str:
    return "" if reply is None else repr(float(reply))


def _expiry_ms(reply: int) -> int:
    return max(0, reply)
