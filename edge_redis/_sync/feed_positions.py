"""How far each shard of an edge has read the cloud's feed.

All shards are at one cursor as a rule, and a page is read once for all of them. One that lost its data, or could not be
reached for a while, is at another one: then a page is read for each cursor. They come together where the pages reach
the end of the feed. A cursor was given before the pages of this call were read, so it is not past the end that one of
these pages has reached: a later page that reaches the end too has all that came between these two ends. It is applied
to the shards of the earlier page as well, and its cursor is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from edge_redis._core.gather import gather_each
from edge_redis._core.operation import Batch, command
from edge_redis._core.reply_values import decode_text
from edge_redis._sync import scripts
from edge_redis._sync.edge_shards import ALL_SOURCES, Edge, EdgeShard
from edge_redis._sync.failures import MOVED, OUTAGE
from edge_redis._sync.origin import RUN
from edge_redis.errors import EdgeRedisError, StoreOutOfMemoryError


@dataclass(slots=True)
class Position:
    """The position of one shard."""

    shard: EdgeShard
    replica_id: str
    """The incarnation of the shard that it belongs to."""
    cursor: bytes
    """As it is stored, "" for the beginning."""
    offer: bytes
    """How far its scopes were offered again to a cloud that lost data, "" where that is not under way."""
    begin: str
    """The cursor after which the next page begins."""
    sources: int = ALL_SOURCES
    """As the shard had it when this was read."""

    def is_other_run(self, origin: str) -> bool:
        """Return whether an origin is of this shard, but of another run of its server, or of a clone."""
        return self.replica_id.partition(RUN)[0] in origin and not origin.endswith(self.replica_id)


@dataclass(slots=True)
class Progress:
    """What the pages of one call have shown."""

    has_pages: bool = False
    """Whether the feed goes on after one of them."""
    has_more: bool = False
    """The same, or whether scopes are being offered again."""
    goes_on: bool = False
    """Whether the feed goes on after a page whose cursor was saved."""
    at_end: Sequence[Position] = ()
    """The shards whose page has reached the end of the feed."""
    end: str = ""
    """The cursor that they were given."""

    def find_at_end(self) -> list[Position]:
        """Return those at which that cursor could be saved."""
        return [each for each in self.at_end if each.cursor == self.end.encode()]


FindReader: TypeAlias = Callable[[str], Position | None]


async def read_positions(edge: Edge) -> list[Position]:
    """Read the position of each shard that answers.

    Raises:
        EdgeRedisError: none does.

    """
    if edge.only is not None:
        return [await _read_position(edge.shards[0])]
    found = await gather_each([_read_position(shard) for shard in edge.shards])
    errors = [each for each in found if isinstance(each, EdgeRedisError)]
    if len(errors) == len(found):
        raise errors[0]
    present = [shard for shard, each in zip(edge.shards, found, strict=True) if not _is_outage(each)]
    edge.set_present(present, errors)
    return [each for each in found if isinstance(each, Position)]


async def _read_position(shard: EdgeShard) -> Position:
    if shard.is_full:
        await shard.check_memory()
    sources = shard.sources
    replica_id, cursor, offer, is_missing = await scripts.read_cursor(shard.replica, shard.registration.push)
    shard.registration.is_missing |= is_missing
    return Position(shard, replica_id, cursor, offer, cursor.decode(errors="replace"), sources)


def _is_outage(found: object) -> bool:
    """Return whether a shard can do nothing. One that is out of memory can still be drained."""
    return isinstance(found, (*OUTAGE, *MOVED)) and not isinstance(found, StoreOutOfMemoryError)


async def find_beginnings(positions: Sequence[Position]) -> None:
    """Find where a worker begins that carries other scopes than the workers before it.

    It goes on from where all scopes were read to the last time, since what it carries is among them. Otherwise it reads
    from the beginning.
    """
    new = [each for each in positions if not each.cursor]
    if new:
        found = await Batch([command(decode_text, "GET", each.shard.replica.keys.cursor_of_all) for each in new])
        for each, begin in zip(new, found, strict=True):
            each.begin = begin


def identify(positions: Sequence[Position]) -> str:
    """Return what names the incarnations of these shards: their ids, with commas between them."""
    return ",".join(each.replica_id for each in positions)


def group_by_beginning(positions: Iterable[Position]) -> list[list[Position]]:
    """Return the positions at which the same page follows together, most of them first."""
    groups: dict[str, list[Position]] = {}
    for each in positions:
        groups.setdefault(each.begin, []).append(each)
    return sorted(groups.values(), key=len, reverse=True)


def find_reader(edge: Edge, readers: Sequence[Position]) -> FindReader:
    """Return what finds the position of the shard that a scope is in, None where it is not among these."""
    by_shard = {id(each.shard): each for each in readers}
    return lambda scope: by_shard.get(id(edge.shard_of(scope)))


async def save_all(positions: Sequence[Position], cursor: str) -> bool:
    """Store the cursor up to which all of these shards have the feed; return whether it is a new one of any.

    It is not stored where a shard has lost its data since, or has another cursor by now.
    """
    text, is_new = cursor.encode(), False
    moving, saves = [], []
    for each in positions:
        if each.cursor != text:
            moving.append(each)
            saves.append(scripts.save_cursor(each.shard.replica, each.replica_id, each.cursor, cursor, each.sources))
    if not saves:
        return False
    saved = [(await saves[0])] if len(saves) == 1 else await Batch(saves)
    for each, is_saved in zip(moving, saved, strict=True):
        if is_saved:
            each.cursor, is_new = text, True
    return is_new
