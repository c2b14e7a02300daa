"""The shards of a cloud in Redis: each has the documents of its scopes and a feed of its own, complete in itself.

The position of a reader is one in each feed. Its text has the ids of the stores, a colon, and the numbers, as in
``a,b,c:5,0,7``: so what precedes the colon names the cloud, as it does where there is one feed.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge_redis._core.gather import gather
from edge_redis._core.shards import ShardCount, ShardSet, share_of
from edge_redis._sync.change import Change
from edge_redis._sync.config import EndConfig
from edge_redis._sync.downlink import Downlink
from edge_redis._sync.feed import Feed
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.limits import WriteLimits
from edge_redis._sync.link import LinkCounters
from edge_redis._sync.replica import Replica
from edge_redis._sync.uplink import Uplink
from edge_redis._sync.writer import VersionWriter


class CloudShard:
    """One shard: its keys, what writes to it, and the ways up and down."""

    def __init__(self, replica: Replica, limits: WriteLimits, known: KnownStates, link: LinkCounters) -> None:
        self.replica = replica
        self.writer = VersionWriter(replica, limits)
        self.uplink = Uplink(replica, known, link)
        self.downlink = Downlink(replica, known, link)


def make_shards(
    count: ShardCount, namespace: str, config: EndConfig, limits: WriteLimits, known: KnownStates, link: LinkCounters
) -> ShardSet[CloudShard]:
    """Return the shards of a namespace's cloud."""

    def make(name: str, *_: int) -> CloudShard:
        return CloudShard(Replica(SyncKeys(namespace, "cloud", shard=name), config), limits, known, link)

    return ShardSet(count, make)


class FeedOfShards:
    """Reads the feeds of several shards as one."""

    def __init__(self) -> None:
        self._first = 0
        """The shard that the next call begins with: where few scopes are wanted, each has its turn."""

    async def read(self, shards: Sequence[CloudShard], cursor: str, limit: int, patterns: Sequence[str]) -> Feed:
        """Return a page of up to ``limit`` scopes, taken from all feeds in even shares, as far as they have as many."""
        cursors = split_cursor(cursor, len(shards))
        waiting = [(self._first + at) % len(shards) for at in range(len(shards))]
        pages: list[Feed] = []
        left, rounds = limit, -(-len(shards) // limit) + 1
        while left > 0 and waiting and rounds > 0:
            rounds -= 1
            some, waiting = waiting[:left], waiting[left:]
            sizes = [share_of(left, at, len(some)) for at in range(len(some))]
            reads = [
                shards[number].downlink.read(cursors[number], size, patterns)
                for number, size in zip(some, sizes, strict=True)
            ]
            for number, page in zip(some, await gather(reads), strict=True):
                cursors[number] = page.cursor
                left -= len(page.changes) + len(page.damaged)
                pages.append(page)
                if page.has_more:
                    waiting.append(number)
        self._first = waiting[0] if waiting else 0
        return _join(pages, join_cursors(cursors), has_more=bool(waiting))


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


def split_cursor(cursor: str, shards: int) -> list[str]:
    """Return the cursor of each feed. One of another number of feeds goes to the first, which will not know it."""
    ids, _, numbers = cursor.rpartition(":")
    parts = [f"{store}:{number}" for store, number in zip(ids.split(","), numbers.split(","), strict=False)]
    if len(parts) == ids.count(",") + 1 == numbers.count(",") + 1 == shards:
        return ["" if part == ":" else part for part in parts]
    return [cursor, *[""] * (shards - 1)]


def join_cursors(cursors: Sequence[str]) -> str:
    """Return the cursors of all feeds as one text; that of a feed that was not read yet is empty."""
    parts = [cursor.rpartition(":") for cursor in cursors]
    return f"{','.join(store for store, *_ in parts)}:{','.join(number for *_, number in parts)}"
