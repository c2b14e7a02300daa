"""Removal of many entries of one shard: expired ones, by tag, by prefix, or all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from edge_redis._cache.accesses import Accesses
from edge_redis._cache.process_copies import ProcessCopies
from edge_redis._cache.script_replies import Removal
from edge_redis._cache.script_requests import CallId
from edge_redis._cache.scripts import PURGE_CHUNK, Scripts
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Operation

_INDEXES: Final = (1, 2)
"""The indexes that ``repair_index`` repairs, by their numbers there."""


class BulkRemover:
    """Removes entries of one shard in bounded steps.

    Args:
        scripts: of the shard.
        accesses: of the shard.
        idempotency: hands out the keys of calls.
        copies: of the shard's entries in this process.
        fingerprint: of the options of the cache.

    """

    def __init__(
        self,
        scripts: Scripts,
        accesses: Accesses,
        idempotency: IdempotencyKeys,
        copies: ProcessCopies,
        fingerprint: str,
    ) -> None:
        self._scripts = scripts
        self._accesses = accesses
        self._idempotency = idempotency
        self._copies = copies
        self._fingerprint = fingerprint

    async def clear(self) -> int:
        """Remove every entry; return how many were live."""
        await self._accesses.flush()
        return await self._remove_all(partial(self._scripts.clear, self._fingerprint))

    async def invalidate_tag(self, tag: str) -> int:
        """Remove every entry that carries ``tag``; return how many were live."""
        return await self._remove_all(partial(self._scripts.invalidate_tag, tag))

    async def _remove_all(self, build: Callable[[CallId], Operation[Removal]]) -> int:
        """Run the operation that ``build`` makes until it has no more to remove."""
        removed, has_more = 0, True
        try:
            while has_more:
                with self._idempotency.acquire() as call:
                    step = await build(call)
                removed, has_more = removed + step.removed, step.has_more
        finally:
            self._copies.invalidate(None)
        return removed

    async def invalidate_prefix(self, prefix: str) -> int:
        """Remove every entry whose key begins with ``prefix``; return how many were live."""
        removed, cursor = 0, 0
        try:
            while True:
                with self._idempotency.acquire() as call:
                    count, cursor = await self._scripts.invalidate_prefix(prefix, cursor, call)
                removed += count
                if not cursor:
                    return removed
        finally:
            self._copies.invalidate(None)

    async def purge_expired(self) -> int:
        """Remove expired entries, and repair the indexes; return how many had expired."""
        await self._accesses.flush()
        removed = await self.purge()
        for index in _INDEXES:
            cursor = await self._scripts.repair_index(index, 0)
            while cursor:
                cursor = await self._scripts.repair_index(index, cursor)
        return removed

    async def purge(self) -> int:
        """Remove the entries that the index knows as expired; return how many."""
        removed, last = 0, PURGE_CHUNK
        while last == PURGE_CHUNK:
            with self._idempotency.acquire() as call:
                last = await self._scripts.purge(call)
            removed += last
        return removed
