"""The shards of an edge: each has the documents and outboxes of its scopes, a work list, a cursor and an id of its own.

So a shard is complete in itself, as an edge with one shard is: it may lose its data alone, and then it comes back as
another incarnation, and reads the cloud from the beginning. A worker carries all shards: what it reads of the cloud
goes to all of them (``pull.py``), and what it pushes is taken from all of them (``outbox_leases.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from edge_redis._core.operation import command
from edge_redis._core.shard_record import ShardRecord
from edge_redis._core.shards import MAX_SHARDS, Shards, ShardSet
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.config import EndConfig
from edge_redis._sync.failures import MOVED, OUTAGE
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.patterns import Carried
from edge_redis._sync.push_patterns import Registration
from edge_redis._sync.reoffer import Reoffer
from edge_redis._sync.replica import Replica
from edge_redis._sync.signing import Keyring
from edge_redis.errors import EdgeRedisError, StoreOutOfMemoryError

_log = logging.getLogger("edge_redis")


ALL_SOURCES: Final = MAX_SHARDS
"""All shards whose scopes may have been moved to one, which is not the target of a change that is under way."""


class EdgeShard:
    """One shard of the edge of a worker."""

    def __init__(self, keys: SyncKeys, cloud: AnyCloudStore, keyring: Keyring | None, carried: Carried) -> None:
        self.replica = Replica(keys, EndConfig("edge"))
        self.registration = Registration(self.replica, carried)
        self.reoffer = Reoffer(self.replica, cloud, keyring, carried.pushed)
        self.cloud_id = ""
        """The cloud whose feed was read for it last."""
        self.is_full = False
        """Whether it had no memory for what was pulled last: nothing is pulled to it until it has."""
        self.sources = ALL_SOURCES
        """Of so many shards, whose scopes were moved to this one, the worker knows."""

    async def check_memory(self) -> None:
        """Note that a shard that was full has memory again.

        Raises:
            StoreOutOfMemoryError: it has none.

        """
        await command(bool, "SET", self.replica.keys.never, "", "XX")  # refused by a full server, else without effect
        self.is_full = False


class Edge:
    """The edge of one worker: its shards, once their number is known, as one."""

    def __init__(
        self, keys: ShardSet[SyncKeys], cloud: AnyCloudStore, keyring: Keyring | None, carried: Carried
    ) -> None:
        self._keys = keys
        self._make: Callable[[SyncKeys], EdgeShard] = lambda each: EdgeShard(each, cloud, keyring, carried)
        self.shards: Shards[EdgeShard] = Shards()
        """All shards; none before a call has found their number."""
        self.present: Sequence[EdgeShard] = ()
        """Those that answered when the cloud's feed was read last."""
        self.only: Replica | None = None
        """The one shard, where there is only one."""
        self.are_all_read = True
        """Whether the position of each shard could be read last, and none was full."""
        self.is_changing = not keys.known
        """Whether the record of the shards is to be read before the next round."""
        self._refused_by: ShardRecord | None = None
        if keys.known:
            self._set(keys.known)

    async def settle(self) -> None:
        """Find the shards, for a call that writes."""
        if not self.shards:
            self._set(await self._keys.settle())

    def _set(self, keys: Shards[SyncKeys]) -> None:
        record, made = keys.record, {each.replica.keys.tag: each for each in self.shards}
        shards = Shards.of(record, (made.get(each.tag) or self._make(each) for each in keys))
        for place, shard in zip(record.list_places(), shards, strict=True):
            is_new = (place.shards, place.generation) == (record.target, record.next_generation)
            shard.sources = record.moved if is_new else ALL_SOURCES
        self.only = shards[0].replica if len(shards) == 1 else None
        self.shards = self.present = shards
        self.is_changing = record.target is not None

    async def follow(self) -> None:
        """Read the record of the shards again, where it can be read, for a call that writes."""
        if not self.shards:
            await self.settle()
            return
        with suppress(*OUTAGE):
            await self.refresh()

    async def refresh(self) -> bool:
        """Read the record of the shards again; return whether it has changed."""
        keys = await self._keys.refresh()
        if keys.record == self.shards.record:
            return False
        self._set(keys)
        return True

    async def goes_on(self) -> bool:
        """Return whether to begin anew where a shard refused a call: once for each record of the shards.

        Either the record has changed, or the shard is being moved and is left out of the next round.
        """
        is_first, self._refused_by = self._refused_by != self.shards.record, self.shards.record
        return await self.refresh() or (is_first and self.only is None)

    def set_present(self, shards: Sequence[EdgeShard], errors: Sequence[EdgeRedisError]) -> None:
        """Set the shards that answered, and log when others begin not to, or answer again."""
        are_moved = [isinstance(each, MOVED) for each in errors]
        if are_moved and all(are_moved):
            _log.info("%d of %d shards of the edge are being moved", len(errors), len(self.shards))
        elif len(shards) < len(self.present):
            missing = len(self.shards) - len(shards)
            _log.warning("%d of %d shards of the edge do not answer: %s", missing, len(self.shards), errors[0])
        elif len(shards) == len(self.shards) > len(self.present):
            _log.warning("all shards of the edge answer again")
        self.present = shards
        self.are_all_read = not errors
        self.is_changing = self.shards.record.target is not None or any(are_moved)

    @contextmanager
    def leaving_out_full(self, shard: EdgeShard) -> Iterator[None]:
        """Leave a shard out of pulling where it has no memory. An edge of one shard fails as a whole.

        Raises:
            StoreOutOfMemoryError: this is the only shard.

        """
        try:
            yield
        except StoreOutOfMemoryError as error:
            if self.only is not None:
                raise
            self.set_full(shard, error)

    def set_full(self, shard: EdgeShard, error: StoreOutOfMemoryError) -> None:
        """Note that a shard has no memory for what was pulled."""
        if not shard.is_full:
            _log.warning("a shard of the edge has no memory, nothing is pulled to it: %s", error)
        shard.is_full, self.are_all_read = True, False

    async def keys(self) -> Shards[SyncKeys]:
        """Return the keys of each shard, by the record as it is now, for a call that only reads."""
        return await self._keys.refresh()

    @property
    def home(self) -> Replica:
        """The first shard, which has the counts of all; while the number changes, the first new one."""
        record = self.shards.record
        return self.shards[0 if record.target is None else record.shards - record.moved].replica

    def shard_of(self, scope: str) -> EdgeShard:
        """Return the shard that a scope is in."""
        return self.shards.choose(scope)

    def of(self, scope: str) -> Replica:
        """Return the replica of the shard that a scope is in."""
        return self.only or self.shard_of(scope).replica
