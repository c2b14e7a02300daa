"""The alert rules, Prometheus' configuration and the Grafana board: valid, tested, documented, of exported metrics."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from support.prometheus import DEPLOY, ROOT, RULES, board_queries, promtool

PAGE = ROOT / "docs" / "how-to" / "respond-to-alerts.md"
NAMES = ROOT / "docs" / "reference" / "metric-names.md"
TESTS = Path(__file__).parents[1] / "support" / "alerts" / "rules_test.yml"
RUNBOOK = "https://github.com/edge-redis/edge-redis/blob/main/docs/how-to/respond-to-alerts.md"


def _alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_prometheus_accepts_the_configuration_and_its_rules() -> None:
    assert "SUCCESS" in promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")


def test_each_alert_fires_on_what_it_is_for() -> None:
    assert "SUCCESS" in promtool("test", "rules", TESTS)


def test_each_alert_is_tested() -> None:
    tested = set(re.findall(r"\bEdge[A-Z]\w+", TESTS.read_text()))
    assert {rule["alert"] for rule in _alerts()} == tested


def test_each_alert_has_a_part_of_the_page_that_it_links_to() -> None:
    headings = re.findall(r"^### (Edge\w+)$", PAGE.read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in _alerts())
    for rule in _alerts():
        assert rule["annotations"]["runbook_url"] == f"{RUNBOOK}#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_rules_and_board_use_metrics_that_are_exported() -> None:
    documented = set(re.findall(r"`(edge_\w+)`", NAMES.read_text()))
    queries = [*(rule["expr"] for rule in _alerts()), *board_queries(interval="5m").values()]
    used = {name for query in queries for name in re.findall(r"\bedge_\w+", query)}
    assert {re.sub(r"_(total|bucket)$", "", name) for name in used} <= documented


def test_prometheus_parses_each_query_of_the_board(tmp_path: Path) -> None:
    """As recording rules: older releases of promtool have no command for a query."""
    found = board_queries(interval="5m")
    rules = [{"record": f"panel_{number}", "expr": query} for number, query in enumerate(found.values())]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(found)} rules found" in promtool("check", "rules", file)


def test_the_board_is_the_generated_one() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "dev" / "generate_board.py"), "--check"]
    assert subprocess.run(command, check=False).returncode == 0
