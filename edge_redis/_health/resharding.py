"""Changes the number of shards of the nodes, with the nodes in place, one shard after another.

While it changes, the record of shard 0 says how many of the old shards, the first ones, were moved
(``_core/shard_record.py``). A node whose shard was moved is in its new shard, every other one is where it was.

1. The next old shard is closed: while its key ``moved`` exists, every script but those of relays refuses to read and
   write there (``ERMOVED``).
2. Its nodes are copied to their new shards. A process that copies claims the new shard first (``claim_source.lua``), so
   that what another one, which was stopped and goes on, still sends is refused; and so it is once everything was
   copied, for then the nodes may be written there.
3. With the end of copying, each new shard has a term that is not below any that was seen in the old one; with the first
   old shard, the first new one has the lease of the leading watch, and the mass outage. Heartbeats count as missing
   from now on.
4. The nodes are removed from the old shard.
5. The record names the old shard as moved. Until then nobody uses these nodes: callers wait for it.

The transitions stay in the streams of the old shards, and are read there (``ShardRecord.list_logs``): so the position
of a reader or a relay in them keeps its meaning, and new streams are read from their beginning. Relays that have begun
in an old shard have begun in the new ones.

A process that ends anywhere in this leaves a closed shard at most; the same change goes on with it. Keys ``moved`` stay
for ever, since a process may have an old record for ever. A number that comes back has shards of other names.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from edge_redis._core.chunks import split_chunks
from edge_redis._core.operation import Argument, Batch, Invoke, Operation, command
from edge_redis._core.script import load
from edge_redis._core.shard_record import ShardRecord, choose_shard
from edge_redis._core.shards import check_shards, close_shard
from edge_redis._health.keys import HealthKeys
from edge_redis._health.shards import make_shards
from edge_redis.errors import InvalidArgumentError, StoreError

_CLAIM: Final = load(__package__, "claim_source")
_RECEIVE: Final = load(__package__, "receive_node")
_FINISH: Final = load(__package__, "finish_receiving")
_FORGET: Final = load(__package__, "forget_nodes")

_NODES_A_ROUND: Final = 50
"""Nodes that are copied in one round trip, each with its history."""
_NODES_FORGOTTEN: Final = 200
_MAX_ATTEMPTS: Final = 10

FindKeys: TypeAlias = Callable[[str], Sequence[bytes]]
"""Returns every key that begins with a hash tag: a server must be scanned for the nodes that are only checked."""


class HealthResharding:
    """The change of the number of shards of a namespace's nodes."""

    def __init__(self, namespace: str, find_keys: FindKeys) -> None:
        self.shards = make_shards(namespace, lambda keys: keys)
        self._count = self.shards.count
        self._find_keys = find_keys

    async def is_complete(self, record: ShardRecord) -> bool:
        """Return whether no change ended halfway."""
        return record.target is None

    async def change(self, shards: int, report: Callable[[ShardRecord], object]) -> ShardRecord:
        """Move all nodes to this number of shards; return the record. ``report`` is called with each one on the way.

        Raises:
            InvalidArgumentError: a change to another number was begun and is not complete.

        """
        check_shards(shards)
        record = await self._begin(shards)
        while record.target is not None:
            report(record)
            record = await self._move_next(record)
        report(record)
        return record

    async def _begin(self, shards: int) -> ShardRecord:
        for _ in range(_MAX_ATTEMPTS):
            record = await self._count.read() or await self._count.store(shards)
            if record.target not in (None, shards):
                raise InvalidArgumentError(
                    f"a change from {record.shards} to {record.target} shards is not complete: complete it first"
                )
            if record.latest == shards:
                return record
            begun = record.begin_move(shards, await self._find_generation(shards))
            if await self._count.replace(record, begun) == begun:
                return begun
        raise StoreError("the number of shards of the nodes is being changed by another process")

    async def _find_generation(self, shards: int) -> int:
        """Return the first generation of this number that was not left yet: the first shard of one is closed first."""
        generation = 0
        while await command(int, "EXISTS", self.shards.of(shards, generation)[0].moved):
            generation += 1
        return generation

    async def _move_next(self, record: ShardRecord) -> ShardRecord:
        """Move the next old shard; return the record after that."""
        assert record.target is not None
        old = self.shards.of(record.shards, record.generation)[record.moved]
        new = self.shards.of(record.target, record.next_generation)
        move = await close_shard(old.moved)
        await _ShardMove(old, new, f"{record.shards}.{record.moved}", move, self._find_keys).run()
        after = await self._count.replace(record, record.advance_with_logs())
        if after is None:
            raise StoreError("the record of the shards is gone")
        return after


class _ShardMove:
    """The copying of one closed shard."""

    def __init__(self, old: HealthKeys, new: Sequence[HealthKeys], source: str, move: str, find_keys: FindKeys) -> None:
        self._old = old
        self._new = new
        self._find_keys = find_keys
        self._is_first = source.endswith(".0")
        self._call: tuple[str, str] = source, f"{move}:{secrets.token_hex(8)}"

    async def run(self) -> None:
        """Copy everything to the new shards that do not have it yet, and remove it."""
        ids = await self._list_ids()
        claimed = await Batch([_CLAIM([keys.received], [*self._call], int) for keys in self._new])
        if any(claimed):
            for some in split_chunks(ids, _NODES_A_ROUND):
                await self._copy(some)
            await self._finish()
        for some in split_chunks(ids, _NODES_FORGOTTEN):
            if not await _FORGET([self._old.moved], [*some], int):
                raise self._no_longer_closed()

    def _no_longer_closed(self) -> StoreError:
        return StoreError(f"{self._old.tag} is not closed any more: change the number of shards again")

    async def _list_ids(self) -> list[str]:
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
        yield command(_or_empty, "HGET", old.suspects, node_id)
        yield command(int, "SISMEMBER", old.flapping, node_id)
        for key in (old.node(node_id), old.history(node_id), old.spells_of(node_id)):
            yield command(_or_empty, "DUMP", key)
            yield command(_expiry_ms, "PTTL", key)

    def _receive(self, node_id: str, found: Sequence[Argument]) -> Operation[int]:
        keys = self._new[choose_shard(node_id, len(self._new))]
        return _RECEIVE([keys.received], [*self._call, node_id, *found], int)

    async def _finish(self) -> None:
        if not await command(int, "EXISTS", self._old.moved):  # its master was lost before it was replicated
            raise self._no_longer_closed()
        leader = await command(dict[bytes, bytes], "HGETALL", self._old.leader)
        names = await command(list[bytes], "SMEMBERS", self._old.relay_names)
        rest: list[Argument] = [len(names), *names, *(word for field in leader.items() for word in field)]
        calls: list[Operation[int]] = [
            _FINISH([keys.received], [*self._call, int(self._is_first and at == 0), *rest], int)
            for at, keys in enumerate(self._new)
        ]
        done: list[int] = await Batch(calls)
        if not all(done):
            raise StoreError("another process changes the number of shards of the nodes")


def _or_empty(reply: bytes | None) -> bytes:
    return reply or b""


def _format_score(reply: Any) -> str:
    return "" if reply is None else repr(float(reply))


def _expiry_ms(reply: int) -> int:
    return max(0, reply)
