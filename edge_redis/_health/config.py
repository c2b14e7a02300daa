"""The options of HealthMonitor, HealthWatch and TransitionRelay, each set validated once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from edge_redis._core import validation
from edge_redis._core.shards import check_shards
from edge_redis._health.flapping import DEFAULT_FLAP_RATE, FlapDetector, FlapRate, FlapThresholds
from edge_redis.models import timestamp_ms

Clock: TypeAlias = Callable[[], datetime]
Detector: TypeAlias = Literal["timeout", "phi"]

DETECTORS: Final = ("timeout", "phi")

MAX_HISTORY: Final = 10_000
"""Most that ``max_history`` may be: a whole history is read and trimmed in one step."""

USUAL_INTERVAL: Final = 5.0
"""Seconds between two rounds of a watch, unless the timeout is so short that it takes more rounds."""


STATES: Final = (
    *("suspected", "unhealthy", "recovered", "healthy", "maintenance", "flapping"),
    *("deregistered", "removed", "mass_outage", "mass_outage_over"),
)
"""The states that a transition in the stream may have."""

MASS_OUTAGE_TIMEOUTS: Final = 5
"""Heartbeat timeouts after which a mass outage ends by itself, and its nodes are unhealthy one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthConfig:
    """The options of a HealthMonitor, and those that a HealthWatch shares with it."""

    heartbeat_timeout_seconds: float = 60.0
    max_history: int = 100
    max_transitions: int = 10_000
    detector: Detector = "timeout"
    phi_threshold: float = 8.0
    flap_detector: FlapThresholds | FlapRate | None = None
    flap_rate: FlapRate | None = DEFAULT_FLAP_RATE
    clock: Clock | None = None
    shards: int | None = None
    default_shards: int = 1
    """Shards of a namespace that has none yet, where ``shards`` is None."""

    def __post_init__(self) -> None:
        check_shards(self.shards)
        validation.check_positive("heartbeat_timeout_seconds", self.heartbeat_timeout_seconds)
        validation.check_integer("max_history", self.max_history, least=1, most=MAX_HISTORY)
        validation.check_integer("max_transitions", self.max_transitions, least=1)
        if self.detector not in DETECTORS:
            raise validation.value_error("detector", self.detector, f"must be one of {', '.join(DETECTORS)}")
        validation.check_positive("phi_threshold", self.phi_threshold)
        if self.flap_rate is not None:
            validation.check_instance("flap_rate", self.flap_rate, FlapRate)
        if self.flap_detector is not None and not isinstance(self.flap_detector, FlapRate):
            least = validation.check_instance("flap_detector", self.flap_detector, FlapThresholds).window
            validation.check_integer("max_history, which a flap_detector reads,", self.max_history, least=least)
        if self.clock is not None:
            validation.check_callable("clock", self.clock)

    @property
    def uses_phi(self) -> bool:
        """Whether phi decides as well as the timeout."""
        return self.detector == "phi"

    @property
    def timeout_ms(self) -> float:
        """The heartbeat timeout in milliseconds."""
        return self.heartbeat_timeout_seconds * 1000

    @property
    def arrival_limit_ms(self) -> float | str:
        """The interval below which arrivals are recorded, in milliseconds; empty where phi does not decide."""
        return self.timeout_ms if self.uses_phi else ""

    def flapping_rules(self) -> FlapDetector:
        """Return the rules of flapping, one object for monitors and watches."""
        return FlapDetector(self.flap_detector, self.flap_rate, self.heartbeat_timeout_seconds)

    def now_arg(self) -> str:
        """Return the moment by the monitor's own clock in Unix ms; empty where the server's time counts."""
        if self.clock is None:
            return ""
        return str(timestamp_ms(validation.check_instance("clock()", self.clock(), datetime)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """The options of a HealthWatch beside those that it shares with a HealthMonitor."""

    heartbeat_timeout_seconds: float
    interval_seconds: float | None = None
    lease_seconds: float | None = None
    retention_seconds: float | None = None
    suspicion_seconds: float = 0.0
    mass_outage_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.interval_seconds is not None:
            validation.check_positive("interval_seconds", self.interval_seconds)
        if validation.check_number("lease_seconds", self.lease) < 2 * self.interval:
            raise validation.value_error("lease_seconds", self.lease, "must be at least two intervals")
        if self.retention_seconds is not None:
            validation.check_positive("retention_seconds", self.retention_seconds)
        validation.check_non_negative("suspicion_seconds", self.suspicion_seconds)
        if self.mass_outage_seconds is not None:
            validation.check_positive("mass_outage_seconds", self.mass_outage_seconds)

    @property
    def interval(self) -> float:
        """Seconds between two rounds.

        By default short enough to notice an outage of the server before it makes a healthy node look dead.
        """
        if self.interval_seconds is not None:
            return self.interval_seconds
        return min(USUAL_INTERVAL, self.heartbeat_timeout_seconds / 4)

    @property
    def lease(self) -> float:
        """Seconds that the lease lasts: three intervals by default."""
        return 3 * self.interval if self.lease_seconds is None else self.lease_seconds

    @property
    def mass_outage_limit(self) -> float:
        """Seconds after which a mass outage ends by itself: five timeouts by default."""
        if self.mass_outage_seconds is not None:
            return self.mass_outage_seconds
        return MASS_OUTAGE_TIMEOUTS * self.heartbeat_timeout_seconds

    @property
    def gap(self) -> float:
        """Seconds between two calls above which the server counts as having been down."""
        return max(1.5 * self.interval, min(2 * self.interval + 1, self.heartbeat_timeout_seconds / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """The options of a TransitionRelay."""

    name: str = "default"
    states: Collection[str] | None = None
    once_while_flapping: bool = False
    attempts: int | None = None
    max_age_seconds: float = 21_600.0
    backoff_seconds: float = 1.0
    interval_seconds: float = 1.0
    lease_seconds: float = 30.0
    shards: int | None = None
    default_shards: int = 1
    """As in ``HealthConfig``."""

    @property
    def position_name(self) -> str:
        """The name of the position: relays that deliver other states have another."""
        return self.name if self.states is None else f"{self.name}|{','.join(sorted(set(self.states)))}"

    def __post_init__(self) -> None:
        check_shards(self.shards)
        validation.check_identifier("name", self.name)
        if isinstance(self.states, str):
            raise validation.type_error("states", self.states, "a collection of states, or None")
        for state in self.states or ():
            if validation.check_identifier("state", state) not in STATES:
                raise validation.value_error("states", state, f"may hold {', '.join(STATES)}")
        validation.check_instance("once_while_flapping", self.once_while_flapping, bool)
        if self.attempts is not None:
            validation.check_integer("attempts", self.attempts, least=1)
        validation.check_positive("max_age_seconds", self.max_age_seconds)
        validation.check_positive("backoff_seconds", self.backoff_seconds)
        validation.check_positive("interval_seconds", self.interval_seconds)
        validation.check_positive("lease_seconds", self.lease_seconds)
