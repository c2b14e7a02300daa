"""The process of the cloud worker: carries the edge processes' changes to the cloud, and the cloud's back."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from edge_redis._io.connect import connect
from edge_redis._services.blocking.worker import CloudWorker
from edge_redis._site.process_plan import ProcessPlan
from edge_redis._site.stop_request import StopRequest

_IDLE_SECONDS: Final = 0.1
"""Pause after a round that found nothing to do."""


def run(plan: ProcessPlan, stop: StopRequest) -> None:
    """Run the worker until a stop is requested. Edge and cloud share one Redis here."""
    with (
        closing(connect(plan.url)) as client,
        # A restarted worker keeps the consumer name, so it continues with the entries that it had already leased.
        CloudWorker(client, client, namespace=plan.namespace, consumer=plan.name) as worker,
    ):
        while stop.wait(0.0):
            if not worker.run_once():
                stop.wait(_IDLE_SECONDS)
