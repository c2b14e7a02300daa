"""Copies what a closed shard of an edge or of a cloud has of its scopes to other shards, and removes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from edge_redis._core.chunks import split_by_bytes, split_chunks
from edge_redis._core.gather import gather
from edge_redis._core.operation import Argument, Batch, Operation, command
from edge_redis._core.reply_values import or_empty
from edge_redis._core.resharding import Claim, not_closed
from edge_redis._core.script import load
from edge_redis._core.shard_record import choose_shard
from edge_redis._sync.keys import SyncKeys
from edge_redis.errors import StoreError

_RECEIVE_SCOPE: Final = load(__package__, "receive_scope")
_RECEIVE_CALLS: Final = load(__package__, "receive_calls")
_FINISH: Final = load(__package__, "finish_receiving")
_FORGET: Final = load(__package__, "forget_scopes")

_BYTES_A_ROUND: Final = 1024 * 1024
"""Bytes of the states of scopes that are copied in one round trip, or one scope of more."""

_SCOPE_BYTES: Final = 4096
"""What a scope counts beside its state."""

_CALLS_A_ROUND: Final = 500
_HOUR_MS: Final = 3_600_000


class ScopeCopies:
    """The copying of one closed shard, by a process that has claimed the new ones."""

    def __init__(self, old: SyncKeys, new: Sequence[SyncKeys], claim: Claim) -> None:
        self.old = old
        self.new = new
        self.claim = claim

    def target_of(self, scope: bytes) -> SyncKeys:
        """Return the new shard of a scope."""
        return self.new[choose_shard(scope.decode(errors="replace"), len(self.new))]

    async def copy_scopes(self, settings: Mapping[bytes, bytes]) -> None:
        """Copy scopes, each with its settings, "" for none."""
        docs = [self.old.doc(scope.decode(errors="replace")) for scope in settings]
        sizes = await Batch([command(int, "HSTRLEN", doc, "data") for doc in docs]) if docs else []
        for part in split_by_bytes([*settings.items()], [2 * size + _SCOPE_BYTES for size in sizes], _BYTES_A_ROUND):
            await Batch(await gather([self._read_scope(*each) for each in part]))

    async def _read_scope(self, scope: bytes, settings: bytes) -> Operation[int]:
        """Read what the shard has of a scope; return the call that copies it."""
        old, name = self.old, scope.decode(errors="replace")
        reads: list[Operation[Any]] = [
            command(or_empty, "HGET", old.pending_bytes, name),
            command(_format_score, "ZSCORE", old.work, name),
        ]
        reads += [command(or_empty, "DUMP", key) for key in old.all_of_scope(name)]
        words: list[Argument] = [*self.claim, name, settings, *await Batch(reads)]
        return _RECEIVE_SCOPE([self.target_of(scope).received], words, int)

    async def copy_calls(self) -> None:
        """Copy the last calls of clients, so that one that is repeated in a new shard is recognised."""
        now_ms: int = await command(lambda time: int(time[0]) * 1000 + int(time[1]) // 1000, "TIME")
        for hour in (now_ms // _HOUR_MS - 1, now_ms // _HOUR_MS, now_ms // _HOUR_MS + 1):
            position = -1
            while position != 0:
                position, page = await scan(f"{self.old.repeats}:{hour}", max(position, 0))
                for part in split_chunks([*page.items()], _CALLS_A_ROUND):
                    words: list[Argument] = [*self.claim, *(word for pair in part for word in pair)]
                    await Batch([_RECEIVE_CALLS([k.received, f"{k.repeats}:{hour}"], words, int) for k in self.new])

    async def forget(self, scopes: Sequence[bytes]) -> None:
        """Remove scopes from the closed shard.

        Raises:
            StoreError: it is not closed any more.

        """
        if scopes and not await _FORGET([self.old.moved], [self.claim.move, *scopes], int):
            raise not_closed(self.old)

    async def finish(self, keys: SyncKeys, words: Sequence[Argument]) -> None:
        """Give a new shard what the old one has of all its scopes, and end the copying to it.

        Raises:
            StoreError: another process copies.

        """
        if not await _FINISH([keys.received], [*self.claim, *words], int):
            raise StoreError("another process changes the number of shards")


async def read_purge_watermark(old: SyncKeys) -> list[Argument]:
    """Return the newest purged version and clock, in the words of ``finish``."""
    version, clock = await command(list[Any], "HMGET", old.gc_watermark, "version", "clock")
    return ["purged", version or b"0", clock or b""] if version or clock else []


def scan(key: str, position: int, count: int = 200) -> Operation[tuple[int, dict[bytes, bytes]]]:
    """Read some fields of a hash, and the next position, 0 after the last."""
    return command(lambda reply: (int(reply[0]), dict(reply[1])), "HSCAN", key, position, "COUNT", count)


def _format_score(reply: Any) -> str:
    return "" if reply is None else f"{float(reply):.0f}"
