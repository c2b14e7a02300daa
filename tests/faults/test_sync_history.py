"""A short run of scripts/dev/check_history.py: all strategies at once, on real servers, under every kind of harm."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edge_redis import ConflictStrategy
from support.history.actors import Plan
from support.history.experiment import Experiment, save
from support.sync_plants import Plant


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "edge_redis")


@pytest.mark.exploration
def test_every_history_holds_whatever_is_killed_cut_and_skewed(tmp_path: Path) -> None:
    plan = Plan(tuple(ConflictStrategy), 24, Plant(), tmp_path, pause=0.02, seed=1)
    report = Experiment(plan).run(seconds=5, round_seconds=2.5, stalled_seconds=20)
    save(tmp_path, report.violations)
    assert not report.violations, "\n".join([*report.lines(), *map(str, report.violations), f"see {tmp_path}"])
    assert sum(count for (_, outcome), count in report.calls.items() if outcome == "ok") > 100
    assert report.steps["write"] > 100
    assert report.steps["take"] > 100
    assert sum(report.harms.values()) > 10
