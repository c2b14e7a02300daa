"""The interface of a CloudWorker to the cloud. RedisCloudStore and SqlCloudStore implement it; other classes may.

A store keeps one document for each scope: its present state, as a ``Change``. Changes come up from edges by ``apply``
and go down to them by ``changes_since``. When changes fail again and again, the worker calls ``get`` to
find out whether the store works at all.

``apply`` must be a *join*: the same states lead to the same document, in whatever order and however often they come.
The guide to cloud stores explains the rules, with an example that runs. A store that can decide
inside a transaction of its own takes them from ``edge_redis.cloudstores``: ``resolve``, ``write_update`` and
``write_delete`` state them without I/O, and SqlCloudStore uses them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from edge_redis._sync.change import Change
from edge_redis._sync.feed import Feed
from edge_redis.models import ConflictStrategy, SyncState


class FeedReader(Protocol):
    """A worker that waits for changes of the cloud, as a store's ``listen`` gets it."""

    @property
    def cursor(self) -> str:
        """The cursor up to which it has read; "" where it has not read yet."""

    @property
    def store_id(self) -> str:
        """The end of the origin of states that its edge has written; "" where it has not read yet.

        An edge with several shards has one for each, with commas between them.
        """

    @property
    def segments(self) -> Sequence[str] | None:
        """What the scopes that it carries begin with, up to a slash or their end; None where that is anything."""

    def deliver(self, after: str, page: Feed) -> None:
        """Give the worker a page of the feed unasked, which follows the cursor ``after``; then call ``wake``.

        The worker applies it at once where it has read up to ``after``. It reads the feed from there all the same, and
        passes what it was given as ``given``, a dict of scopes and states, which the store leaves out. A store whose
        ``changes_since`` has no such parameter cannot use this. Thread-safe.
        """

    def wake(self, is_news: Callable[[str], bool] | None = None) -> None:
        """Let the worker read soon: something has changed, or the store can report changes again. Thread-safe.

        With ``is_news`` the worker reads only if that is true for the cursor that the worker has by then.
        """


class FeedListener(Protocol):
    """What a store's ``listen`` returns: it calls ``wake`` of its reader from its start until it is closed."""

    @property
    def is_listening(self) -> bool:
        """Whether the reader is woken of every change now. Until it is, the worker polls."""

    def start(self) -> object:
        """Begin to listen, and return at once; on the worker's own thread or event loop."""

    def close(self) -> Awaitable[object] | None:
        """Stop listening; on the worker's own thread."""


@runtime_checkable
class CloudStore(Protocol):
    """The cloud's side of the exchange, for blocking clients; ``AsyncCloudStore`` is the same with coroutines.

    Many workers, processes and threads may use one store at once. The worker distinguishes three kinds of errors:

    - StoreUnavailableError, StoreRefusedError and OSError are an outage: nothing can be done now. The worker waits
      and tries again, for as long as it takes, and nothing counts against the changes. The call may have taken effect.
    - AuthorityConflictError from ``apply``: the changes stay in the edge's outbox, and the edge's history says why.
    - Any other error from ``apply`` counts against the changes. They are tried one by one, and one that fails
      ``max_deliveries`` times goes to the dead letters. From ``changes_since`` it is waited out like an outage.

    A store may have an attribute ``scopes_at_once``, an int: so many calls of ``apply``, of different scopes, may be
    under way at once from one worker, on threads of their own or awaited together. Without it there is one.

    ``changes_since`` may have a third parameter ``patterns``, a sequence of str: then it returns only scopes that match
    one of them (``*`` stands for any text, ``?`` for one character, nothing else is special). A worker that carries a
    part of the scopes passes it by name, with a cursor of its own. Of a store without it, the worker leaves out what it
    does not carry.

    A store that can report changes may have a method ``listen(reader: FeedReader) -> FeedListener``. A running worker
    calls it once, and it must return at once. The worker then reads when ``reader.wake`` is called, and about once a
    minute. A store without this method is read every ``poll_interval_seconds``.

    A store may have a method ``apply_many(batches)``: ``batches`` maps scopes to tuples of changes and strategy. It
    applies them as ``apply`` does, in fewer round trips, and returns a dict with the error of each scope that failed.
    There is one call of it at a time from one worker, which may come from a thread of its own.

    A store may have a method ``count_bytes(add: Callable[[int], None])``, and then calls ``add`` with the bytes that it
    sends and receives. Without it, a worker with ``max_bytes_per_second`` counts the bodies of changes alone.
    """

    def get(self, scope: str) -> SyncState | None:
        """Return the present state of a scope, None where there is none or it was deleted."""

    def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> object:
        """Make changes of one scope durable, in their order, and return only then.

        A change is a full state of the scope and not a difference: ``body`` is its data, encoded, empty where the
        scope was deleted. Keep the whole ``Change``, with its signature, without interpreting the body, and return it
        from ``changes_since`` as it was, but for its version (below).

        Changes are delivered at least once: after a lost reply, or by the successor of a worker that was killed, the
        same changes come again, also when later ones of the scope have come in between. A change whose version, origin
        and checksum came before must change nothing. Two workers may call for one scope at the same time: serialize
        them.

        ``strategy`` says which of two states wins, the present one or that of the edge:

        - LATEST_WINS: the one with the greater (clock, origin, checksum).
        - MERGE: neither; ``merge_states(present, change)`` makes one of two. Do the same, whatever the strategy,
          where a body is one of merged fields (``is_merged``).
        - REMOTE_WINS and LOCAL_WINS: the one with the greater (version, whether the name of the origin is "cloud",
          origin, checksum). Of equal versions, a state without an origin does not win. Let one edge alone be a scope's
          LOCAL_WINS, and raise AuthorityConflictError for the changes of another: two would outbid each other without
          end.

        The version of the document never goes down, whichever state wins: it is the highest that was ever given, so
        that every edge comes to the same one. Where neither of two states was written in knowledge of the other, keep
        the loser: nothing else has it (``Decision.conflicts`` lists these).

        Returns:
            Any value. A list of one outcome for each change ("accepted", "duplicate" or "rejected") is of use:
            ["duplicate"] spares the edge an entry in its history when it offers everything again.

        Raises:
            AuthorityConflictError: the scope is LOCAL_WINS at another edge.
            StoreUnavailableError, StoreRefusedError, OSError: see the class.

        """

    def changes_since(self, cursor: str, limit: int) -> Feed:
        """Return up to ``limit`` scopes changed after ``cursor`` ("" is the beginning), oldest change first.

        Each scope stands in the feed once, at its present state; a change moves it to the end. So a page may leave out
        states that were replaced since, and an edge that joins late reads as many states as there are scopes. A state
        that cannot be read any more is named among the feed's ``damaged`` and holds up no other. ``strategies`` gives
        the strategy by which edges push each scope: an edge that has not written the scope decides by it.

        The cursor is the store's own text, which names the position after the page. It makes two promises:

        - Order: a change that is committed later has a later position. A cursor must never pass over a change whose
          transaction has begun and is not committed: the change would not reach edges that have read on.
        - Memory: a cursor that the store did not write, or wrote before it lost data, means the beginning, and the
          feed then says that it has ``restarted``: the edge offers all its states again before it goes on. A random
          id in the cursor shows that a store came back empty. A store that was restored from a backup is found by the
          highest position that it remembers to have given out: a cursor past that is from before, and the store takes
          another id.
        """


@runtime_checkable
class AsyncCloudStore(Protocol):
    """The cloud's side of the exchange, for ``edge_redis.aio``: ``CloudStore`` with coroutines."""

    def get(self, scope: str) -> Awaitable[SyncState | None]:
        """Return the present state of a scope; see ``CloudStore.get``."""

    def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> Awaitable[object]:
        """Make changes of one scope durable, in their order; see ``CloudStore.apply``."""

    def changes_since(self, cursor: str, limit: int) -> Awaitable[Feed]:
        """Return scopes changed after ``cursor``; see ``CloudStore.changes_since``."""


AnyCloudStore: TypeAlias = CloudStore | AsyncCloudStore
