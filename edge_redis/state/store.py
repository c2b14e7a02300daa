"""What a CloudWorker asks of the cloud. RedisCloudStore does it; so may anything else."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, runtime_checkable

from edge_redis.models import ConflictStrategy, SyncState
from edge_redis.state.change import Change, Feed


@runtime_checkable
class CloudStore(Protocol):
    """The cloud's side of the exchange. The methods of one used from ``edge_redis.aio`` may be coroutines.

    A store may have an attribute ``scopes_at_once``, an int: so many calls of ``apply``, of different
    scopes, may be under way at once, on threads of their own or awaited together. Without it there is one.

    A store that cannot be reached raises StoreUnavailableError or OSError: the worker waits and
    tries again. Any other error counts against the change, which in the end goes to the dead letters.
    """

    def get(self, scope: str) -> SyncState | Awaitable[SyncState | None] | None:
        """Return the present state of a scope, None where there is none."""

    def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> object:
        """Make changes of one scope durable, in their order, and return only then.

        Changes are delivered at least once. So that each takes effect once, one whose version,
        origin and checksum were had before must change nothing. Whoever signs changes wants the
        signature kept with the state and told in the feed. ``strategy`` says which of two
        states wins: by clock (LATEST_WINS), field by field (MERGE: ``state.merging.joined`` makes one of two), and
        by version in every other case. A store may refuse a second edge that is LOCAL_WINS.
        """

    def changes_since(self, cursor: str, limit: int) -> Feed | Awaitable[Feed]:
        """Return up to ``limit`` scopes changed after ``cursor`` ("" is the beginning), oldest change first.

        The cursor is the store's own text. One that it did not write, or wrote before it lost
        data, means the beginning, and the feed then says that it has restarted: the edge offers all it
        has again. A state that cannot be read any more is named among the feed's ``damaged`` and holds
        up no other.
        """
