"""The shards of a cloud in Redis: each has the documents of its scopes and a feed of its own, complete in itself.

The position of a reader is one in each feed (``feed_cursor.py``). While scopes are moved to other shards
(``cloud_resharding.py``), it is one in each feed of the old shards that were not moved, and in each of the new ones.
What was moved is in the new feeds, in the same order, and each new feed knows which numbers it had in the old one: so
the position in an old feed says what a reader has had of a new one, and goes along until all new feeds were read to
their ends. A closed shard is left out meanwhile: nothing is written to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from edge_redis._core.gather import gather_each
from edge_redis._core.operation import Batch, command
from edge_redis._core.reply_values import decode_text
from edge_redis._core.shards import ShardCount, Shards, ShardSet, share_of
from edge_redis._sync.change import Change
from edge_redis._sync.config import EndConfig
from edge_redis._sync.downlink import Downlink
from edge_redis._sync.failures import MOVED
from edge_redis._sync.feed import Feed
from edge_redis._sync.feed_cursor import join_cursor, split_cursor
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.limits import WriteLimits
from edge_redis._sync.link import LinkCounters
from edge_redis._sync.replica import Replica
from edge_redis._sync.uplink import Uplink
from edge_redis._sync.writer import Relocate, VersionWriter
from edge_redis.errors import EdgeRedisError


class CloudShard:
    """One shard: its keys, what writes to it, and the ways up and down."""

    def __init__(
        self, replica: Replica, limits: WriteLimits, known: KnownStates, link: LinkCounters, relocate: Relocate
    ) -> None:
        self.tag = replica.keys.tag
        self.moved = replica.keys.moved
        self.replica = replica
        self.writer = VersionWriter(replica, limits, relocate=relocate)
        self.uplink = Uplink(replica, known, link)
        self.downlink = Downlink(replica, known, link)


def make_cloud_keys(count: ShardCount, namespace: str) -> ShardSet[SyncKeys]:
    """Return the keys of each shard of a namespace's cloud."""
    return ShardSet(count, lambda name, *_: SyncKeys(namespace, "cloud", shard=name))


def make_shards(
    count: ShardCount,
    namespace: str,
    config: EndConfig,
    limits: WriteLimits,
    known: KnownStates,
    link: LinkCounters,
    relocate: Relocate,
) -> ShardSet[CloudShard]:
    """Return the shards of a namespace's cloud."""

    def make(name: str, *_: int) -> CloudShard:
        return CloudShard(Replica(SyncKeys(namespace, "cloud", shard=name), config), limits, known, link, relocate)

    return ShardSet(count, make)


class _Reading:
    """What one call has read so far."""

    def __init__(self, cursor: str, limit: int) -> None:
        self.numbers = split_cursor(cursor)
        """The reader's position in each feed, by the id of its store."""
        self.left = limit
        """So many scopes more are read."""
        self.pages: list[Feed] = []
        self.has_more = False
        self.is_refused = False
        """Whether a shard was closed."""


class FeedOfShards:
    """Reads the feeds of several shards as one."""

    def __init__(self, shards: ShardSet[CloudShard]) -> None:
        self._shards = shards
        self._ids: dict[str, str] = {}
        """The ids of the stores, by the hash tags of the shards."""
        self._first = 0
        """The shard that the next call begins with: where few scopes are wanted, each has its turn."""

    async def read(self, cursor: str, limit: int, patterns: Sequence[str], given: Mapping[str, Change]) -> Feed:
        """Return a page of up to ``limit`` scopes, taken from all feeds in even shares, as far as they have as many."""
        reading, is_recent = _Reading(cursor, limit), False
        present = await self._shards.find()
        while True:
            await self._read_shards(present, reading, patterns, given)
            if is_recent or not (reading.is_refused or any(self._list_left(present, reading))):
                break
            record, is_recent = present.record, True
            present = await self._shards.refresh()
            if present.record == record:
                break
        if not (reading.has_more or reading.is_refused):  # all that was moved was in the feeds that were read now
            for each in [*self._list_left(present, reading)]:
                del reading.numbers[each]
        return _join(reading.pages, join_cursor(reading.numbers), has_more=reading.has_more)

    def _list_left(self, present: Shards[CloudShard], reading: _Reading) -> Iterator[str]:
        """Return the feeds that the reader has a position in, and that are none of the present ones."""
        ids = {self._ids.get(shard.tag) for shard in present}
        return (each for each in reading.numbers if each not in ids)

    async def _read_shards(
        self, present: Shards[CloudShard], reading: _Reading, patterns: Sequence[str], given: Mapping[str, Change]
    ) -> None:
        await self._find_ids(present)
        record, first = present.record, self._first % len(present)
        first_new = len(present) if record.target is None else record.shards - record.moved
        waiting = [*range(first, len(present)), *range(first)]
        rounds = -(-len(present) // max(reading.left, 1)) + 1
        found: list[tuple[bool, Feed]] = []
        reading.is_refused = False
        while reading.left > 0 and waiting and rounds > 0:
            rounds -= 1
            some, waiting = waiting[: reading.left], waiting[reading.left :]
            cursors = [self._cursor_of(present, number, reading, is_new=number >= first_new) for number in some]
            reads = [
                present[number].downlink.read(cursor, share_of(reading.left, at, len(some)), patterns, given)
                for at, (number, cursor) in enumerate(zip(some, cursors, strict=True))
            ]
            for number, page in zip(some, await gather_each(reads), strict=True):
                if isinstance(page, MOVED):
                    reading.is_refused = True
                elif isinstance(page, EdgeRedisError):
                    raise page
                else:
                    self._add(present, number, reading, page)
                    found.append((number >= first_new, page))
                    waiting += [number] if page.has_more else []
        self._first = waiting[0] if waiting else 0
        # A scope may have been moved between two reads, and changed: what the new shard had is newer.
        reading.pages += [page for is_new in (False, True) for is_of_new, page in found if is_of_new == is_new]
        reading.has_more = bool(waiting)
        if not any(self._list_left(present, reading)):  # else a feed without a position may be of a lost shard
            for store_id in filter(None, (self._ids.get(present[number].tag) for number in waiting)):
                reading.numbers.setdefault(store_id, "0")

    async def _find_ids(self, present: Shards[CloudShard]) -> None:
        """Find which feed each position is in. One feed knows this by itself."""
        missing = [shard for shard in present if shard.tag not in self._ids]
        if missing and len(present) > 1:
            reads = [command(decode_text, "GET", shard.replica.keys.replica_id) for shard in missing]
            found = await Batch(reads)
            self._ids |= {shard.tag: each for shard, each in zip(missing, found, strict=True) if each}

    def _cursor_of(self, present: Shards[CloudShard], number: int, reading: _Reading, *, is_new: bool) -> str:
        """Return the position in one feed, with those in feeds whose scopes may have been moved to it."""
        numbers = reading.numbers
        if len(present) == 1:
            return join_cursor(numbers)
        ids = [self._ids.get(present[number].tag), *self._list_left(present, reading)]
        if is_new and number:  # the next old shard may be on its way
            ids.append(self._ids.get(present[0].tag))
        return join_cursor({each: numbers[each] for each in ids if each in numbers})

    def _add(self, present: Shards[CloudShard], number: int, reading: _Reading, page: Feed) -> None:
        store_id, _, at = page.cursor.rpartition(":")
        tag = present[number].tag
        if self._ids.get(tag) != store_id:
            reading.numbers.pop(self._ids.get(tag, ""), None)  # of a shard that has lost its data
            self._ids[tag] = store_id
        if page.restarted:
            for each in [*self._list_left(present, reading)]:
                del reading.numbers[each]
        reading.numbers[store_id] = at
        reading.left -= len(page.changes) + len(page.damaged)


def _join(pages: Sequence[Feed], cursor: str, *, has_more: bool) -> Feed:
    """Return one page of several; a scope that changed between two pages of its feed stands there as it is last."""
    changes: dict[str, Change] = {}
    damaged: dict[str, str] = {}
    feed = Feed(cursor, [], any(page.restarted for page in pages), has_more=has_more, is_checked=True)
    for page in pages:
        feed.strategies.update(page.strategies)
        for scope, change in page.changes:
            damaged.pop(scope, None)
            changes[scope] = change
        for scope, reason in page.damaged:
            changes.pop(scope, None)
            damaged[scope] = reason
    feed.changes.extend(changes.items())
    feed.damaged.extend(damaged.items())
    return feed


def keep_position(cursor: str, page: Feed) -> Feed:
    """Return a page that more follow, whose cursor has the position in a feed that was moved to this one."""
    numbers = split_cursor(page.cursor)
    if page.restarted or numbers.keys() == split_cursor(cursor).keys():
        return page
    return replace(page, cursor=join_cursor(numbers | split_cursor(cursor)))
