"""Pulls the cloud's changes to the edge, and has the edge's states offered to a cloud that lost data.

A cursor names a store and a position in its feed. A store that was wiped has another id, and one that was restored from
a backup has not reached that position: its feed is marked as restarted. The edge then offers all its states again, and
reads the feed from the beginning. Both ends decide by the same order, so a state that an end already has changes
nothing there.

An edge with several shards reads each page once, for all of them (``feed_positions.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from edge_redis._core.error_text import describe_error
from edge_redis._core.operation import Invoke, Operation
from edge_redis._sync import scripts
from edge_redis._sync.change import Change, Outcome
from edge_redis._sync.clones import Clones
from edge_redis._sync.cloud_health import CloudHealth
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.cloud_store_calls import takes
from edge_redis._sync.delivered_pages import DeliveredPages
from edge_redis._sync.echoes import Echoes
from edge_redis._sync.edge_shards import Edge
from edge_redis._sync.event_recorder import EventRecorder
from edge_redis._sync.failures import OUTAGE, perform_each, perform_on_shards, unavailable
from edge_redis._sync.feed import Feed, check_page
from edge_redis._sync.feed_positions import (
    Position,
    Progress,
    find_beginnings,
    find_reader,
    group_by_beginning,
    identify,
    read_positions,
    save_all,
)
from edge_redis._sync.merge import merge_into
from edge_redis._sync.patterns import Carried, Patterns
from edge_redis._sync.signing import Keyring
from edge_redis._sync.transfer import TransferSize
from edge_redis.errors import CloudMismatchError, EdgeRedisError, StoreOutOfMemoryError, StoreReplyError
from edge_redis.models import SyncEvent

_log = logging.getLogger("edge_redis")

_MAX_PAGES: Final = 1000
"""Pages read by one call at most, so that the call ends even if the feed never does."""


class Puller:
    """Reads the cloud's feed for one edge."""

    def __init__(
        self,
        edge: Edge,
        cloud: AnyCloudStore,
        page: TransferSize,
        keyring: Keyring | None,
        cloud_health: CloudHealth,
        carried: Carried,
        echoes: Echoes,
    ) -> None:
        self._edge = edge
        self._cloud = cloud
        self._keyring = keyring
        self._page = page
        self._cloud_health = cloud_health
        self._echoes = echoes
        self._pulled = carried.pulled
        takes_patterns = takes(cloud, "patterns")
        self._urgent = carried.urgent if carried.urgent.texts and takes_patterns else None
        self._urgent_cursor = ""
        self.push_urgent: Callable[[], Awaitable[int]] | None = None
        """What pushes the urgent changes of the edge, between two pages."""
        self._is_filtered = not self._pulled.has_all and takes_patterns
        self._takes_given = takes(cloud, "given")
        self.delivered = DeliveredPages()
        """The pages that the cloud gave unasked."""
        self._clones = Clones()
        self._events = EventRecorder()
        self.may_change_cloud = True
        """Whether an edge may be carried to another cloud than before, or to one that has lost its data."""
        self.cursor = ""
        """The cursor up to which this worker has read."""
        self.store_id = ""
        """The id of this edge's store; of several shards, the id of each, with commas between them."""
        self.has_more = True
        """Whether the cloud may have more than the last pull has read."""
        self.has_rejected = False
        """Whether the last pull met a state that lost: a LOCAL_WINS edge then has a new change."""

    def deliver(self, after: str, page: Feed) -> None:
        """Keep a page that the cloud gave unasked, which follows the position ``after``. From any thread."""
        if self._takes_given:
            self.delivered.add(after, page if type(page) is Feed and page.is_checked else check_page(page))

    async def apply_delivered(self) -> int:
        """Apply the pages that the cloud gave unasked; return how many of their states were accepted."""
        pages = self.delivered.take(self.cursor)
        if not pages:
            return 0
        positions = await read_positions(self._edge)
        if any(each.cursor != self.cursor.encode() for each in positions):
            return 0
        given: dict[str, Change] = {}
        accepted = 0
        for page in pages:
            feed = page if self._pulled.has_all else self._select_pulled(page)
            readable = await self._select_readable(feed, positions)
            accepted += (await self._apply(readable, feed.strategies)) if readable else 0
            states = dict(feed.changes)  # as the cloud has them: those of `readable` may be countersigned
            given.update((scope, states[scope]) for scope, _ in readable if not self._edge.shard_of(scope).is_full)
        self.delivered.set_given(identify(positions), positions[0].cursor, given)
        return accepted

    async def pull(self) -> int:
        """Apply the next page of the feed that brings anything new; return how many of its states were accepted.

        Most states in the feed were pushed by this edge: pages without anything new are passed over. Where the cloud
        has lost data, some of the edge's states are offered to it; they are counted until all were.
        """
        accepted, has_more, pages, pushed = 0, True, 0, 0
        self.has_rejected = False
        while has_more and not accepted and pages < _MAX_PAGES:
            if pages and self.push_urgent is not None:
                pushed += await self.push_urgent()
            accepted, has_more = await self._apply_page()
            pages += 1
        return accepted + pushed

    async def _apply_page(self) -> tuple[int, bool]:
        positions = await read_positions(self._edge)
        if not self._pulled.has_all:
            await find_beginnings(positions)
        self.store_id = positions[0].replica_id if len(positions) == 1 else identify(positions)
        given = self.delivered.take_given(self.store_id, positions[0].cursor)
        groups = [positions] if len(positions) == 1 else group_by_beginning(positions)
        accepted = 0
        if self._urgent is not None and self.has_more:
            accepted = await self._apply_urgent(groups[0][0].begin, positions)
        progress = Progress()
        for group in groups:
            accepted += await self._apply_next(group, given if len(groups) == 1 else {}, progress)
        self.has_more = progress.has_more
        if not progress.has_pages:
            self._urgent_cursor = ""
        return accepted, progress.goes_on

    async def _apply_next(self, group: Sequence[Position], given: Mapping[str, Change], progress: Progress) -> int:
        """Apply the next page for shards that are at one position."""
        feed = await self._read(group, given)
        # A user's store may leave out whether it has more.
        has_page = feed.has_more or (not feed.is_checked and bool(feed.changes or feed.damaged))
        readers = group if has_page or not progress.at_end else [*group, *progress.find_at_end()]
        accepted = (await self._apply_feed(feed, readers)) if feed.changes or feed.damaged else 0
        self.cursor = feed.cursor
        if self._edge.only is None:
            readers = [each for each in readers if not each.shard.is_full]
        is_saved = await save_all(readers, feed.cursor)
        for each in readers:
            if each.cursor == feed.cursor.encode():
                each.shard.cloud_id = feed.cursor.rpartition(":")[0]
        for each in group:
            if (each.offer or feed.restarted) and not each.shard.is_full:
                stored = b"" if feed.restarted else each.offer  # begun anew, whatever was under way
                with self._edge.leaving_out_full(each.shard):
                    accepted += await each.shard.reoffer.offer_pages(stored, each.replica_id)
                progress.has_more = True
        if has_page:
            progress.has_pages = progress.has_more = True
            progress.goes_on |= is_saved
        else:
            progress.at_end, progress.end = readers, feed.cursor
        return accepted

    async def _apply_feed(self, feed: Feed, readers: Sequence[Position]) -> int:
        readable = await self._select_readable(feed, readers)
        return (await self._apply(readable, feed.strategies)) if readable else 0

    async def _apply_urgent(self, cursor: str, readers: Sequence[Position]) -> int:
        """Apply what the feed has of urgent scopes, before the page at ``cursor``; return how many were accepted.

        They are read from where the last call of this kind has ended. They are in the pages that follow too, where they
        are duplicates. So their position need not be stored, nor be right: what is passed over here comes with those.
        """
        accepted, pages, has_more = 0, 0, True
        while has_more and pages < _MAX_PAGES:
            feed = await self._fetch(self._urgent_cursor or cursor, self._urgent, {})
            if feed.restarted:
                self._urgent_cursor = ""
                break
            accepted += await self._apply_feed(feed, readers)
            has_more = feed.has_more and feed.cursor != self._urgent_cursor
            self._urgent_cursor = feed.cursor
            pages += 1
        return accepted

    async def _read(self, group: Sequence[Position], given: Mapping[str, Change]) -> Feed:
        """Return the next page; where the cloud has lost data, have every scope offered to it again."""
        begin = group[0].begin
        feed = await self._fetch(begin, self._pulled if self._is_filtered else None, given)
        for each in group if feed.restarted else ():
            self._check_cloud(each, feed.cursor.rpartition(":")[0])
            with self._edge.leaving_out_full(each.shard):
                await each.shard.reoffer.begin()
        return feed

    async def _fetch(self, cursor: str, filtered_by: Patterns | None, given: Mapping[str, Change]) -> Feed:
        """Return the next page of the scopes that this worker carries, those of some patterns where it is filtered."""
        try:
            self._page.begin()
            read: Callable[..., Any] = self._cloud.changes_since
            if filtered_by is not None:
                read = partial(read, patterns=filtered_by.texts)
            if given:
                read = partial(read, given=given)
            feed = await Invoke(read, cursor, self._page.size)
            if not (type(feed) is Feed and feed.is_checked):
                feed = check_page(feed)
            if not self._pulled.has_all:
                feed = self._select_pulled(feed)
        except OUTAGE as error:
            self._page.fail()
            raise unavailable(error) from error
        except EdgeRedisError:
            self._cloud_health.feed_fails = True
            raise
        except Exception as error:  # a store may raise anything; `run` waits out errors of this package
            self._cloud_health.feed_fails = True
            raise StoreReplyError(f"the cloud store: {describe_error(error)}") from error
        self._cloud_health.feed_fails = False
        self._page.end(len(feed.changes), sum(len(change.body) for _, change in feed.changes))
        return feed

    def _select_pulled(self, feed: Feed) -> Feed:
        """Return the page with the scopes that this worker carries; a page of others is followed by the next one."""
        changes = [each for each in feed.changes if self._pulled.matches(each[0])]
        damaged = [each for each in feed.damaged if self._pulled.matches(each[0])]
        has_more = feed.has_more or len(changes) + len(damaged) < len(feed.changes) + len(feed.damaged)
        return replace(feed, changes=changes, damaged=damaged, has_more=has_more)

    def _check_cloud(self, position: Position, cloud_id: str) -> None:
        """Refuse a second cloud: this worker's cloud lost nothing, but the edge follows the feed of another one.

        Raises:
            CloudMismatchError: the edge's cursor belongs to another cloud.

        """
        followed = position.begin.rpartition(":")[0]
        if followed and cloud_id != followed and not self.may_change_cloud:
            raise CloudMismatchError(
                "this edge was carried to another cloud, or the cloud has lost its data: nothing was carried; "
                "where this is the right cloud, let the worker change it (may_change_cloud, --new-cloud)"
            )
        if followed and cloud_id == position.shard.cloud_id != followed:
            raise CloudMismatchError(
                "another worker carries this edge to another cloud, or has done so: an edge has one cloud; stop the "
                "worker that names the wrong one, then start the right one again"
            )

    async def _apply(self, changes: list[tuple[str, Change]], strategies: dict[str, str]) -> int:
        edge = self._edge
        operations = [
            scripts.apply(edge.only or edge.of(scope), scope, [change], f"?{strategies.get(scope, '')}")
            for scope, change in changes
        ]
        found = await (perform_each(operations) if edge.only else self._perform_on_shards(changes, operations))
        accepted = 0
        for (scope, change), outcomes in zip(changes, found, strict=True):
            accepted += (await self._merge(scope, change) if outcomes == [] else outcomes) == ["accepted"]
            self.has_rejected |= outcomes == ["rejected"]
        return accepted

    async def _perform_on_shards(
        self, changes: Sequence[tuple[str, Change]], operations: Sequence[Operation[list[Outcome]]]
    ) -> list[list[Outcome] | None]:
        results: list[list[Outcome] | None] = []
        found = await perform_on_shards(operations)
        for (scope, _), each in zip(changes, found, strict=True):
            if isinstance(each, StoreOutOfMemoryError):
                self._edge.set_full(self._edge.shard_of(scope), each)
            results.append(None if isinstance(each, StoreOutOfMemoryError) else each)
        return results

    async def _select_readable(self, feed: Feed, readers: Sequence[Position]) -> list[tuple[str, Change]]:
        """Return the states of a page that may be applied to these shards.

        Damaged ones are logged, recorded and skipped.
        """
        readable: list[tuple[str, Change]] = []
        suspects: list[tuple[Position, str, Change]] = []
        only = readers[0] if self._edge.only else None
        find = find_reader(self._edge, readers) if only is None else None
        for scope, reason in feed.damaged:
            if find is None or find(scope) is not None:
                await self._skip(scope, 0, reason)
        for scope, change in feed.changes:
            reader = find(scope) if find is not None else only
            if reader is None or self._echoes.has(scope, change, reader.replica_id):
                continue
            if await self._is_whole(scope, change):
                readable.append((scope, self._keyring.countersign(scope, change) if self._keyring else change))
                if reader.is_other_run(change.origin):
                    suspects.append((reader, scope, change))
        for reader in readers if suspects else ():
            found = [(scope, change) for each, scope, change in suspects if each is reader]
            with self._edge.leaving_out_full(reader.shard):
                await self._clones.look_for(reader.shard.replica, reader.replica_id, found)
        return readable

    async def _is_whole(self, scope: str, change: Change) -> bool:
        try:
            change.verify()
        except EdgeRedisError as error:
            await self._skip(scope, change.version, str(error))
            return False
        return True

    async def _skip(self, scope: str, version: int, reason: str) -> None:
        _log.error("the cloud's state of %r is left out: %s", scope, reason)
        event = SyncEvent("pull", version, success=False, error=f"left out: {reason}")
        with self._edge.leaving_out_full(self._edge.shard_of(scope)):
            await self._events.try_record(self._edge.of(scope), scope, event)

    async def _merge(self, scope: str, change: Change) -> list[Outcome]:
        outcomes: list[Outcome] = []
        try:
            with self._edge.leaving_out_full(self._edge.shard_of(scope)):
                outcomes = await merge_into(self._edge.of(scope), scope, [change], "", keyring=self._keyring)
        except OUTAGE:
            raise
        except EdgeRedisError as error:  # damaged keys of this scope at the edge must not stop the others
            await self._skip(scope, change.version, str(error))
        return outcomes
