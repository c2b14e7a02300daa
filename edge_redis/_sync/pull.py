"""The way down: what changed in the cloud comes to the edge, and a cloud that lost something gets it back.

The place in the cloud's feed names the store and a number in it. A store that was wiped has
another name, one that was restored from a backup has not come so far: it says that its feed
has restarted. The edge then offers every state it has, before it follows the feed from the
beginning. Both ends decide by the same order, so what either has already changes nothing.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Invoke, command
from edge_redis._sync.change import Change, Feed
from edge_redis._sync.config import strategy_of
from edge_redis._sync.failures import OUTAGE, each, unavailable
from edge_redis._sync.merging import merge_into
from edge_redis._sync.replica import TO_MERGE, Replica
from edge_redis._sync.signing import Keyring
from edge_redis._sync.store import CloudStore
from edge_redis.errors import EdgeRedisError, StoreReplyError
from edge_redis.models import SyncEvent

_log = logging.getLogger("edge_redis")

_SCOPES_AT_ONCE: Final = 100


class Puller:
    """Follows the cloud's feed for one edge."""

    def __init__(self, edge: Replica, cloud: CloudStore, batch_size: int, keyring: Keyring | None) -> None:
        self._edge = edge
        self._cloud = cloud
        self._keyring = keyring
        self._batch_size = batch_size
        self._slots = IdempotencyKeys()

    async def pull(self) -> int:
        """Apply the next page of the feed that tells something new; return how many of its states won.

        Most of what an edge reads there it has pushed itself: pages of that alone are passed over.
        """
        accepted, more = 0, True
        while more and not accepted:
            accepted, more = await self._page()
        return accepted

    async def _page(self) -> tuple[int, bool]:
        name, cursor = await self._edge.place()
        try:
            feed = await Invoke(self._cloud.changes_since, cursor, self._batch_size)
            if feed.restarted:
                await self._offer_again()
        except OUTAGE as error:
            raise unavailable(error) from error
        except EdgeRedisError:
            raise
        except Exception as error:  # of whatever store: an error of this package, which `run` waits out
            raise StoreReplyError(f"the cloud store: {error!r}") from error
        whole, told = (await self._whole(feed)), feed.strategies
        outcomes = await each([self._edge.apply(scope, [state], f"?{told.get(scope, '')}") for scope, state in whole])
        for index, outcome in enumerate(outcomes):
            if outcome == TO_MERGE:
                outcomes[index] = await self._merge(*whole[index])
        if feed.cursor != cursor:
            await self._edge.advance(name, cursor, feed.cursor)
        return outcomes.count("a"), bool(feed.changes or feed.damaged) and feed.cursor != cursor

    async def _whole(self, feed: Feed) -> list[tuple[str, Change]]:
        """Return what may be applied of a page; what is damaged is told and passed over until it is written anew."""
        whole = []
        for scope, reason in feed.damaged:
            await self._pass_over(scope, 0, reason)
        for scope, state in feed.changes:
            try:
                state.verify()
            except EdgeRedisError as error:
                await self._pass_over(scope, state.version, str(error))
            else:
                whole.append((scope, self._keyring.vouched(scope, state) if self._keyring else state))
        return whole

    async def _pass_over(self, scope: str, version: int, reason: str) -> None:
        _log.error("the cloud's state of %r is left out: %s", scope, reason)
        await self._note(scope, SyncEvent("pull", version, success=False, error=f"left out: {reason}"))

    async def _merge(self, scope: str, state: Change) -> str:
        try:
            return await merge_into(self._edge, scope, [state], "", keyring=self._keyring)
        except OUTAGE:
            raise
        except EdgeRedisError as error:  # the scope's own keys at the edge: the others go on
            await self._pass_over(scope, state.version, str(error))
            return ""

    async def _note(self, scope: str, event: SyncEvent) -> None:
        try:
            with self._slots.acquire() as (slot, number):
                await self._edge.note(scope, event, slot, number)
        except OUTAGE:
            raise
        except EdgeRedisError as error:
            _log.error("the history of %r does not take an event: %s", scope, error)

    async def _offer_again(self) -> None:
        _log.warning("the cloud is another store than before, or an older one: every scope is offered to it again")
        place: int | None = None
        while place != 0:
            place, found = await command(
                _scanned, "HSCAN", self._edge.keys.scopes, place or 0, "COUNT", _SCOPES_AT_ONCE
            )
            for scope, settings in found:
                try:
                    await self._offer(scope, settings)
                except OUTAGE:
                    raise
                except Exception as error:  # noqa: BLE001 -- of whatever store; the other scopes go on
                    _log.error("%r could not be offered again: %s", scope, error)

    async def _offer(self, scope: str, settings: str) -> None:
        present = await self._edge.document(scope)
        if present is None:
            return
        present.verify()
        if self._keyring:
            present = self._keyring.offered(scope, present)
        outcome = await Invoke(self._cloud.apply, scope, [present], strategy_of(settings))
        if outcome == "d":
            return
        event = SyncEvent("push", present.version, success=True, error="offered again: the cloud had lost data")
        await self._note(scope, event)


def _scanned(reply: Any) -> tuple[int, list[tuple[str, str]]]:
    place, found = reply
    return int(place), [
        (scope.decode(errors="replace"), settings.decode(errors="replace")) for scope, settings in found.items()
    ]
