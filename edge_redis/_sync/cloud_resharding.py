"""Moves the scopes of a cloud in Redis to another number of shards (``_core/resharding.py``).

- Documents are copied first. Their places in the feed follow, in the order of the old feed: each group of scopes gets
  the next numbers of the new feed, at once, so that no reader passes a number whose scope comes later. Each new feed
  keeps which of its numbers were which in the old one (``lua/include/feed_sources.lua``). So a reader with a position
  in the old feed, as every edge has stored one, goes on in the new feeds where it was: it gets every state that it has
  not had, and none that it has had.
- What was moved before from a third shard to the old one goes along: a position there keeps its meaning, too.
- A closed shard is not read: what a reader has not had of it comes from the new ones. So its feed can be removed in
  parts.
- A cloud that keeps accepted changes has one shard, and is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, Self

from edge_redis._core.operation import Argument, Batch, Operation, command
from edge_redis._core.reply_values import decode_text, or_empty
from edge_redis._core.resharding import Claim, ShardChange, check_closed, remove_keys
from edge_redis._core.script import load
from edge_redis._core.shard_record import ShardRecord
from edge_redis._core.shards import ShardCount
from edge_redis._sync.cloud_shards import make_cloud_keys
from edge_redis._sync.keys import LAYOUT_VERSION, SyncKeys
from edge_redis._sync.scope_copies import ScopeCopies, read_purge_watermark
from edge_redis.errors import InvalidArgumentError

_PREPARE: Final = load(__package__, "prepare_cloud_shard")
_LIST_FEED: Final = load(__package__, "list_feed")
_RECEIVE_FEED: Final = load(__package__, "receive_feed")
_RECEIVE_PURGED: Final = load(__package__, "receive_purged")

_SCOPES_A_PAGE: Final = 256
_PLACES_A_PAGE: Final = 4000
"""Places in the feed that are copied together: an interruption of the old order in a new feed is kept for each."""
_PURGED_A_PAGE: Final = 500

_MAX_RANGES: Final = 64
"""Ranges of numbers that are kept of a feed: where there are more, readers with a position in it begin again."""

_LOST: Final = "lost"
"""Of a shard that had lost its data before it was moved: a reader with a position in it is to begin again."""

_OWN_KEYS: Final = (
    "feed", "feed_number", "feed_indexed", "high_water", "sources", "purged", "gc_watermark", "received",
)  # fmt: skip
"""Keys of a shard as a whole, which are removed when it was moved. Its id stays, which readers name."""


class Range(NamedTuple):
    """Numbers of one feed that had become numbers of another: n is base + n - start there, for start < n <= end."""

    start: int
    end: int
    base: int

    def then(self, other: Range) -> Range | None:
        """Return the numbers that became others again, from the first feed to the last; None where none did."""
        low, high = max(self.base, other.start), min(self.base + self.end - self.start, other.end)
        if low >= high:
            return None
        shift = self.start - self.base
        return Range(low + shift, high + shift, other.base + low - other.start)


@dataclass(frozen=True, slots=True)
class Source:
    """What a feed has of another one (``lua/include/feed_sources.lua``)."""

    highest: str = "-"
    """The highest number that a reader was given there; "-" where that is not known yet, or _LOST."""
    ranges: tuple[Range, ...] = ()

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Return what is stored."""
        highest, *ranges = text.decode(errors="replace").split(" ")
        return cls(highest, tuple(Range(*map(int, each.split(":"))) for each in ranges))

    def __str__(self) -> str:
        """Return the text that is stored."""
        return " ".join([self.highest, *(":".join(map(str, each)) for each in self.ranges)])

    def then(self, other: Source) -> Source:
        """Return what a third feed has of this one's, by what it has of the feed in between."""
        found = [joined for first in self.ranges for second in other.ranges if (joined := first.then(second))]
        return replace(self, ranges=tuple(found))

    def add(self, other: Source) -> Source:
        """Return both, as they have come to one feed by different ways."""
        ranges = (*self.ranges, *other.ranges)
        return Source(other.highest, ranges if len(ranges) <= _MAX_RANGES else ())


class CloudResharding(ShardChange[SyncKeys]):
    """The change of the number of shards of a namespace's cloud."""

    units = "the scopes of the cloud"

    def __init__(self, namespace: str) -> None:
        super().__init__(make_cloud_keys(ShardCount(namespace, "cloud", LAYOUT_VERSION, None, 1), namespace))
        self._wake = SyncKeys(namespace, "cloud").wake

    async def prepare(self, record: ShardRecord, begun: ShardRecord) -> None:
        """Give the new shards ids, and let them know those of the old ones.

        Raises:
            InvalidArgumentError: the cloud keeps accepted changes.

        """
        old, new = self.shards.at(record), self.shards.of(begun.latest, begun.next_generation)
        for keys in old:
            if await command(int, "EXISTS", keys.accepted_keep, keys.accepted):
                raise InvalidArgumentError("the cloud keeps accepted changes, which have one order: drop them first")
        now: int = await command(lambda time: int(time[0]) * 1_000_000 + int(time[1]), "TIME")
        known: list[Argument] = []
        for number, keys in enumerate(old):
            await command(bool, "SET", keys.replica_id, _new_id(now), "NX")  # readers are recognised by it
            store_id, sources = await Batch[Any]([_read_id(keys), _read_sources(keys)])
            known += (store_id, f"-{number}")
            for name, each in sources.items():
                known += (name, _LOST if each.highest == _LOST else "-")
        await Batch([_PREPARE([keys.sources], [_new_id(now), *known], int) for keys in new])

    async def move(self, old: SyncKeys, new: Sequence[SyncKeys], claim: Claim, *, is_copied: bool) -> None:
        """Copy everything to the new shards that do not have it yet, and remove it."""
        copies = ScopeCopies(old, new, claim)
        if not is_copied:
            await _Copying(copies).run()
        while page := await _list_feed(old, 0, _SCOPES_A_PAGE):
            await copies.forget([scope for scope, _ in page])
        await remove_keys(old, claim, [f"{old.tag}:{name}" for name in _OWN_KEYS])

    async def on_moved(self) -> None:
        """Wake the workers."""
        await command(int, "PUBLISH", self._wake, "")


class _Copying:
    """The copying of one closed shard."""

    def __init__(self, copies: ScopeCopies) -> None:
        self._copies = copies
        self._old = copies.old
        self._new = copies.new
        self._claim = copies.claim

    async def run(self) -> None:
        """Copy everything, the feed last."""
        number = 0
        while page := await _list_feed(self._old, number, _SCOPES_A_PAGE):
            await self._copies.copy_scopes(dict.fromkeys([scope for scope, _ in page], b""))
            number = page[-1][1]
        await self._copies.copy_calls()
        await self._copy_purged()
        store_id, sources = await Batch[Any]([_read_id(self._old), _read_sources(self._old)])
        await self._copy_feed(store_id)
        await self._finish(store_id, sources)

    async def _copy_purged(self) -> None:
        position = -1
        while position != 0:
            scan = command(_from_scan, "ZSCAN", self._old.purged, max(position, 0), "COUNT", _PURGED_A_PAGE)
            position, page = await scan
            calls: dict[str, list[Argument]] = {}
            for scope, clock in page:
                keys = self._copies.target_of(scope)
                words = calls.setdefault(keys.tag, [keys.received, keys.purged])
                words += (clock, scope)
            if calls:
                await Batch(
                    [
                        _RECEIVE_PURGED([str(each) for each in words[:2]], [*self._claim, *words[2:]], int)
                        for words in calls.values()
                    ]
                )

    async def _copy_feed(self, store_id: str) -> None:
        number, done = 0, dict.fromkeys([keys.tag for keys in self._new], 0)
        while page := await _list_feed(self._old, number, _PLACES_A_PAGE):
            number = page[-1][1]
            places: dict[str, list[Argument]] = {}
            for scope, at in page:
                places.setdefault(self._copies.target_of(scope).tag, []).extend((scope, at))
            calls = [
                _RECEIVE_FEED([k.received], [*self._claim, store_id, done[k.tag], number, *places[k.tag]], int)
                for k in self._new
                if k.tag in places
            ]
            await Batch(calls)
            done |= dict.fromkeys(places, number)

    async def _finish(self, store_id: str, sources: Mapping[str, Source]) -> None:
        await check_closed(self._old, self._claim)
        shared = await read_purge_watermark(self._old)
        highest = await command(or_empty, "GET", self._old.high_water)
        for keys in self._new:
            here = await _read_sources(keys)
            own = replace(here.get(store_id, Source()), highest=highest.decode() or "0")
            present = f"-{self._claim.source.partition('.')[2]}"
            found = {name: Source(_LOST) for name, each in here.items() if each.highest == present}
            found |= {name: here.get(name, Source()).add(each.then(own)) for name, each in sources.items()}
            words = [*shared]
            for name, each in {**found, store_id: own}.items():
                words += ("feed", name, str(each))
            await self._copies.finish(keys, words)


def _new_id(now: int) -> str:
    """Return an id for a store, at this time in microseconds."""
    return f"{secrets.token_hex(8)}-{now:016d}"


def _read_id(keys: SyncKeys) -> Operation[str]:
    return command(decode_text, "GET", keys.replica_id)


def _read_sources(keys: SyncKeys) -> Operation[dict[str, Source]]:
    return command(
        lambda reply: {name.decode(errors="replace"): Source.parse(text) for name, text in reply.items()},
        "HGETALL",
        keys.sources,
    )


def _list_feed(keys: SyncKeys, after: int, count: int) -> Operation[list[tuple[bytes, int]]]:
    return _LIST_FEED([keys.feed], [after, count], lambda reply: [*_pairs(reply)])


def _pairs(reply: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    return ((scope, int(number)) for scope, number in zip(reply[::2], reply[1::2], strict=True))


def _from_scan(reply: Any) -> tuple[int, list[tuple[bytes, str]]]:
    position, found = reply
    pairs = found.items() if isinstance(found, dict) else found
    return int(position), [(scope, f"{float(score):.0f}") for scope, score in pairs]
