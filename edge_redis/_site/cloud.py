"""The cloud worker's process: hands what the edge processes sync to the cloud, and back."""

from __future__ import annotations

from contextlib import closing
from typing import Final

from edge_redis._io.connect import connect
from edge_redis._services.state import CloudWorker
from edge_redis._site.plan import Plan
from edge_redis._site.stopping import Stop

_PAUSE_SECONDS: Final = 0.1
"""Between two looks at an empty outbox."""


def run(plan: Plan, stop: Stop) -> None:
    """Work until asked to stop. Edge and cloud are two ends on one Redis here."""
    with (
        closing(connect(plan.url)) as client,
        # A worker that takes another's place under its name goes on with what that one had begun.
        CloudWorker(client, client, namespace=plan.namespace, consumer=plan.name) as worker,
    ):
        while stop.wait(0.0):
            if not worker.run_once():
                stop.wait(_PAUSE_SECONDS)
