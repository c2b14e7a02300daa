"""Cloud stores: the protocols, what they exchange, and conflict resolution without I/O.

A ``CloudWorker`` carries changes between an edge and a ``CloudStore`` (an ``AsyncCloudStore`` for ``edge_redis.aio``).
``edge_redis.RedisCloudStore`` is one; ``edge_redis.cloudstores.sql`` has one for PostgreSQL and SQLite
(``pip install 'edge-redis[sql]'``). A store of your own is a class with the methods of the protocol. Where it can
decide inside a transaction, ``resolve``, ``write_update`` and ``write_delete`` are the rules, as functions of values:

    decision = resolve(document, seen, changes, strategy)   # in ``apply``
    decision = write_update(WriteContext(...), data)        # where the cloud itself is written
    # store decision.document, .seen, .events and .conflicts atomically
"""

from edge_redis._sync.change import TOMBSTONE, Change, Outcome, check_body, decode_data, encode_data, visible_data
from edge_redis._sync.cloud_store import AsyncCloudStore, CloudStore, FeedListener, FeedReader
from edge_redis._sync.decision import Decision, LostState, PushEvent, ScopeDocument, Seen
from edge_redis._sync.feed import Feed
from edge_redis._sync.fields import is_merged
from edge_redis._sync.limits import WriteLimits
from edge_redis._sync.merge import merge_states
from edge_redis._sync.origin import CLOUD_ORIGIN, MAX_ORIGIN_BYTES, qualified_origin
from edge_redis._sync.resolution import resolve
from edge_redis._sync.write_context import GcWatermark, WriteContext, write_delete, write_update

__all__ = [
    "CLOUD_ORIGIN",
    "MAX_ORIGIN_BYTES",
    "TOMBSTONE",
    "AsyncCloudStore",
    "Change",
    "CloudStore",
    "Decision",
    "Feed",
    "FeedListener",
    "FeedReader",
    "GcWatermark",
    "LostState",
    "Outcome",
    "PushEvent",
    "ScopeDocument",
    "Seen",
    "WriteContext",
    "WriteLimits",
    "check_body",
    "decode_data",
    "encode_data",
    "is_merged",
    "merge_states",
    "qualified_origin",
    "resolve",
    "visible_data",
    "write_delete",
    "write_update",
]

_CLASSES: tuple[type, ...] = (
    AsyncCloudStore, Change, CloudStore, Decision, Feed, FeedListener, FeedReader, GcWatermark, LostState, PushEvent,
    ScopeDocument, Seen, WriteContext, WriteLimits,
)  # fmt: skip
for _class in _CLASSES:
    _class.__module__ = __name__
