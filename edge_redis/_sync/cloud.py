"""The cloud's side in Redis: a document for each scope, written here or pushed by edges, and the feed of changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TypeAlias

from edge_redis._core import validation
from edge_redis._core.chunks import split_by_bytes
from edge_redis._core.component import Component
from edge_redis._core.gather import gather_each
from edge_redis._sync import scripts
from edge_redis._sync.accepted import Accepted
from edge_redis._sync.change import Change, Outcome
from edge_redis._sync.cloud_store import FeedReader
from edge_redis._sync.config import MAX_KEPT, EndConfig
from edge_redis._sync.downlink import Downlink
from edge_redis._sync.failures import OUTAGE
from edge_redis._sync.feed import Feed
from edge_redis._sync.hints import Hints, cloud_hints
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS, WriteLimits
from edge_redis._sync.link import LinkCounters
from edge_redis._sync.patterns import ALL, check_patterns
from edge_redis._sync.replica import Replica
from edge_redis._sync.scripts import NOTHING_GIVEN
from edge_redis._sync.tombstones import TOMBSTONE_SECONDS, purge
from edge_redis._sync.uplink import Uplink
from edge_redis._sync.version_guard import check_if_version
from edge_redis._sync.writer import VersionWriter, check_field_names
from edge_redis.errors import EdgeRedisError
from edge_redis.models import ConflictStrategy, SyncEvent, SyncState

MAX_PAGE: Final = 1000
_EVERY: Final = (ALL,)
SCOPES_AT_ONCE: Final = 8
_CHANGES_A_CALL: Final = 200
_BYTES_A_CALL: Final = 4 * 1024 * 1024
_BYTES_A_ROUND_TRIP: Final = 1024 * 1024
"""Bytes of the bodies of several scopes that are sent together, or one scope's changes of more."""

Batched: TypeAlias = tuple[Sequence[Change], ConflictStrategy]
"""The changes of a scope and the strategy of their edge."""


class Cloud(Component):
    """The methods of RedisCloudStore, as coroutines. ``RedisCloudStore`` documents each of them in full."""

    def __init__(
        self,
        *,
        namespace: str,
        max_history: int,
        max_conflicts: int,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
        new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._replica = Replica(SyncKeys(namespace, "cloud"), EndConfig.of_cloud(max_history, max_conflicts))
        self._writer = VersionWriter(self._replica, WriteLimits(max_bytes, max_fields))
        self._known = KnownStates(new_mutex=new_mutex)
        self.link = LinkCounters(new_mutex)
        self._uplink = Uplink(self._replica, self._known, self.link)
        self._downlink = Downlink(self._replica, self._known, self.link)
        self.accepted = Accepted(self._replica.keys)

    async def get(self, scope: str) -> SyncState | None:
        """Return the present state of a scope, None where there is none."""
        return await self._replica.read_state(validation.check_identifier("scope", scope))

    async def update(
        self,
        scope: str,
        data: dict[str, Any],
        is_delta: bool = False,  # noqa: FBT001, FBT002 -- the signature that docs/reference promises
        *,
        if_version: int | None = None,
    ) -> SyncState:
        """Write a scope's next version in the cloud; return it."""
        if type(is_delta) is not bool:
            raise validation.type_error("is_delta", is_delta, "a bool")
        if if_version is not None:
            check_if_version(if_version)
        validation.check_identifier("scope", scope)
        return await self._writer.write(scope, data, is_delta=is_delta, if_version=if_version)

    async def delete_fields(self, scope: str, *names: str) -> SyncState:
        """Write a scope's next version without these top-level fields; return it."""
        validation.check_identifier("scope", scope)
        return await self._writer.write(scope, {}, is_delta=True, without=check_field_names(names))

    async def delete(self, scope: str) -> bool:
        """Delete a scope as its next version; return whether it had a state."""
        return await self._writer.delete(validation.check_identifier("scope", scope))

    async def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> list[Outcome]:
        """Apply an edge's changes by its strategy, in their order; return the outcome of each."""
        validation.check_identifier("scope", scope)
        for each in changes:
            each.verify()
        self._downlink.note_sent(changes)
        if strategy is ConflictStrategy.MERGE:
            return await self._uplink.merge(scope, changes)
        settings = f"{strategy.value} 0 - {self._replica.config.origin}"
        outcomes: list[Outcome] = []
        for part in _split_changes(changes):
            found = await self._uplink.apply(scope, part, settings)
            outcomes += found or await self._uplink.merge(scope, part)
        return outcomes

    async def apply_many(self, batches: Mapping[str, Batched]) -> dict[str, list[Outcome] | EdgeRedisError]:
        """Apply changes of several scopes together; return the outcomes, or the error, of each scope."""
        for scope in batches:
            validation.check_identifier("scope", scope)
        sizes = [sum(len(each.body) for each in changes) for changes, _ in batches.values()]
        results: dict[str, list[Outcome] | EdgeRedisError] = {}
        for part in split_by_bytes([*batches.items()], sizes, _BYTES_A_ROUND_TRIP):
            found = await gather_each([self.apply(scope, *batch) for scope, batch in part], self.link.add_batch)
            results |= zip([scope for scope, _ in part], found, strict=True)
            if all(isinstance(each, OUTAGE) for each in found):
                return dict.fromkeys(batches, found[0]) | results  # the others would wait for it as long
        return results

    def after_fork(self) -> None:
        """Forget, in a forked child, what was known of the cloud."""
        self._known.after_fork()
        self.link.after_fork()

    async def changes_since(
        self,
        cursor: str = "",
        limit: int = 100,
        patterns: Sequence[str] = _EVERY,
        given: Mapping[str, Change] = NOTHING_GIVEN,
    ) -> Feed:
        """Return up to ``limit`` scopes changed after ``cursor`` and the cursor after them; "" is the beginning."""
        text = validation.check_text("cursor", cursor)
        most = validation.check_integer("limit", limit, least=1, most=MAX_PAGE)
        wanted = () if patterns == _EVERY else check_patterns("patterns", patterns)
        return await self._downlink.read(text, most, () if wanted == _EVERY else wanted, given)

    def hints(self, reader: FeedReader) -> Hints:
        """Return the hints of changes for one worker."""
        return cloud_hints(self._replica.keys, reader, self._downlink.read_hint)

    async def release_authority(self, scope: str) -> bool:
        """Let another edge become the scope's LOCAL_WINS; return whether there was one."""
        return await scripts.release_authority(self._replica, validation.check_identifier("scope", scope))

    async def purge_tombstones(self, older_than_seconds: float = TOMBSTONE_SECONDS) -> int:
        """Remove scopes that were deleted longer ago than this, with their history; return how many."""
        return await purge(self._replica, validation.check_non_negative("older_than_seconds", older_than_seconds))

    async def sync_history(self, scope: str, limit: int = 20) -> list[SyncEvent]:
        """Return the newest ``limit`` changes that edges pushed to a scope, oldest first."""
        validation.check_identifier("scope", scope)
        return await self._replica.read_history(scope, validation.check_integer("limit", limit, least=1, most=MAX_KEPT))

    async def conflicts(self, scope: str, limit: int = 20) -> list[dict[str, Any]]:
        """Return the losing sides of a scope's newest ``limit`` conflicts in the cloud, oldest first."""
        validation.check_identifier("scope", scope)
        return await self._replica.read_conflicts(
            scope, validation.check_integer("limit", limit, least=1, most=MAX_KEPT)
        )


def _split_changes(changes: Sequence[Change]) -> list[list[Change]]:
    """Return the changes in parts that are small enough for one call of a script."""
    parts: list[list[Change]] = []
    size = 0
    for each in changes:
        size += len(each.body)
        if not parts or len(parts[-1]) == _CHANGES_A_CALL or size > _BYTES_A_CALL:
            parts.append([])
            size = len(each.body)
        parts[-1].append(each)
    return parts
