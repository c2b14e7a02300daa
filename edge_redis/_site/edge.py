"""An edge process: host telemetry until it is stopped, or one node's part of a recording until its end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from edge_redis._site import recording
from edge_redis._site.functions import FUNCTIONS
from edge_redis._site.opening import open_services
from edge_redis._site.plan import Plan
from edge_redis._site.recording import Reading
from edge_redis._site.replay import events
from edge_redis._site.stopping import Stop
from edge_redis._site.work import NodeWork
from edge_redis.models import EdgeNode, utc_now


@contextmanager
def _node_work(plan: Plan, node: EdgeNode, clock: Callable[[], datetime] | None) -> Iterator[NodeWork]:
    with (
        open_services(
            plan.url, plan.namespace, timeout_seconds=plan.timeout_seconds, cache_size=plan.cache_size, clock=clock
        ) as services,
        closing(NodeWork(services, node, run=plan.run)) as work,
    ):
        yield work


def live(plan: Plan, stop: Stop) -> None:
    """Sample the machine every interval."""
    from edge_redis._site import telemetry  # noqa: PLC0415 -- psutil is wanted here alone

    node = EdgeNode(plan.name, plan.name, os.uname().nodename, capabilities=list(FUNCTIONS))
    with _node_work(plan, node, None) as work:
        telemetry.sample()  # CPU usage is that since the sample before
        due = time.monotonic() + plan.interval_seconds
        while stop.wait(due - time.monotonic()):
            fields = telemetry.sample()
            resources = telemetry.resources(fields, active_functions=len(FUNCTIONS))
            work.process(fields, at=utc_now().isoformat(), resources=resources)
            due = max(due + plan.interval_seconds, time.monotonic())


def replay(plan: Plan, stop: Stop) -> None:
    """Play one node's readings at their pace, going on after the last one that is in the state.

    A process that is late does not wait until it has caught up; no reading is left out.
    """
    assert plan.pace is not None
    clock = _RecordedClock(plan.pace.first_us)
    path = Path(plan.recording)
    since_monotonic = time.time() - time.monotonic()  # once: a clock that is set later does not move the replay
    readings = (reading for reading in recording.read(path) if reading.node_id == plan.name)
    node = EdgeNode(plan.name, plan.name, path.name, capabilities=list(FUNCTIONS), last_heartbeat=clock())
    with _node_work(plan, node, clock) as work:
        to_skip = work.done
        for event in events(readings, timeout_seconds=plan.timeout_seconds, end_us=plan.end_us):
            if to_skip:
                to_skip -= isinstance(event, Reading)
                if isinstance(event, Reading):
                    work.remember(event.fields)
                continue
            if not stop.wait(plan.pace.due(event.at_us) - since_monotonic - time.monotonic()):
                return
            clock.at_us = event.at_us
            if isinstance(event, Reading):
                work.process(event.fields, at=clock().isoformat(), is_judged=True)
            else:
                work.check()


class _RecordedClock:
    """Says the recorded time, set by whoever plays the recording."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.at_us / 1e6, UTC)
