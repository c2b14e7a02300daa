"""A short run of scripts/dev/check_cluster.py: all services on a cluster while a master dies and slots move."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from support.service_history.calls import plan_services
from support.service_history.cluster_experiment import SHARDED, ClusterExperiment


@pytest.mark.exploration
@pytest.mark.timeout(300)
def test_nothing_is_lost_or_counted_twice_while_masters_die_and_slots_move(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")
    report = ClusterExperiment(plan_services(tmp_path, 1, pause=0.05, is_cluster=True)).run(20, 20)
    assert not report.violations, "\n".join([*report.lines(), *report.violations[:20], f"see {tmp_path}"])
    assert len(report.harms) == 3 + len(SHARDED)
    assert {service for service, _, outcome in report.calls if outcome == "ok"} == {
        "cache-plain", "cache-near", "health", "metrics", "sync",
    }  # fmt: skip
