"""The recommendation for a node, by its checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge_redis.models import HealthCheck

GONE_AFTER_MS: Final = 3_600_000.0

NO_DATA: Final = "No data"
REBOOT: Final = "Reboot node (flapping detected)"
DECOMMISSION: Final = "Decommission node (offline > 1h)"
INVESTIGATE: Final = "Investigate connectivity (stale heartbeat)"
NORMAL: Final = "Normal"


def recommend(checks: Sequence[HealthCheck], *, flapping: bool) -> str:
    """Return the recommendation for a node with these checks, oldest first: the newest decides, unless it flaps."""
    if not checks:
        return NO_DATA
    if flapping:
        return REBOOT
    newest = checks[-1]
    if newest.healthy:
        return NORMAL
    return DECOMMISSION if newest.latency_ms > GONE_AFTER_MS else INVESTIGATE
