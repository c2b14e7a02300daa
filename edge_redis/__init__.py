"""A Redis-backed service layer for the processes of an edge site: cache, health, metrics, state sync.

The names users import. ``edge_redis.aio`` has the same services for asyncio clients.
"""

from edge_redis import embedded
from edge_redis._cache.arguments import NO_EXPIRY
from edge_redis._cache.computation import NoStore
from edge_redis._cache.config import NearCache
from edge_redis._core.public import publish
from edge_redis._health.flapping import FlapRate, FlapThresholds
from edge_redis._io.connect import connect, connect_async
from edge_redis._io.sinks import ExecSink, WebhookSink
from edge_redis._services.blocking.bundle import EdgeRedis
from edge_redis._services.blocking.cache import EdgeCache
from edge_redis._services.blocking.cloud import RedisCloudStore
from edge_redis._services.blocking.health import HealthMonitor
from edge_redis._services.blocking.health_relay import TransitionRelay
from edge_redis._services.blocking.health_watch import HealthWatch
from edge_redis._services.blocking.metrics import EdgeMetrics
from edge_redis._services.blocking.sync import EdgeSynchronizer
from edge_redis._services.blocking.worker import CloudWorker
from edge_redis._services.options import (
    CacheOptions,
    HealthOptions,
    MetricsOptions,
    SynchronizerOptions,
    WatchOptions,
    WorkerOptions,
)
from edge_redis.errors import (
    AuthorityConflictError,
    ChecksumMismatchError,
    ClientConfigurationError,
    CloudMismatchError,
    ComputeFailedError,
    ConnectionPoolFullError,
    CorruptDataError,
    DeliveryError,
    EdgeRedisError,
    EmbeddedServerError,
    InvalidArgumentError,
    InvalidKeyError,
    InvalidTypeError,
    LayoutVersionError,
    MissingExtraError,
    PendingFullError,
    RecursiveComputeError,
    ServiceClosedError,
    SignatureError,
    StoreError,
    StoreLoadingError,
    StoreOutOfMemoryError,
    StoreReadOnlyError,
    StoreRefusedError,
    StoreReplyError,
    StoreTimeoutError,
    StoreUnavailableError,
    StrategyMismatchError,
    TooManyFieldsError,
    UnknownNodeError,
    UnsupportedTypeError,
    ValueTooLargeError,
    WrongKeyTypeError,
)
from edge_redis.models import (
    CacheEntry,
    ConflictStrategy,
    EdgeNode,
    EdgeNodeStatus,
    HealthCheck,
    InvocationRecord,
    NodeHealth,
    ResourceUsage,
    SyncEvent,
    SyncState,
    Transition,
    WatchRound,
)

__version__ = "0.1.0"
"""The only place where the version is written: pyproject.toml reads it here."""

__all__ = [
    "NO_EXPIRY",
    "AuthorityConflictError",
    "CacheEntry",
    "CacheOptions",
    "ChecksumMismatchError",
    "ClientConfigurationError",
    "CloudMismatchError",
    "CloudWorker",
    "ComputeFailedError",
    "ConflictStrategy",
    "ConnectionPoolFullError",
    "CorruptDataError",
    "DeliveryError",
    "EdgeCache",
    "EdgeMetrics",
    "EdgeNode",
    "EdgeNodeStatus",
    "EdgeRedis",
    "EdgeRedisError",
    "EdgeSynchronizer",
    "EmbeddedServerError",
    "ExecSink",
    "FlapRate",
    "FlapThresholds",
    "HealthCheck",
    "HealthMonitor",
    "HealthOptions",
    "HealthWatch",
    "InvalidArgumentError",
    "InvalidKeyError",
    "InvalidTypeError",
    "InvocationRecord",
    "LayoutVersionError",
    "MetricsOptions",
    "MissingExtraError",
    "NearCache",
    "NoStore",
    "NodeHealth",
    "PendingFullError",
    "RecursiveComputeError",
    "RedisCloudStore",
    "ResourceUsage",
    "ServiceClosedError",
    "SignatureError",
    "StoreError",
    "StoreLoadingError",
    "StoreOutOfMemoryError",
    "StoreReadOnlyError",
    "StoreRefusedError",
    "StoreReplyError",
    "StoreTimeoutError",
    "StoreUnavailableError",
    "StrategyMismatchError",
    "SyncEvent",
    "SyncState",
    "SynchronizerOptions",
    "TooManyFieldsError",
    "Transition",
    "TransitionRelay",
    "UnknownNodeError",
    "UnsupportedTypeError",
    "ValueTooLargeError",
    "WatchOptions",
    "WatchRound",
    "WebhookSink",
    "WorkerOptions",
    "WrongKeyTypeError",
    "connect",
    "connect_async",
    "embedded",
]

publish(__name__, globals(), __all__)
