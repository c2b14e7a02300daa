"""The process of the monitor: checks every registered node at an interval."""

from __future__ import annotations

import time

from edge_redis._services.blocking.health_watch import HealthWatch
from edge_redis._site.process_plan import ProcessPlan
from edge_redis._site.services import MAX_TRANSITIONS, open_operation_metrics, open_services
from edge_redis._site.stop_request import StopRequest
from edge_redis.models import InvocationRecord


def run(plan: ProcessPlan, stop: StopRequest) -> None:
    """Watch the nodes until a stop is requested."""
    with (
        open_services(
            plan.url, plan.namespace, timeout_seconds=plan.timeout_seconds, cache_size=plan.cache_size
        ) as services,
        open_operation_metrics(services) as operations,
        HealthWatch(
            services.client,
            plan.timeout_seconds,
            namespace=plan.namespace,
            interval_seconds=plan.interval_seconds,
            max_transitions=MAX_TRANSITIONS,
        ) as watch,
    ):
        while stop.wait(plan.interval_seconds):
            started = time.perf_counter()
            checked = watch.run_once().checked
            each_ms = (time.perf_counter() - started) * 1000 / max(1, checked)
            names = [node.id for node in services.health.nodes()] if checked else []
            operations.record_many([InvocationRecord("check", name, each_ms, success=True) for name in names])
