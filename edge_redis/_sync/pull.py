"""Pulls the cloud's changes to the edge, and has the edge's states offered to a cloud that lost data.

A cursor names a store and a position in its feed. A store that was wiped has another id, and one that was restored from
a backup has not reached that position: its feed is marked as restarted. The edge then offers all its states again, and
reads the feed from the beginning. Both ends decide by the same order, so a state that an end already has changes
nothing there.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from edge_redis._core.error_text import describe_error
from edge_redis._core.operation import Invoke, command
from edge_redis._sync import scripts
from edge_redis._sync.change import Change, Outcome
from edge_redis._sync.clones import Clones
from edge_redis._sync.cloud_health import CloudHealth
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.cloud_store_calls import takes
from edge_redis._sync.delivered_pages import DeliveredPages
from edge_redis._sync.echoes import Echoes
from edge_redis._sync.event_recorder import EventRecorder
from edge_redis._sync.failures import OUTAGE, perform_each, unavailable
from edge_redis._sync.feed import Feed, check_page
from edge_redis._sync.merge import merge_into
from edge_redis._sync.origin import RUN
from edge_redis._sync.patterns import Carried, Patterns
from edge_redis._sync.push_patterns import Registration
from edge_redis._sync.reoffer import Reoffer
from edge_redis._sync.replica import Replica
from edge_redis._sync.signing import Keyring
from edge_redis._sync.transfer import TransferSize
from edge_redis.errors import CloudMismatchError, EdgeRedisError, StoreReplyError
from edge_redis.models import SyncEvent

_log = logging.getLogger("edge_redis")

_MAX_PAGES: Final = 1000
"""Pages read by one call at most, so that the call ends even if the feed never does."""


class Puller:
    """Reads the cloud's feed for one edge."""

    def __init__(
        self,
        edge: Replica,
        cloud: AnyCloudStore,
        page: TransferSize,
        keyring: Keyring | None,
        cloud_health: CloudHealth,
        carried: Carried,
        echoes: Echoes,
        registration: Registration,
    ) -> None:
        self._edge = edge
        self._cloud = cloud
        self._keyring = keyring
        self._page = page
        self._cloud_health = cloud_health
        self._echoes = echoes
        self._registration = registration
        self._pulled = carried.pulled
        takes_patterns = takes(cloud, "patterns")
        self._urgent = carried.urgent if carried.urgent.texts and takes_patterns else None
        self._urgent_cursor = ""
        self.push_urgent: Callable[[], Awaitable[int]] | None = None
        """What pushes the urgent changes of the edge, between two pages."""
        self._is_filtered = not self._pulled.has_all and takes_patterns
        self._takes_given = takes(cloud, "given")
        self._delivered = DeliveredPages()
        self._reoffer = Reoffer(edge, cloud, keyring, carried.pushed)
        self._clones = Clones(edge)
        self._events = EventRecorder(edge)
        self._cloud_id = ""
        self.may_change_cloud = True
        """Whether an edge may be carried to another cloud than before, or to one that has lost its data."""
        self.cursor = ""
        """The cursor up to which this worker has read."""
        self.store_id = ""
        """The id of this edge's store."""
        self.has_more = True
        """Whether the cloud may have more than the last pull has read."""
        self.has_rejected = False
        """Whether the last pull met a state that lost: a LOCAL_WINS edge then has a new change."""

    def deliver(self, after: str, page: Feed) -> None:
        """Keep a page that the cloud gave unasked, which follows the position ``after``. From any thread."""
        if self._takes_given:
            self._delivered.add(after, page if type(page) is Feed and page.is_checked else check_page(page))

    @property
    def has_delivered(self) -> bool:
        """Whether the cloud gave pages unasked."""
        return self._delivered.are_there

    async def apply_delivered(self) -> int:
        """Apply the pages that the cloud gave unasked; return how many of their states were accepted."""
        pages = self._delivered.take(self.cursor)
        if not pages:
            return 0
        replica_id, cursor, *_ = await scripts.read_cursor(self._edge, self._registration.push)
        if cursor != self.cursor.encode():
            return 0
        given: dict[str, Change] = {}
        accepted = 0
        for page in pages:
            feed = page if self._pulled.has_all else self._select_pulled(page)
            readable = await self._select_readable(feed, replica_id)
            accepted += (await self._apply(readable, feed.strategies)) if readable else 0
            states = dict(feed.changes)  # as the cloud has them: those of `readable` may be countersigned
            given.update((scope, states[scope]) for scope, _ in readable)
        self._delivered.set_given(replica_id, cursor, given)
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
        replica_id, cursor, offer, is_missing = await scripts.read_cursor(self._edge, self._registration.push)
        self._registration.is_missing |= is_missing
        given = self._delivered.take_given(replica_id, cursor)
        begin = (cursor or await self._read_first_cursor()).decode(errors="replace")
        urgent = (await self._apply_urgent(begin, replica_id)) if self._urgent is not None and self.has_more else 0
        feed = await self._read(begin, given)
        accepted = urgent + ((await self._apply_feed(feed, replica_id)) if feed.changes or feed.damaged else 0)
        is_saved = False
        self.cursor, self.store_id = feed.cursor, replica_id
        if feed.cursor.encode() != cursor:
            is_saved = bool(await scripts.save_cursor(self._edge, replica_id, cursor, feed.cursor))
        if offer or feed.restarted:
            accepted += await self._reoffer.offer_pages(offer)
        # A user's store may leave out whether it has more.
        goes_on = feed.has_more or (not feed.is_checked and bool(feed.changes or feed.damaged))
        self.has_more = bool(offer) or feed.restarted or goes_on
        if not goes_on:
            self._urgent_cursor = ""
        return accepted, goes_on and is_saved

    async def _apply_feed(self, feed: Feed, replica_id: str) -> int:
        readable = await self._select_readable(feed, replica_id)
        return (await self._apply(readable, feed.strategies)) if readable else 0

    async def _apply_urgent(self, cursor: str, replica_id: str) -> int:
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
            accepted += await self._apply_feed(feed, replica_id)
            has_more = feed.has_more and feed.cursor != self._urgent_cursor
            self._urgent_cursor = feed.cursor
            pages += 1
        return accepted

    async def _read_first_cursor(self) -> bytes:
        """Return where a worker begins that carries other scopes than the workers before it.

        It goes on from where all scopes were read to the last time, since what it carries is among them. Otherwise it
        reads from the beginning.
        """
        if self._pulled.has_all:
            return b""
        return await command(lambda found: found or b"", "GET", self._edge.keys.cursor_of_all)

    async def _read(self, cursor: str, given: Mapping[str, Change]) -> Feed:
        """Return the next page; where the cloud has lost data, have every scope offered to it again."""
        feed = await self._fetch(cursor, self._pulled if self._is_filtered else None, given)
        cloud_id = feed.cursor.rpartition(":")[0]
        if feed.restarted:
            self._check_cloud(cursor, cloud_id)
            await self._reoffer.begin()
        self._cloud_id = cloud_id
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

    def _check_cloud(self, cursor: str, cloud_id: str) -> None:
        """Refuse a second cloud: this worker's cloud lost nothing, but the edge follows the feed of another one.

        Raises:
            CloudMismatchError: the edge's cursor belongs to another cloud.

        """
        followed = cursor.rpartition(":")[0]
        if followed and cloud_id != followed and not self.may_change_cloud:
            raise CloudMismatchError(
                "this edge was carried to another cloud, or the cloud has lost its data: nothing was carried; "
                "where this is the right cloud, let the worker change it (may_change_cloud, --new-cloud)"
            )
        if followed and cloud_id == self._cloud_id != followed:
            raise CloudMismatchError(
                "another worker carries this edge to another cloud, or has done so: an edge has one cloud; stop the "
                "worker that names the wrong one, then start the right one again"
            )

    async def _apply(self, changes: list[tuple[str, Change]], strategies: dict[str, str]) -> int:
        operations = [
            scripts.apply(self._edge, scope, [change], f"?{strategies.get(scope, '')}") for scope, change in changes
        ]
        found = await perform_each(operations)
        accepted = 0
        for (scope, change), outcomes in zip(changes, found, strict=True):
            accepted += (await self._merge(scope, change) if outcomes == [] else outcomes) == ["accepted"]
            self.has_rejected |= outcomes == ["rejected"]
        return accepted

    async def _select_readable(self, feed: Feed, replica_id: str) -> list[tuple[str, Change]]:
        """Return the states of a page that may be applied. Damaged ones are logged, recorded and skipped."""
        readable, suspects = [], []
        lineage = replica_id.partition(RUN)[0]
        for scope, reason in feed.damaged:
            await self._skip(scope, 0, reason)
        for scope, change in feed.changes:
            if self._echoes.has(scope, change, replica_id):
                continue
            try:
                change.verify()
            except EdgeRedisError as error:
                await self._skip(scope, change.version, str(error))
            else:
                readable.append((scope, self._keyring.countersign(scope, change) if self._keyring else change))
                if lineage in change.origin and not change.origin.endswith(replica_id):
                    suspects.append((scope, change))
        if suspects:
            await self._clones.look_for(replica_id, suspects)
        return readable

    async def _skip(self, scope: str, version: int, reason: str) -> None:
        _log.error("the cloud's state of %r is left out: %s", scope, reason)
        await self._events.try_record(scope, SyncEvent("pull", version, success=False, error=f"left out: {reason}"))

    async def _merge(self, scope: str, change: Change) -> list[Outcome]:
        try:
            return await merge_into(self._edge, scope, [change], "", keyring=self._keyring)
        except OUTAGE:
            raise
        except EdgeRedisError as error:  # damaged keys of this scope at the edge must not stop the others
            await self._skip(scope, change.version, str(error))
            return []
