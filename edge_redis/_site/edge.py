"""An edge process: samples the host until it is stopped, or replays one node's part of a recording."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from edge_redis._site import recording
from edge_redis._site.functions import FUNCTIONS
from edge_redis._site.pipeline import ReadingPipeline
from edge_redis._site.process_plan import ProcessPlan
from edge_redis._site.recording import Reading
from edge_redis._site.replay import iterate_events
from edge_redis._site.services import open_services
from edge_redis._site.stop_request import StopRequest
from edge_redis.models import EdgeNode, utc_now


@contextmanager
def _open_pipeline(
    plan: ProcessPlan, node: EdgeNode, clock: Callable[[], datetime] | None
) -> Iterator[ReadingPipeline]:
    with (
        open_services(
            plan.url, plan.namespace, timeout_seconds=plan.timeout_seconds, cache_size=plan.cache_size, clock=clock
        ) as services,
        closing(ReadingPipeline(services, node, run_id=plan.run_id)) as pipeline,
    ):
        yield pipeline


def run_live(plan: ProcessPlan, stop: StopRequest) -> None:
    """Sample the host every interval and process each sample as a reading."""
    from edge_redis._site import telemetry  # noqa: PLC0415 -- psutil is an extra that only live processes need

    node = EdgeNode(plan.name, plan.name, os.uname().nodename, capabilities=list(FUNCTIONS))
    with _open_pipeline(plan, node, None) as pipeline:
        telemetry.sample()  # the first sample's CPU usage covers no time: discard it
        due = time.monotonic() + plan.interval_seconds
        while stop.wait(due - time.monotonic()):
            fields = telemetry.sample()
            resources = telemetry.resource_usage(fields, active_functions=len(FUNCTIONS))
            pipeline.process(fields, at=utc_now().isoformat(), resources=resources)
            due = max(due + plan.interval_seconds, time.monotonic())


def run_replay(plan: ProcessPlan, stop: StopRequest) -> None:
    """Replay one node's readings at the recording's pace, starting after the last one found in the node's state.

    A process that is late does not wait until it has caught up; no reading is skipped.
    """
    assert plan.pace is not None
    clock = _RecordedClock(plan.pace.first_us)
    path = Path(plan.recording)
    # The offset is taken once: setting the system clock during the replay does not move it.
    unix_minus_monotonic = time.time() - time.monotonic()
    readings = (reading for reading in recording.read(path) if reading.node_id == plan.name)
    node = EdgeNode(plan.name, plan.name, path.name, capabilities=list(FUNCTIONS), last_heartbeat=clock())
    with _open_pipeline(plan, node, clock) as pipeline:
        to_skip = pipeline.processed
        for event in iterate_events(readings, timeout_seconds=plan.timeout_seconds, end_us=plan.end_us):
            if to_skip:
                to_skip -= isinstance(event, Reading)
                if isinstance(event, Reading):
                    pipeline.append_to_windows(event.fields)
                continue
            if not stop.wait(plan.pace.due(event.at_us) - unix_minus_monotonic - time.monotonic()):
                return
            clock.at_us = event.at_us
            if isinstance(event, Reading):
                pipeline.process(event.fields, at=clock().isoformat(), with_check=True)
            else:
                pipeline.check()


class _RecordedClock:
    """A clock that returns the recorded time of the event being replayed."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.at_us / 1e6, UTC)
