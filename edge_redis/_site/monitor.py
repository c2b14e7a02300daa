"""The monitor's process: judges every registered node at an interval, and knows when not to."""

from __future__ import annotations

import time

from edge_redis._services.health_watch import HealthWatch
from edge_redis._site.opening import MAX_TRANSITIONS, open_operations, open_services
from edge_redis._site.plan import Plan
from edge_redis._site.stopping import Stop
from edge_redis.models import InvocationRecord


def run(plan: Plan, stop: Stop) -> None:
    """Watch until asked to stop."""
    with (
        open_services(
            plan.url, plan.namespace, timeout_seconds=plan.timeout_seconds, cache_size=plan.cache_size
        ) as services,
        open_operations(services) as operations,
        HealthWatch(
            services.client,
            plan.timeout_seconds,
            namespace=plan.namespace,
            interval_seconds=plan.interval_seconds,
            max_transitions=MAX_TRANSITIONS,
        ) as watch,
    ):
        while stop.wait(plan.interval_seconds):
            begun = time.perf_counter()
            checked = watch.run_once().checked
            each_ms = (time.perf_counter() - begun) * 1000 / max(1, checked)
            names = [node.id for node in services.health.nodes()] if checked else []
            operations.record_many([InvocationRecord("check", name, each_ms, success=True) for name in names])
