"""The process of the cloud worker: carries the edge processes' changes to the cloud, and the cloud's back."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from edge_redis._io.connect import connect
from edge_redis._services.blocking.worker import CloudWorker
from edge_redis._site.process_plan import ProcessPlan
from edge_redis._site.stop_request import StopRequest

_CHECK_SECONDS: Final = 5.0
"""How often it is made sure that the edge's server is there."""


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
        worker.start()
        while stop.wait(_CHECK_SECONDS):
            worker.lag()  # raises where the server is gone: the supervisor starts this process again
