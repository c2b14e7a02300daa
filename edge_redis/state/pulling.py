"""The way down: what changed in the cloud comes to the edge, and a cloud that lost something gets it back.

The place in the cloud's feed names the store and a number in it. A store that was wiped has
another name, one that was restored from a backup has not come so far: it says that its feed
has restarted. The edge then offers every state it has, before it follows the feed from the
beginning. Both ends decide by the same order, so what either has already changes nothing.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from edge_redis.core.operation import Call, Flow, command
from edge_redis.core.repeats import Slots
from edge_redis.errors import EdgeRedisError, StoreReplyError
from edge_redis.models import SyncEvent
from edge_redis.state.change import Change, Feed
from edge_redis.state.merging import merge_into
from edge_redis.state.operations import TO_MERGE, Replica
from edge_redis.state.settings import strategy_of
from edge_redis.state.signing import Keyring
from edge_redis.state.store import CloudStore
from edge_redis.state.trouble import OUTAGE, each, unavailable

_log = logging.getLogger("edge_redis")

_SCOPES_AT_ONCE: Final = 100


class Puller:
    """Follows the cloud's feed for one edge."""

    def __init__(self, edge: Replica, cloud: CloudStore, batch_size: int, keyring: Keyring | None) -> None:
        self._edge = edge
        self._cloud = cloud
        self._keyring = keyring
        self._batch_size = batch_size
        self._slots = Slots()

    def pull(self) -> Flow[int]:
        """Apply the next page of the feed that tells something new; return how many of its states won.

        Most of what an edge reads there it has pushed itself: pages of that alone are passed over.
        """
        accepted, more = 0, True
        while more and not accepted:
            accepted, more = yield from self._page()
        return accepted

    def _page(self) -> Flow[tuple[int, bool]]:
        name, cursor = yield from self._edge.place()
        try:
            feed = yield from Call(self._cloud.changes_since, cursor, self._batch_size)
            if feed.restarted:
                yield from self._offer_again()
        except OUTAGE as error:
            raise unavailable(error) from error
        except EdgeRedisError:
            raise
        except Exception as error:  # of whatever store: an error of this package, which `run` waits out
            raise StoreReplyError(f"the cloud store: {error!r}") from error
        whole, told = (yield from self._whole(feed)), feed.strategies
        outcomes = yield from each(
            [self._edge.apply(scope, [state], f"?{told.get(scope, '')}") for scope, state in whole]
        )
        for index, outcome in enumerate(outcomes):
            if outcome == TO_MERGE:
                outcomes[index] = yield from self._merge(*whole[index])
        if feed.cursor != cursor:
            yield from self._edge.advance(name, cursor, feed.cursor)
        return outcomes.count("a"), bool(feed.changes or feed.damaged) and feed.cursor != cursor

    def _whole(self, feed: Feed) -> Flow[list[tuple[str, Change]]]:
        """Return what may be applied of a page; what is damaged is told and passed over until it is written anew."""
        whole = []
        for scope, reason in feed.damaged:
            yield from self._pass_over(scope, 0, reason)
        for scope, state in feed.changes:
            try:
                state.verify()
            except EdgeRedisError as error:
                yield from self._pass_over(scope, state.version, str(error))
            else:
                whole.append((scope, self._keyring.vouched(scope, state) if self._keyring else state))
        return whole

    def _pass_over(self, scope: str, version: int, reason: str) -> Flow[None]:
        _log.error("the cloud's state of %r is left out: %s", scope, reason)
        yield from self._note(scope, SyncEvent("pull", version, success=False, error=f"left out: {reason}"))

    def _merge(self, scope: str, state: Change) -> Flow[str]:
        try:
            return (yield from merge_into(self._edge, scope, [state], "", keyring=self._keyring))
        except OUTAGE:
            raise
        except EdgeRedisError as error:  # the scope's own keys at the edge: the others go on
            yield from self._pass_over(scope, state.version, str(error))
            return ""

    def _note(self, scope: str, event: SyncEvent) -> Flow[None]:
        try:
            with self._slots.hold() as (slot, number):
                yield from self._edge.note(scope, event, slot, number)
        except OUTAGE:
            raise
        except EdgeRedisError as error:
            _log.error("the history of %r does not take an event: %s", scope, error)

    def _offer_again(self) -> Flow[None]:
        _log.warning("the cloud is another store than before, or an older one: every scope is offered to it again")
        place: int | None = None
        while place != 0:
            place, found = yield from command(
                _scanned, "HSCAN", self._edge.keys.scopes, place or 0, "COUNT", _SCOPES_AT_ONCE
            )
            for scope, settings in found:
                try:
                    yield from self._offer(scope, settings)
                except OUTAGE:
                    raise
                except Exception as error:  # noqa: BLE001 -- of whatever store; the other scopes go on
                    _log.error("%r could not be offered again: %s", scope, error)

    def _offer(self, scope: str, settings: str) -> Flow[None]:
        present = yield from self._edge.document(scope)
        if present is None:
            return
        present.verify()
        if self._keyring:
            present = self._keyring.offered(scope, present)
        outcome = yield from Call(self._cloud.apply, scope, [present], strategy_of(settings))
        if outcome == "d":
            return
        event = SyncEvent("push", present.version, success=True, error="offered again: the cloud had lost data")
        yield from self._note(scope, event)


def _scanned(reply: Any) -> tuple[int, list[tuple[str, str]]]:  # noqa: ANN401 -- as the client gives it
    place, found = reply
    return int(place), [
        (scope.decode(errors="replace"), settings.decode(errors="replace")) for scope, settings in found.items()
    ]
