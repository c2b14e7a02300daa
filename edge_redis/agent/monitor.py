"""The monitor's process: checks every registered node at an interval, by the server's clock."""

from __future__ import annotations

import time

from edge_redis.agent.opening import open_operations, open_services
from edge_redis.agent.plan import Plan
from edge_redis.agent.stopping import Stop
from edge_redis.models import InvocationRecord


def run(plan: Plan, stop: Stop) -> None:
    """Check until asked to stop."""
    with (
        open_services(
            plan.url, plan.namespace, timeout_seconds=plan.timeout_seconds, cache_size=plan.cache_size
        ) as services,
        open_operations(services) as operations,
    ):
        while stop.wait(plan.interval_seconds):
            begun = time.perf_counter()
            checks = services.health.check_cluster()["checks"]
            each_ms = (time.perf_counter() - begun) * 1000 / max(1, len(checks))
            operations.record_many(
                [InvocationRecord("check", found["node_id"], each_ms, success=True) for found in checks]
            )
