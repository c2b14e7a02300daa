"""The contract's flapping rule on real checks of real sites, against a plain computation."""

from __future__ import annotations

import csv
import gzip
import os
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import fakeredis
import pytest

from edge_redis import EdgeNode, HealthMonitor
from edge_redis._health import flapping
from edge_redis._health.flapping import FlapThresholds
from support.servers import Backend

FOLDER = Path(os.environ.get("EDGE_REDIS_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
FILE = FOLDER / "uptime_checks.csv.gz"
WINDOW = 10

pytestmark = pytest.mark.skipif(not FILE.exists(), reason=f"no {FILE}: set EDGE_REDIS_DATA to the folder that has it")


@pytest.fixture(scope="module")
def sites() -> dict[str, list[bool]]:
    """Each site's checks in the order of their time: whether it was up."""
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    with gzip.open(FILE, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            found[row["node_id"]].append((row["timestamp"], row["up"] == "1"))
    return {site: [up for _, up in sorted(checks, key=lambda check: check[0])] for site, checks in found.items()}


def plainly(verdicts: list[bool]) -> bool:
    """Whether the last ten verdicts change three times or more, spelt out."""
    changes = 0
    for index in range(max(0, len(verdicts) - WINDOW) + 1, len(verdicts)):
        if verdicts[index] is not verdicts[index - 1]:
            changes += 1
    return changes >= 3


def test_the_rule_is_the_plain_computation_at_every_check_of_every_site(sites: dict[str, list[bool]]) -> None:
    flapped = set()
    for site, checks in sites.items():
        for end in range(len(checks) + 1):
            assert flapping.is_flapping(checks[:end], WINDOW) is plainly(checks[:end]), (site, end)
            if plainly(checks[:end]):
                flapped.add(site)
    assert sum(map(len, sites.values())) >= 1000
    assert flapped, "the data has sites that flap"


def test_a_monitor_that_is_fed_the_checks_says_the_same(sites: dict[str, list[bool]], valkey: Backend) -> None:
    with valkey.client() as client, HealthMonitor(client) as monitor:
        for end in range(1, max(map(len, sites.values())) + 1):
            now = datetime.now(UTC)
            fed = {site: checks[:end] for site, checks in sites.items() if len(checks) >= end}
            beats = {site: now - timedelta(seconds=1 if checks[-1] else 120) for site, checks in fed.items()}
            monitor.check_cluster([EdgeNode(site, site, last_heartbeat=beat) for site, beat in beats.items()])
            for site, checks in fed.items():
                assert monitor.detect_flapping(site) is plainly(checks[-WINDOW:]), (site, end)
        assert monitor.summary()["total_checks"] == sum(map(len, sites.values()))


def starts(states: list[bool]) -> int:
    return sum(now and not before for before, now in pairwise([False, *states]))


@pytest.mark.parametrize("direction", [1, -1], ids=["as recorded", "reversed"])
def test_thresholds_raise_a_third_of_the_starts_and_miss_no_site_that_changes_often(
    sites: dict[str, list[bool]], direction: int
) -> None:
    detector = FlapThresholds()
    by_rule = by_thresholds = 0
    for site, recorded in sites.items():
        checks = recorded[::direction]
        prefixes = [checks[:end] for end in range(1, len(checks) + 1)]
        states = detector.states(checks)
        by_rule += starts([flapping.is_flapping(prefix, WINDOW) for prefix in prefixes])
        by_thresholds += starts(states)
        if flapping.count_changes(checks) > 20:
            assert any(states), f"{site} changes {flapping.count_changes(checks)} times"
    assert by_rule >= 30
    assert by_thresholds <= by_rule / 3


def test_a_monitor_with_thresholds_goes_by_them(sites: dict[str, list[bool]]) -> None:
    detector = FlapThresholds()
    site = max(sites, key=lambda name: flapping.count_changes(sites[name]))
    checks = sites[site][:90]
    with HealthMonitor(fakeredis.FakeRedis(), flap_detector=detector) as monitor:
        said = []
        for is_up in checks:
            beat = datetime.now(UTC) - timedelta(seconds=1 if is_up else 120)
            monitor.check_node(EdgeNode(site, site, last_heartbeat=beat))
            said.append(monitor.detect_flapping(site))
        assert said == detector.states(checks)
        assert True in said
        assert (monitor.get_recovery_recommendation(site) == "Reboot node (flapping detected)") is said[-1]
