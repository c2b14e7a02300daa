"""A Redis-backed service layer for the processes of an edge site: cache, health, metrics, state sync.

The names users import. ``edge_redis.aio`` has the same services for asyncio clients.
The errors are loaded with the package; a service or a model is loaded when its name is first used, so that a process
loads what it needs and no more.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from edge_redis._core.public import publish
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
    NotReplicatedError,
    PartialUpdateError,
    PendingFullError,
    ProbeRefusedError,
    RecursiveComputeError,
    ServiceClosedError,
    ShardMovedError,
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
    VersionMismatchError,
    WrongKeyTypeError,
)

if TYPE_CHECKING:
    from edge_redis import embedded
    from edge_redis._cache.arguments import NO_EXPIRY
    from edge_redis._cache.compute_request import NoStore
    from edge_redis._cache.config import NearCache
    from edge_redis._core.type_codec import TypeCodec
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
    from edge_redis._services.blocking.namespace_workers import NamespaceWorkers
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
    from edge_redis._sync.shadow import shadow_difference
    from edge_redis.models import (
        AcceptedChange,
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
    "AcceptedChange",
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
    "NamespaceWorkers",
    "NearCache",
    "NoStore",
    "NodeHealth",
    "NotReplicatedError",
    "PartialUpdateError",
    "PendingFullError",
    "ProbeRefusedError",
    "RecursiveComputeError",
    "RedisCloudStore",
    "ResourceUsage",
    "ServiceClosedError",
    "ShardMovedError",
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
    "TypeCodec",
    "UnknownNodeError",
    "UnsupportedTypeError",
    "ValueTooLargeError",
    "VersionMismatchError",
    "WatchOptions",
    "WatchRound",
    "WebhookSink",
    "WorkerOptions",
    "WrongKeyTypeError",
    "connect",
    "connect_async",
    "embedded",
    "shadow_difference",
]

_NAMES: Final = {
    "_cache.arguments": ("NO_EXPIRY",),
    "_cache.compute_request": ("NoStore",),
    "_cache.config": ("NearCache",),
    "_core.type_codec": ("TypeCodec",),
    "_health.flapping": ("FlapRate", "FlapThresholds"),
    "_io.connect": ("connect", "connect_async"),
    "_io.sinks": ("ExecSink", "WebhookSink"),
    "_services.blocking.bundle": ("EdgeRedis",),
    "_services.blocking.cache": ("EdgeCache",),
    "_services.blocking.cloud": ("RedisCloudStore",),
    "_services.blocking.health": ("HealthMonitor",),
    "_services.blocking.health_relay": ("TransitionRelay",),
    "_services.blocking.health_watch": ("HealthWatch",),
    "_services.blocking.metrics": ("EdgeMetrics",),
    "_services.blocking.namespace_workers": ("NamespaceWorkers",),
    "_services.blocking.sync": ("EdgeSynchronizer",),
    "_services.blocking.worker": ("CloudWorker",),
    "_services.options": (
        "CacheOptions",
        "HealthOptions",
        "MetricsOptions",
        "SynchronizerOptions",
        "WatchOptions",
        "WorkerOptions",
    ),
    "_sync.shadow": ("shadow_difference",),
    "models": (
        "AcceptedChange",
        "CacheEntry",
        "ConflictStrategy",
        "EdgeNode",
        "EdgeNodeStatus",
        "HealthCheck",
        "InvocationRecord",
        "NodeHealth",
        "ResourceUsage",
        "SyncEvent",
        "SyncState",
        "Transition",
        "WatchRound",
    ),
}
"""The modules of this package, each with the names that users import from here."""

publish(__name__, globals(), [name for name in __all__ if name in globals()])

_MODULE_OF: Final = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names}
_SUBMODULES: Final = frozenset(
    {"aio", "cloudstores", "embedded", "errors", "exporters", "models", "probes", "settings", "types"}
)


if not TYPE_CHECKING:  # type checkers know the names that are imported above, and no others

    def __getattr__(name: str) -> Any:
        """Load a public name."""
        if name in _SUBMODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
        _publish_loaded()
        return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})


def _publish_loaded() -> None:
    """Set this module as that of every public class that is loaded, also of those that other classes have loaded."""
    for module, names in _NAMES.items():
        loaded = sys.modules.get(f"{__name__}.{module}")
        if loaded is not None:
            publish(__name__, vars(loaded), [name for name in names if name in vars(loaded)])
