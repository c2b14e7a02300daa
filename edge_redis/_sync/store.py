"""What a CloudWorker asks of the cloud. RedisCloudStore and SqlCloudStore do it; so may anything else.

A store keeps one document a scope: its present state, as a ``Change``. Changes come up from edges by
``apply`` and go down to them by ``changes_since``. The worker needs nothing else; ``get`` is for people.

What makes a store right is that both of these are *joins*: whatever comes, in whatever order and however often,
the same states in the end are the same document. ``docs/stores.md`` has the rules in words, with an example that
runs. A store that can decide inside a transaction of its own takes them from ``state.deciding`` and ``state.editing``,
which state them without I/O, as SqlCloudStore does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol, runtime_checkable

from edge_redis._sync.change import Change, Feed
from edge_redis.models import ConflictStrategy, SyncState


@runtime_checkable
class CloudStore(Protocol):
    """The cloud's side of the exchange. The methods of one used from ``edge_redis.aio`` may be coroutines.

    One store may be used by many workers, processes and threads at once. Of errors the worker tells three kinds:

    - StoreUnavailableError, StoreRefusedError and OSError are an outage: nothing can be done now. The worker waits
      and tries again, for as long as it takes, and nothing counts against the changes. The call may have taken effect.
    - AuthorityConflictError from ``apply``: the changes stay in the edge's outbox, and the edge's history says why.
    - Any other error from ``apply`` counts against the changes. They are tried one by one, and one that fails
      ``max_deliveries`` times goes to the dead letters. From ``changes_since`` it is waited out like an outage.

    A store may have an attribute ``scopes_at_once``, an int: so many calls of ``apply``, of different scopes, may be
    under way at once from one worker, on threads of their own or awaited together. Without it there is one.
    """

    def get(self, scope: str) -> SyncState | Awaitable[SyncState | None] | None:
        """Return the present state of a scope, None where there is none or it was deleted."""

    def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> object:
        """Make changes of one scope durable, in their order, and return only then.

        A change is a full after-image of the scope and not a difference: ``body`` is its data, encoded, empty where
        the scope was deleted. Keep the whole ``Change``, with its signature, without interpreting the body, and give it
        out again by ``changes_since`` as it was, but for its version (below).

        Changes are delivered at least once: after a lost reply, or by the heir of a worker that was killed, the same
        ones come again, also when later ones of the scope have come in between. One whose version, origin and checksum
        were had before must change nothing. Two workers may call for one scope at the same time: serialize them.

        ``strategy`` says which of two states wins, the present one or that of the edge:

        - LATEST_WINS: that with the greater (clock, origin, checksum).
        - MERGE: neither; ``state.merging.joined(present, change)`` makes one of two. Do the same, whatever the
          strategy, where a body is one of merged fields (``state.merge.is_merged``).
        - REMOTE_WINS and LOCAL_WINS: that with the greater (version, whether the name of the origin is "cloud", origin,
          checksum). Of equal versions, one without an origin does not win. Let one edge alone be a scope's LOCAL_WINS,
          and raise AuthorityConflictError for the changes of another: two would outbid each other without end.

        The version of the document never goes down, whoever wins: it is the highest that was shown, so that every edge
        comes to the same one. What lost, of two states neither of which was written in knowledge of the other, is
        worth keeping: nothing else has it. (``state.deciding`` says which those are.)

        Returns:
            Nothing that is needed; a letter for each change (a accepted, d already there, r refused) is of use, since
            "d" spares the edge an entry in its history when it offers all it has again.

        Raises:
            AuthorityConflictError: the scope is LOCAL_WINS at another edge.
            StoreUnavailableError, StoreRefusedError, OSError: see the class.

        """

    def changes_since(self, cursor: str, limit: int) -> Feed | Awaitable[Feed]:
        """Return up to ``limit`` scopes changed after ``cursor`` ("" is the beginning), oldest change first.

        Each scope stands in the feed once, at its present state; a change moves it to the end. So a page may leave out
        states that were replaced since, and an edge that joins late reads as many states as there are scopes. A state
        that cannot be read any more is named among the feed's ``damaged`` and holds up no other. Tell the strategy by
        which edges have had each scope applied (``strategies``): an edge where nobody has written decides by it.

        The cursor is the store's own text, in which the place after the page is found again. Two promises go with it:

        - Order: what is committed later has a later place. A cursor must never pass over a change whose transaction
          has begun and is not committed, or that change reaches no edge that has read on.
        - Memory: a cursor that the store did not write, or wrote before it lost data, means the beginning, and the
          feed then says that it has ``restarted``: the edge offers all it has again before it goes on. A random name in
          the cursor tells a store that comes back empty. One that comes back older is told by the highest place that it
          remembers to have given out: a cursor past that is from before, and the store takes another name.
        """
