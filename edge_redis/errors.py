"""Every error this package raises, in one tree.

EdgeRedisError
├── InvalidArgumentError            also ValueError: the call was wrong, nothing was written
│   ├── InvalidKeyError             empty, too long, or not encodable
│   ├── ValueTooLargeError          over the stated size limit
│   ├── TooManyFieldsError          a state of more fields than the stated limit
│   ├── UnknownNodeError            no node is registered under this id
│   └── ClientConfigurationError    the Redis client is configured in a way that cannot work
├── InvalidTypeError                also TypeError: an argument is of the wrong type
│   └── UnsupportedTypeError        a value is of a type the codec does not support
├── ChecksumMismatchError           a state does not match its own checksum
├── SignatureError                  a change is not signed by the origin that it names
├── AuthorityConflictError          another edge has the scope's LOCAL_WINS authority
├── CloudMismatchError              two workers carry one edge to two clouds
├── StrategyMismatchError           the scope has another conflict strategy at this edge
├── PartialUpdateError              some scopes of ``update_many`` were not written
├── VersionMismatchError            the scope is not at the version that ``if_version`` names
├── PendingFullError                the outbox is full and ``overflow="reject"``
├── ComputeFailedError              another caller failed to compute a value that this one waited for
│   └── RecursiveComputeError       computing a value asks for the same value
├── DeliveryError                   also OSError: a sink did not deliver a transition
├── ProbeRefusedError               a node has no address that its probe may connect to
├── MissingExtraError               also ImportError: an optional dependency is not installed
├── ServiceClosedError              the service was used after ``close()``
└── StoreError                      Redis, Valkey or a cloud store's database failed
    ├── StoreUnavailableError       not reachable; the outcome may be unknown
    │   ├── StoreTimeoutError       no answer in time; the outcome is unknown
    │   ├── StoreReadOnlyError      a replica, or a master that lost its replicas; nothing was written
    │   ├── StoreLoadingError       loading its data set, busy, or moving the slot; nothing was written
    │   │   └── ShardMovedError     the number of shards is being changed; nothing was written
    │   ├── StoreOutOfMemoryError   maxmemory reached; nothing was written
    │   └── EmbeddedServerError     an embedded server did not start or stop
    ├── NotReplicatedError          applied, but too few replicas acknowledged it in time
    ├── ConnectionPoolFullError     no connection of the client became free in time; nothing was sent
    ├── StoreRefusedError           authentication failed, or the ACL forbids it; nothing was written
    ├── LayoutVersionError          the keys were written by a release with another layout; nothing was written
    ├── WrongKeyTypeError           a key of this package holds another type of value
    ├── CorruptDataError            bytes in Redis do not decode
    └── StoreReplyError             any other error reply of the server
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_redis.models import SyncState


class EdgeRedisError(Exception):
    """Base of every error of this package."""


class InvalidArgumentError(EdgeRedisError, ValueError):
    """An argument has a value that cannot be used; nothing was written."""


class InvalidKeyError(InvalidArgumentError):
    """A key or identifier is empty, too long, or not encodable as UTF-8."""


class ValueTooLargeError(InvalidArgumentError):
    """A value is larger, once encoded, than the limit the message states."""


class TooManyFieldsError(InvalidArgumentError):
    """A state has more top-level fields than the limit that the message states."""


class UnknownNodeError(InvalidArgumentError):
    """No node is registered under this identifier."""


class ClientConfigurationError(InvalidArgumentError):
    """The Redis client is configured in a way these services cannot work with."""


class InvalidTypeError(EdgeRedisError, TypeError):
    """An argument has the wrong type; nothing was written."""


class UnsupportedTypeError(InvalidTypeError):
    """A value is of a type that the codec does not support."""


class ChecksumMismatchError(EdgeRedisError):
    """A state does not match its own checksum: it was changed or damaged on the way."""


class SignatureError(EdgeRedisError):
    """A change is not signed, not signed by the origin that it names, or has the signature of another change."""


class AuthorityConflictError(EdgeRedisError):
    """A scope is LOCAL_WINS at two edges, which would overwrite each other's state without end."""


class CloudMismatchError(EdgeRedisError):
    """A worker found that another worker carries its edge to another cloud; an edge has one cloud."""


class StrategyMismatchError(EdgeRedisError):
    """The scope has another conflict strategy at this edge; nothing was written."""


class PartialUpdateError(EdgeRedisError):
    """``update_many`` could not write some of the scopes; the others were written.

    Args:
        message: the first scope that was refused, and its error.
        errors: of each scope that was not written.
        states: of each scope that was written.

    """

    def __init__(
        self,
        message: str,
        *,
        errors: Mapping[str, EdgeRedisError] | None = None,
        states: Mapping[str, SyncState] | None = None,
    ) -> None:
        super().__init__(message)
        self.errors = dict(errors or {})
        self.states = dict(states or {})


class VersionMismatchError(EdgeRedisError):
    """The scope is not at the version that ``if_version`` names; nothing was written.

    Args:
        message: both versions.
        version: the present version of the scope, 0 where it has none.

    """

    def __init__(self, message: str, *, version: int = 0) -> None:
        super().__init__(message)
        self.version = version


class PendingFullError(EdgeRedisError):
    """The outbox holds ``max_pending`` changes or ``max_pending_bytes``, and the overflow policy is to reject."""


class ComputeFailedError(EdgeRedisError):
    """The function of another caller failed to compute this value, while this one waited or within ``error_ttl``."""


class RecursiveComputeError(ComputeFailedError):
    """The function that computes a value asks for the same value, and would wait for itself."""


class MissingExtraError(EdgeRedisError, ImportError):
    """An optional dependency is not installed; the message says how to install it."""


class DeliveryError(EdgeRedisError, OSError):
    """A sink did not deliver a transition. A sink of your own may raise it, too.

    Args:
        message: what went wrong.
        retry_after_seconds: the receiver asked for a pause before the next attempt; None: it did not.
        refused: the receiver will not accept this transition, so that only a few more attempts are made.

    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None, refused: bool = False) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.refused = refused


class ProbeRefusedError(EdgeRedisError):
    """A node has no target or address, or one that its probe may not connect to. Nothing was sent to it."""


class ServiceClosedError(EdgeRedisError):
    """The service was used after it had been closed."""


class StoreError(EdgeRedisError):
    """An operation of Redis or Valkey, or of the database of a cloud store, failed."""


class StoreUnavailableError(StoreError):
    """The server cannot be reached, or cannot serve now; a write may or may not have happened."""


class StoreTimeoutError(StoreUnavailableError):
    """The server did not answer in time; a write may or may not have happened."""


class StoreReadOnlyError(StoreUnavailableError):
    """The server refuses writes (a replica, or too few replicas); nothing was written."""


class StoreLoadingError(StoreUnavailableError):
    """The server cannot serve yet: it loads its data set, runs a long script or moves the slot; nothing was written."""


class ShardMovedError(StoreLoadingError):
    """What the call was to write is being moved to another shard, and was not there in time; nothing was written."""


class StoreOutOfMemoryError(StoreUnavailableError):
    """The server has reached maxmemory and refuses writes; nothing was written."""


class EmbeddedServerError(StoreUnavailableError):
    """An embedded server did not start, or ended by itself."""


class NotReplicatedError(StoreError):
    """A write was applied, but in the stated time too few replicas acknowledged it, or it did not reach the disk."""


class ConnectionPoolFullError(StoreError):
    """No connection of the client's pool became free in time. Nothing was sent; the server may be healthy."""


class StoreRefusedError(StoreError):
    """The server refused the user or the command (authentication, ACL); nothing was written."""


class LayoutVersionError(StoreError):
    """A component's keys were written by a release with another layout of keys; nothing was written."""


class WrongKeyTypeError(StoreError):
    """A key of this package holds another type of value than this package writes there."""


class CorruptDataError(StoreError):
    """Bytes found in Redis do not decode."""


class StoreReplyError(StoreError):
    """The server answered with an error that has no class of its own."""
