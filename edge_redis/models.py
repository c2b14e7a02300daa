"""The data classes of the services' arguments and results.

Times are timezone-aware UTC. The names of durations and ages end with their unit.
"""

# Annotations are evaluated here: the classes say that they are of `edge_redis`, where the names used are unknown.

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, Literal, Self

from edge_redis._core import codec, extension_types, validation, wall_clock
from edge_redis._core.public import publish
from edge_redis.errors import InvalidArgumentError, InvalidTypeError

OVERLOAD_PERCENT: Final = 90.0
"""Above this share of CPU or memory a node counts as overloaded."""

HEALTHY_SECONDS: Final = 60.0
"""A node whose last heartbeat is younger may be healthy, as it sees itself."""


def aware(moment: datetime) -> datetime:
    """Return a datetime with its timezone; a naive one is taken as UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def utc_now() -> datetime:
    """Return this process's clock as a timezone-aware UTC datetime."""
    return wall_clock.now()


class EdgeNodeStatus(StrEnum):
    """The status that a node reports."""

    ONLINE = "online"
    OFFLINE = "offline"
    DEGRADED = "degraded"
    SYNCING = "syncing"
    MAINTENANCE = "maintenance"


extension_types.add_text_enum(extension_types.NODE_STATUS, EdgeNodeStatus)


class ConflictStrategy(StrEnum):
    """Which side of a conflict wins."""

    REMOTE_WINS = "remote_wins"
    LOCAL_WINS = "local_wins"
    LATEST_WINS = "latest_wins"
    MERGE = "merge"


@dataclass(slots=True)
class ResourceUsage:
    """Resource usage of a node: CPU in percent, memory and disk in MB, and the number of running functions."""

    cpu_percent: float = 0.0
    memory_mb: float = 0.0
    memory_max_mb: float = 0.0
    disk_mb: float = 0.0
    active_functions: int = 0

    @property
    def memory_percent(self) -> float:
        """Memory used, 0 to 100; 0.0 where the maximum is not known."""
        return self.memory_mb / self.memory_max_mb * 100.0 if self.memory_max_mb > 0 else 0.0

    @property
    def is_overloaded(self) -> bool:
        """Whether CPU or memory is over 90%."""
        return self.cpu_percent > OVERLOAD_PERCENT or self.memory_percent > OVERLOAD_PERCENT

    def update_usage(self, cpu: float, mem: float, disk: float | None = None) -> None:
        """Set CPU in percent, memory and disk in MB; a disk of None leaves it as it is.

        CPU is clamped to 0 to 100, memory to 0 to ``memory_max_mb``, disk to 0 and more.

        Raises:
            InvalidTypeError, InvalidArgumentError: one is not a finite number; nothing was changed.

        """
        cpu, mem = validation.check_number("cpu", cpu), validation.check_number("mem", mem)
        disk = self.disk_mb if disk is None else validation.check_number("disk", disk)
        self.cpu_percent = min(max(cpu, 0.0), 100.0)
        self.memory_mb = min(max(mem, 0.0), self.memory_max_mb)
        self.disk_mb = max(disk, 0.0)


@dataclass(slots=True)
class EdgeNode:
    """A machine or process at the edge, as the registry knows it."""

    id: str
    name: str
    location: str = ""
    status: EdgeNodeStatus = EdgeNodeStatus.ONLINE
    capabilities: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    last_heartbeat: datetime = field(default_factory=utc_now)
    resources: ResourceUsage = field(default_factory=ResourceUsage)
    max_functions: int = 10

    def heartbeat(self, status: EdgeNodeStatus | None = None) -> None:
        """Set the last heartbeat to now, by this process's clock, and the status where one is given.

        Without one, an OFFLINE node is ONLINE again; any other status stays.

        Raises:
            InvalidArgumentError: no such status; nothing was changed.

        """
        if status is not None:
            if status not in list(EdgeNodeStatus):
                raise validation.value_error("status", status, f"must be one of {', '.join(EdgeNodeStatus)}")
            self.status = EdgeNodeStatus(status)
        elif self.status == EdgeNodeStatus.OFFLINE:
            self.status = EdgeNodeStatus.ONLINE
        self.last_heartbeat = utc_now()

    @property
    def seconds_since_heartbeat(self) -> float:
        """Age of the last heartbeat in seconds, by this process's clock; never negative."""
        return max(0.0, (utc_now() - aware(self.last_heartbeat)).total_seconds())

    @property
    def is_healthy(self) -> bool:
        """Whether the node is ONLINE and its last heartbeat is less than 60 seconds old, by this process's clock."""
        return self.status == EdgeNodeStatus.ONLINE and self.seconds_since_heartbeat < HEALTHY_SECONDS

    def has_capability(self, name: str) -> bool:
        """Return whether the node lists this capability."""
        return name in self.capabilities

    def to_dict(self) -> dict[str, Any]:
        """Return the node as plain JSON-ready data, times in ISO 8601, and ``healthy`` for ``is_healthy``."""
        facts = asdict(self)
        facts["status"] = str(self.status)
        facts["last_heartbeat"] = self.last_heartbeat.isoformat()
        facts["healthy"] = self.is_healthy
        return facts


@dataclass(slots=True)
class SyncState:
    """One version of a scope's data, with the checksum that proves it whole.

    ``origin`` names the writer (an edge or "cloud"). At equal versions, a state without an origin never wins.
    """

    version: int
    data: dict[str, Any]
    checksum: str
    updated_at: datetime
    origin: str = ""

    @classmethod
    def from_data(cls, data: dict[str, Any], version: int) -> Self:
        """Return a state of ``data`` at ``version``, checksummed, updated now by this process's clock.

        Raises:
            InvalidArgumentError: the version is below zero, or the data cannot be encoded.
            InvalidTypeError: the data is not a dict, or holds a value that the codec does not support.

        """
        validation.check_integer("version", version, least=0)
        validation.check_instance("data", data, dict)
        return cls(version, data, codec.checksum(data), utc_now())

    def verify(self) -> bool:
        """Return whether the data match the checksum; False for data that cannot be encoded."""
        try:
            return self.checksum == codec.checksum(self.data)
        except (InvalidArgumentError, InvalidTypeError):
            return False


@dataclass(frozen=True, slots=True)
class AcceptedChange:
    """A state that the cloud has accepted: an edge's change, a write or a delete in the cloud, or a merge of these.

    ``data`` is None where the scope was deleted, and where ``is_complete`` is False: the state had more bytes than the
    cloud keeps of one. ``id`` is for ``ack_accepted``. Numbers rise by one; versions rise within a scope.
    ``checksum`` is the SHA-256 of the stored state, which was written at ``updated_at`` and accepted at
    ``accepted_at``.
    """

    id: str
    number: int
    scope: str
    version: int
    data: dict[str, Any] | None
    is_deleted: bool
    is_complete: bool
    origin: str
    checksum: str
    updated_at: datetime
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A cached value with its times and access count. ``created_at`` is by the server's clock."""

    key: str
    value: Any
    created_at: datetime
    ttl_seconds: float
    access_count: int

    @property
    def expired(self) -> bool:
        """Whether the TTL has passed, by this process's clock."""
        return (utc_now() - aware(self.created_at)).total_seconds() >= self.ttl_seconds


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One verdict on one node. ``latency_ms`` is the age of its heartbeat in milliseconds."""

    node_id: str
    healthy: bool
    latency_ms: float = 0.0
    checked_at: datetime = field(default_factory=utc_now)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of a node's state, as the stream of transitions keeps it.

    ``state`` is one of

    - "suspected" (its heartbeats are missing, to be confirmed: HealthWatch with ``suspicion_seconds`` or ``confirm``);
    - "unhealthy", "recovered" (healthy after unhealthy);
    - "maintenance" (set by an operator, or the node's status: until it ends, the node has no other transitions),
      "healthy" (after maintenance, flapping or a suspicion);
    - "flapping";
    - "deregistered", and "removed" (after a long time without a heartbeat);
    - "mass_outage" and "mass_outage_over", of no node: the heartbeats of most nodes are missing together, or came back;
    - "transitions_lost", of no node, from ``watch()`` alone: the stream's cap removed some before they were read.

    ``previous`` is the state before, "unknown" where there was none. ``position`` is the entry's
    place in the stream. ``flapping``: the node was flapping at the time.

    A TransitionRelay also fills in ``namespace``, ``node_name`` and ``location`` (as registered when it delivers, empty
    where the node is gone), and ``event_id``, which differs from that of any other transition at any site.
    """

    node_id: str
    state: str
    previous: str
    at: datetime
    reason: str
    position: str
    flapping: bool = False
    namespace: str = ""
    node_name: str = ""
    location: str = ""
    event_id: str = ""


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """A registered node and its health at one moment, by the server's clock; nothing is recorded.

    ``timeout_seconds`` is the timeout that applies: the node's own, else that of the HealthWatch that leads, else the
    monitor's. ``node`` is None where its record in Redis does not decode. ``status`` is the status as it is stored.
    """

    node_id: str
    healthy: bool
    status: str
    heartbeat_age_seconds: float
    timeout_seconds: float
    in_maintenance: bool = False
    flapping: bool = False
    node: EdgeNode | None = None


@dataclass(frozen=True, slots=True)
class WatchRound:
    """The result of one round of a HealthWatch.

    Where ``leader`` is false another watch leads, and all the rest is zero. ``term`` numbers the leaders'
    terms. ``suspected``: nodes whose heartbeats are missing and whose death is not confirmed. ``removed``: nodes
    removed after ``retention_seconds``. ``grace``: the server had been down, so that missing heartbeats do not count
    yet. ``mass_outage``: the heartbeats of most nodes are missing, and verdicts on these nodes are deferred.
    ``config_differs``: this watch stands by, and the one that leads has another timeout or phi threshold.
    """

    leader: bool
    term: int = 0
    checked: int = 0
    unhealthy: int = 0
    suspected: int = 0
    removed: int = 0
    grace: bool = False
    mass_outage: bool = False
    config_differs: bool = False


@dataclass(frozen=True, slots=True)
class InvocationRecord:
    """One invocation of a function on a node."""

    function_id: str
    node_id: str
    duration_ms: float
    success: bool
    timestamp: datetime = field(default_factory=utc_now)
    error: str = ""


@dataclass(frozen=True, slots=True)
class SyncEvent:
    """One push to or pull from the other end, as the history keeps it."""

    direction: Literal["push", "pull"]
    version: int
    success: bool
    timestamp: datetime = field(default_factory=utc_now)
    error: str = ""


def from_timestamp(seconds: float) -> datetime:
    """Return a Unix time in seconds as a timezone-aware UTC datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def timestamp_ms(moment: datetime) -> int:
    """Return a datetime as Unix milliseconds; a naive one is taken as UTC."""
    return round(aware(moment).timestamp() * 1000)


# Users import every class of this module from edge_redis.
publish(
    "edge_redis",
    globals(),
    [name for name, value in globals().items() if isinstance(value, type) and value.__module__ == __name__],
)
