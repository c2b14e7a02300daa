"""Short runs of scripts/dev/check_history.py of cache, health and metrics, with planted mistakes too."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from support.service_history.calls import plan_services
from support.service_history.experiment import SERVICES, ServiceExperiment
from support.service_history.plants import SERVICE_PLANTS


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


@pytest.mark.exploration
@pytest.mark.timeout(120)
@pytest.mark.parametrize("service", SERVICES)
def test_every_history_holds_whatever_is_killed_and_cut(service: str, tmp_path: Path) -> None:
    report = ServiceExperiment(plan_services(tmp_path, 1), service).run(seconds=10, round_seconds=5)
    assert not report.violations, "\n".join([*report.lines(), *report.violations[:20], f"see {tmp_path}"])
    assert sum(count for (_, outcome), count in report.calls.items() if outcome == "ok") > 100
    assert sum(report.harms.values()) > 10


@pytest.mark.exploration
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", SERVICE_PLANTS)
def test_planted_mistakes_are_found(name: str, tmp_path: Path) -> None:
    planted = SERVICE_PLANTS[name]
    plan = plan_services(tmp_path, 1, plant=planted.plant, near_bug=planted.near_bug)
    report = ServiceExperiment(plan, planted.service).run(seconds=60, round_seconds=10)
    assert report.violations, "\n".join(report.lines())
