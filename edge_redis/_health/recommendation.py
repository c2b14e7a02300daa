"""The recommendation for a node, by its last checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge_redis.models import HealthCheck

DECIDING_CHECKS: Final = 5
GONE_AFTER_MS: Final = 3_600_000.0

NO_DATA: Final = "No data"
REBOOT: Final = "Reboot node (flapping detected)"
DECOMMISSION: Final = "Decommission node (offline > 1h)"
INVESTIGATE: Final = "Investigate connectivity (stale heartbeat)"
NORMAL: Final = "Normal"


def recommend(checks: Sequence[HealthCheck], *, flapping: bool) -> str:
    """Return the recommendation for a node with these checks, oldest first.

    The first rule that holds decides:

    1. no check: "No data";
    2. it is flapping: "Reboot node (flapping detected)";
    3. the last five, or all where there are fewer, all unhealthy, and the heartbeat of the
       newest over an hour old: "Decommission node (offline > 1h)";
    4. one of these five unhealthy: "Investigate connectivity (stale heartbeat)";
    5. else "Normal".
    """
    if not checks:
        return NO_DATA
    if flapping:
        return REBOOT
    deciding = checks[-DECIDING_CHECKS:]
    if not any(check.healthy for check in deciding) and deciding[-1].latency_ms > GONE_AFTER_MS:
        return DECOMMISSION
    return NORMAL if all(check.healthy for check in deciding) else INVESTIGATE
