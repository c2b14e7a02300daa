"""The process of the cloud worker: carries the edge processes' changes to the cloud, and the cloud's back."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from edge_redis._io.connect import connect
from edge_redis._services.blocking.worker import CloudWorker
from edge_redis._site.process_plan import ProcessPlan
from edge_redis._site.stop_request import StopRequest
from edge_redis.errors import StoreUnavailableError

_IDLE_SECONDS: Final = 0.1
"""Pause after a round that found nothing to do."""
_RETRY_SECONDS: Final = 0.5
"""Pause after a round in which the cloud could not be reached."""


def run(plan: ProcessPlan, stop: StopRequest) -> None:
    """Run the worker until a stop is requested; while the cloud cannot be reached, it waits.

    Raises:
        StoreUnavailableError: the edge's server cannot be reached.

    """
    with (
        closing(connect(plan.url)) as client,
        closing(connect(plan.cloud_url or plan.url)) as cloud,
        # A restarted worker keeps the consumer name, so it continues with the entries that it had already leased.
        CloudWorker(client, cloud, namespace=plan.namespace, consumer=plan.name) as worker,
    ):
        while stop.wait(0.0):
            try:
                handled = worker.run_once()
            except StoreUnavailableError:
                worker.lag()  # raises where it is the edge's server: the supervisor starts this process again
                stop.wait(_RETRY_SECONDS)
            else:
                if not handled:
                    stop.wait(_IDLE_SECONDS)
