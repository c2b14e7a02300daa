"""Offers an edge's states again to a cloud that lost data, a page at a time.

The position is stored at the edge: pushing and pulling go on between the pages, and another worker can continue.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from edge_redis._core.chunks import split_by_bytes
from edge_redis._core.error_text import describe_error
from edge_redis._core.operation import Invoke, InvokeAll, command
from edge_redis._sync import scripts
from edge_redis._sync.change import Change
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.config import strategy_of
from edge_redis._sync.event_recorder import EventRecorder
from edge_redis._sync.failures import OUTAGE, perform_each, unavailable
from edge_redis._sync.patterns import Patterns
from edge_redis._sync.replica import Replica
from edge_redis._sync.signing import Keyring
from edge_redis.errors import EdgeRedisError, StoreOutOfMemoryError
from edge_redis.models import SyncEvent

_log = logging.getLogger("edge_redis")

_SCOPES_A_PAGE: Final = 32
_OFFER_BYTES: Final = 8 * 1024 * 1024
"""Bytes of the states that are read and offered together, or one state of more."""

_PAGES: Final = 8
"""Pages offered in one round of a worker; it pushes and pulls between the rounds."""


class Reoffer:
    """Offers every scope of an edge to the cloud again.

    The position is one of HSCAN over the edge's scopes, which holds as long as the server runs. The edge's id is
    remembered with it, which is another one after a restart of the server, or a failover: then the offer begins anew.
    """

    def __init__(self, edge: Replica, cloud: AnyCloudStore, keyring: Keyring | None, pushed: Patterns) -> None:
        self._edge = edge
        self._cloud = cloud
        self._keyring = keyring
        self._pushed = pushed
        self._scopes_at_once: int = getattr(cloud, "scopes_at_once", 1)
        self._events = EventRecorder()

    async def begin(self) -> None:
        """Begin to offer every scope, from the first one."""
        _log.warning("the cloud is another store than before, or an older one: every scope is offered to it again")
        await scripts.set_reoffer(self._edge, "- 0")

    async def offer_pages(self, stored: bytes, replica_id: str) -> int:
        """Offer the next scopes after the stored position; return how many, 0 where these were the last."""
        of_replica, position = _parse_position(stored)
        if of_replica != replica_id:
            position = 0
        offered = 0
        for _ in range(_PAGES):
            position, scopes = await command(
                _decode_scan, "HSCAN", self._edge.keys.scopes, position, "COUNT", _SCOPES_A_PAGE
            )
            await self._offer([each for each in scopes if self._pushed.matches(each[0])])
            offered += len(scopes)
            if position == 0:
                await scripts.set_reoffer(self._edge, "")
                return 0
            await scripts.set_reoffer(self._edge, f"{replica_id} {position}")
        return offered

    async def _offer(self, scopes: list[tuple[str, str]]) -> None:
        """Offer scopes, as many together as are not too large."""
        keys = [self._edge.keys.doc(scope) for scope, _ in scopes]
        sizes = await perform_each([command(int, "HSTRLEN", key, "data") for key in keys])
        for part in split_by_bytes(scopes, [size or 0 for size in sizes], _OFFER_BYTES):
            await self._offer_together(part)

    async def _offer_together(self, scopes: list[tuple[str, str]]) -> None:
        documents = await perform_each([self._edge.read_document(scope) for scope, _ in scopes])
        calls: dict[str, tuple[Change, Invoke[object]]] = {}
        for (scope, settings), present in zip(scopes, documents, strict=True):
            if present is not None and (state := self._prepare(scope, present)) is not None:
                calls[scope] = state, Invoke(self._cloud.apply, scope, [state], strategy_of(settings))
        outcomes = (await InvokeAll([call for _, call in calls.values()], self._scopes_at_once)) if calls else []
        for (scope, (state, _)), outcome in zip(calls.items(), outcomes, strict=True):
            if isinstance(outcome, OUTAGE):
                raise unavailable(outcome) from outcome
            if isinstance(outcome, Exception):  # a store may raise anything; the other scopes are still offered
                _log.error("%r could not be offered again: %s", scope, describe_error(outcome))
            elif outcome != ["duplicate"]:
                await self._record(scope, state.version)

    def _prepare(self, scope: str, present: Change) -> Change | None:
        """Return a state that may be offered, None of a damaged or unsigned one."""
        try:
            present.verify()
            return self._keyring.prepare_reoffer(scope, present) if self._keyring else present
        except OUTAGE:
            raise
        except EdgeRedisError as error:
            _log.error("%r could not be offered again: %s", scope, error)
            return None

    async def _record(self, scope: str, version: int) -> None:
        event = SyncEvent("push", version, success=True, error="offered again: the cloud had lost data")
        try:
            await self._events.try_record(self._edge, scope, event)
        except StoreOutOfMemoryError as error:  # a full edge goes on without the entry
            _log.warning("the event could not be added to the history of %r: %s", scope, error)


def _parse_position(found: bytes) -> tuple[str, int]:
    replica_id, _, position = found.decode(errors="replace").partition(" ")
    return replica_id, int(position) if position.isascii() and position.isdigit() else 0


def _decode_scan(reply: Any) -> tuple[int, list[tuple[str, str]]]:
    position, found = reply
    return int(position), [
        (scope.decode(errors="replace"), settings.decode(errors="replace")) for scope, settings in found.items()
    ]
