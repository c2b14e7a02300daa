"""Adds what this worker's store has counted to the totals of the edge, which all its workers share."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from edge_redis._sync import scripts
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.edge_shards import Edge
from edge_redis._sync.failures import MOVED
from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")

SAVE_SECONDS: Final = 5.0
"""How often counts are saved, where there are any."""

Take: TypeAlias = Callable[[], Mapping[str, int]]
"""Returns what was counted since it was called last."""


class LinkTotals:
    """The counts that are not saved yet.

    A save that failed is repeated with its idempotency key and its amounts, so that nothing is counted twice.
    """

    def __init__(self, edge: Edge, cloud: AnyCloudStore) -> None:
        self._edge = edge
        self._take: Take | None = getattr(cloud, "take_link_counts", None)
        self.after_fork()

    def after_fork(self) -> None:
        """Reset state in a forked child: the parent saves what it has counted."""
        self._client_id, self._sequence = secrets.token_hex(8), 1
        self._amounts: Mapping[str, int] = {}
        self._turns = [None]

    @property
    def has_unsaved(self) -> bool:
        """Whether a save has failed and was not repeated yet."""
        return bool(self._amounts)

    async def save(self) -> bool:
        """Save what was counted, where this can be done now; return whether nothing is left."""
        if self._take is None:
            return True
        try:
            self._turns.pop()  # atomic: of several threads, one saves
        except IndexError:
            return False
        try:
            while amounts := self._amounts or self._take():
                self._amounts = amounts
                await self._edge.settle()
                try:
                    await scripts.add_totals(self._edge.home, amounts, (self._client_id, self._sequence))
                except MOVED:
                    if not await self._edge.refresh():
                        raise
                    continue
                self._sequence += 1
                self._amounts = {}
        except EdgeRedisError as error:
            _log.debug("counts of the link are not saved yet: %s", error)
            return False
        finally:
            self._turns.append(None)
        return True
