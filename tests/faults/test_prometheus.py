"""A real Prometheus scrapes a site of real processes: alerts fire on faults and end with them, the board has data."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_redis import EdgeNode, EdgeRedis
from support.deadline import eventually
from support.metrics import made
from support.prometheus import RULES, Prometheus, board_queries
from support.servers import Backend

NAMESPACE = "site"
TIMEOUT_SECONDS = "1.5"
SECONDS_A_MINUTE = 0.3
"""How fast time passes for the rules: their minutes are short, their conditions and labels are as deployed."""

Start = Callable[..., subprocess.Popen[str]]


def _fast_rules() -> str:
    text = re.sub(r"\b(\d+)m\b", lambda found: f"{int(found[1]) * SECONDS_A_MINUTE * 1000:.0f}ms", RULES.read_text())
    return text.replace("* 60", f"* {SECONDS_A_MINUTE}")


@pytest.fixture
def start(valkey: Backend) -> Iterator[Start]:
    """Starts a command of ``edge-redis`` on the site's server."""
    with ExitStack() as stack:

        def run(*words: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "edge_redis", *words, "--url", str(valkey.url), "--namespace", NAMESPACE]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return process

        yield run


@pytest.fixture
def site(valkey: Backend) -> Iterator[EdgeRedis]:
    """The services of the site, and nodes that stay healthy, beside which one that dies is no mass outage."""
    with valkey.client() as client, EdgeRedis(client, namespace=NAMESPACE) as edge:
        for number in range(4):
            edge.health.register(EdgeNode(f"till-{number}", f"Till {number}"), heartbeat_timeout_seconds=3600.0)
        edge.metrics.record_many([made("pay", "till-0"), made("pay", "till-1", ok=False)])
        edge.cache.put("k", 1)
        edge.cache.get("k")
        edge.metrics.flush()
        yield edge


@pytest.fixture
def prometheus(site: EdgeRedis, start: Start, tmp_path: Path) -> Iterator[Prometheus]:
    exporter = start("metrics", "serve", "--port", "0", "--heartbeat-timeout", TIMEOUT_SECONDS)
    assert exporter.stdout is not None
    address = exporter.stdout.readline().split()[0].removeprefix("http://").removesuffix("/metrics")
    with Prometheus(tmp_path, address, _fast_rules()) as running:
        yield running


def test_alerts_fire_and_end_and_the_board_has_data(prometheus: Prometheus, site: EdgeRedis, start: Start) -> None:
    assert eventually(lambda: prometheus.firing("EdgeNoMonitor"), seconds=20)
    agent = ["agent", "--node", "drill", "--interval", "0.2"]
    first = start(*agent)
    start("monitor", "--heartbeat-timeout", TIMEOUT_SECONDS, "--interval", "0.2", "--command", "true")
    up = f'edge_node_up{{namespace="{NAMESPACE}",node="drill"}} == 1'
    eventually(lambda: prometheus.query(up), seconds=20)
    first.kill()
    site.synchronizer("prices").update_local({"tea": 3})  # which no worker carries yet

    (down,) = eventually(lambda: prometheus.firing("EdgeNodeDown"), seconds=20)
    assert (down["namespace"], down["node"], down["severity"]) == (NAMESPACE, "drill", "warning")
    assert eventually(lambda: prometheus.firing("EdgeSyncLagGrowing"), seconds=20)
    eventually(lambda: not prometheus.firing("EdgeNoMonitor"), seconds=20)

    start(*agent)
    start("worker")
    eventually(lambda: not prometheus.firing("EdgeNodeDown"), seconds=20)
    eventually(lambda: not prometheus.firing("EdgeSyncLagGrowing"), seconds=20)

    for panel, query in board_queries(interval="5s").items():
        assert eventually(lambda query=query: prometheus.query(query), seconds=20), panel  # type: ignore[misc]


@pytest.mark.exploration
def test_a_server_and_an_exporter_that_are_gone_fire_their_alerts(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_redis", "metrics", "serve", "--port", "0", "--url", "redis://127.0.0.1:1/0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as exporter:
        assert exporter.stdout is not None
        address = exporter.stdout.readline().split()[0].removeprefix("http://").removesuffix("/metrics")
        with Prometheus(tmp_path, address, _fast_rules()) as prometheus:
            assert eventually(lambda: prometheus.firing("EdgeServerUnreachable"), seconds=20)
            exporter.kill()
            assert eventually(lambda: prometheus.firing("EdgeExporterDown"), seconds=20)
