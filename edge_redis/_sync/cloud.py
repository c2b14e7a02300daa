"""The cloud's side: one document a scope, written here or pushed by edges, and the feed that edges follow."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.component import Component
from edge_redis._core.operation import Operation
from edge_redis._sync.change import Change, Feed
from edge_redis._sync.config import MAX_KEPT, Settings
from edge_redis._sync.keys import StateKeys
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS, Limits
from edge_redis._sync.merging import merge_into
from edge_redis._sync.origin import CLOUD_ORIGIN
from edge_redis._sync.replica import TO_MERGE, Replica
from edge_redis._sync.tombstones import COLLECTED_AFTER, collect
from edge_redis._sync.writer import Writer, field_names
from edge_redis.models import ConflictStrategy, SyncEvent, SyncState

MAX_PAGE: Final = 1000
SCOPES_AT_ONCE: Final = 8
_CALL_CHANGES: Final = 200
_CALL_BYTES: Final = 4 * 1024 * 1024


class Cloud(Component):
    """Everything that RedisCloudStore offers, as steps."""

    def __init__(
        self,
        *,
        namespace: str,
        max_history: int,
        max_conflicts: int,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
    ) -> None:
        settings = Settings("cloud", origin=CLOUD_ORIGIN, max_history=max_history, max_conflicts=max_conflicts)
        self._replica = Replica(StateKeys(namespace, "cloud"), settings)
        self._writer = Writer(self._replica, Limits(max_bytes, max_fields))

    def get(self, scope: str) -> Operation[SyncState | None]:
        """Return the present state of a scope, None where there is none.

        Raises:
            CorruptDataError: what is in Redis does not decode.
            ChecksumMismatchError: what is in Redis is not what its checksum was made of.

        """
        return self._replica.state(validation.identifier("scope", scope))

    def update(self, scope: str, data: dict[str, Any], is_delta: bool = False) -> Awaitable[SyncState]:  # noqa: FBT001, FBT002 -- the contract's signature
        """Write a scope's next version in the cloud; every edge will get it. Return it.

        Args:
            scope: the scope's name.
            data: a dict with str keys and values that the codec carries.
            is_delta: merge ``data`` into the top level of the present state instead of replacing it.

        Raises:
            ValueTooLargeError, TooManyFieldsError: the data, or what the delta makes, are over ``max_bytes`` or
                ``max_fields``; nothing was written.
            ChecksumMismatchError: the state that a delta is made of is damaged; nothing was written.

        """
        validation.instance("is_delta", is_delta, bool)
        return self._writer.write(validation.identifier("scope", scope), data, is_delta=is_delta)

    def delete_fields(self, scope: str, *names: str) -> Awaitable[SyncState]:
        """Write a scope's next version without these fields of the top level; every edge will get it. Return it."""
        return self._writer.write(validation.identifier("scope", scope), {}, is_delta=True, without=field_names(names))

    def delete(self, scope: str) -> Awaitable[bool]:
        """Delete a scope, here and at every edge; return whether there was anything.

        A delete is a version like any other: a scope that is created again afterwards stays.
        """
        return self._writer.delete(validation.identifier("scope", scope))

    async def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> str:
        """Let an edge's changes win or lose, in their order; a letter each: a accepted, d known, r refused.

        See ``CloudStore.apply``. Long batches are applied a few hundred at a time. The limits do not
        bind them: they did where the changes were written.

        Raises:
            ChecksumMismatchError: a change is damaged; none of the batch was applied.
            AuthorityConflictError: the scope is LOCAL_WINS at this edge and at another one, which came first.

        """
        validation.identifier("scope", scope)
        for each in changes:
            each.verify()
        if strategy is ConflictStrategy.MERGE:
            return await merge_into(self._replica, scope, changes, "")
        outcome = ""
        for part in _calls(changes):
            letters = await self._replica.apply(scope, part, f"{strategy.value} 0 - {CLOUD_ORIGIN}")
            if letters == TO_MERGE:
                letters = await merge_into(self._replica, scope, part, "")
            outcome += letters
        return outcome

    def changes_since(self, cursor: str = "", limit: int = 100) -> Operation[Feed]:
        """Return up to ``limit`` scopes changed after ``cursor`` and the cursor after them; "" is the beginning."""
        text = validation.text("cursor", cursor)
        return self._replica.feed(text, validation.integer("limit", limit, least=1, most=MAX_PAGE))

    def release_authority(self, scope: str) -> Operation[bool]:
        """Let another edge be the scope's LOCAL_WINS: the one that is, is no more. Return whether there was one."""
        return self._replica.release_authority(validation.identifier("scope", scope))

    def collect(self, deleted_seconds: float = COLLECTED_AFTER) -> Awaitable[int]:
        """Forget the scopes that were deleted so many seconds ago or more, with their history; return how many.

        An edge that was cut off for longer does not hear of their delete, and keeps them until it is told
        anew; what it writes to them brings them back. By default ten days.
        """
        return collect(self._replica, validation.non_negative("deleted_seconds", deleted_seconds))

    def sync_history(self, scope: str, limit: int = 20) -> Operation[list[SyncEvent]]:
        """Return what edges pushed to a scope, the newest ``limit``, oldest first: one event a change."""
        validation.identifier("scope", scope)
        return self._replica.history(scope, validation.integer("limit", limit, least=1, most=MAX_KEPT))

    def conflicts(self, scope: str, limit: int = 20) -> Operation[list[dict[str, Any]]]:
        """Return the losing sides of a scope's newest ``limit`` conflicts in the cloud, oldest first."""
        validation.identifier("scope", scope)
        return self._replica.conflicts(scope, validation.integer("limit", limit, least=1, most=MAX_KEPT))


def _calls(changes: Sequence[Change]) -> list[list[Change]]:
    """Return the changes in parts that are small enough for one call of a script."""
    parts: list[list[Change]] = []
    size = 0
    for each in changes:
        size += len(each.body)
        if not parts or len(parts[-1]) == _CALL_CHANGES or size > _CALL_BYTES:
            parts.append([])
            size = len(each.body)
        parts[-1].append(each)
    return parts
