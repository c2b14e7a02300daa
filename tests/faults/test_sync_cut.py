"""Far more is written during a cloud outage than an outbox holds: a small run of ``scripts/dev/weeks_cut.py``."""

from __future__ import annotations

import pytest

from edge_redis import embedded
from support.cut import MAX_PENDING, Plan, largest_body, run


@pytest.mark.exploration
def test_a_cut_during_which_every_outbox_overflows_is_caught_up_within_its_memory() -> None:
    plan = Plan(updates=3000, scopes=10)
    with embedded.start(appendfsync="no") as edge, embedded.start(appendfsync="no") as cloud:
        report = run(plan, edge, cloud, every=0.1)
    watch = report.watch
    assert watch.wrong == []
    assert watch.samples > 3
    assert watch.oldest_seconds > 0
    assert watch.longest == MAX_PENDING
    assert report.effects <= plan.scopes * MAX_PENDING
    assert watch.peak["edge"] > plan.scopes * MAX_PENDING * largest_body()  # the full outboxes were among the samples
