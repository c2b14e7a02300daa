"""edge-redis metrics: a live run's exposition, over HTTP and printed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from edge_redis import EdgeMetrics, EdgeNode, EdgeRedis
from edge_redis.cli.main import main
from edge_redis.types import Grouping, Ranking
from support.metrics import made
from support.servers import Backend

COMMAND = [sys.executable, "-m", "edge_redis", "metrics"]


@pytest.fixture
def endpoint(valkey: Backend) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A running ``metrics serve`` and where it says it is."""
    assert valkey.url is not None
    words = [*COMMAND, "serve", "--url", valkey.url, "--port", "0", "--scope", "room"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0], process
        process.kill()


def counted(text: str, name: str) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["function"], sample.labels["node"]): sample.value
        for family in parse(text)
        for sample in family.samples
        if sample.name == name
    }


def scraped(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        text: str = response.read().decode()
    return text


def test_a_live_run_is_served_as_it_counts(valkey: Backend, endpoint: tuple[str, Any]) -> None:
    url, process = endpoint
    with valkey.client() as client, EdgeMetrics(client, flush_every=50, flush_interval=0.02) as metrics:
        ended = threading.Event()

        def work() -> None:
            at = 0
            while not ended.is_set():
                metrics.record(made(f"f{at % 3}", ms=1.0 + at % 50, ok=at % 9 > 0))
                at += 1
                ended.wait(0.0001)

        writer = threading.Thread(target=work)
        writer.start()
        before: dict[tuple[str, str], float] = {}
        for _ in range(5):  # while it counts: whatever is read parses, and no counter goes back
            now = counted(scraped(url), "edge_invocations_total")
            assert all(now[pair] >= value for pair, value in before.items())
            before = now
        ended.set()
        writer.join()
        metrics.flush()
        text = scraped(url)
        pairs = metrics.series()
        assert counted(text, "edge_invocations_total") == {pair: metrics.total_invocations(*pair) for pair in pairs}
        errors = {(function, node): metrics.error_count(node, function) for function, node in pairs}
        assert counted(text, "edge_invocation_errors_total") == errors
        assert 'edge_sync_pending_changes{namespace="default",scope="room"} 0.0' in text
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_it_is_printed_once(valkey: Backend) -> None:
    assert valkey.url is not None
    with EdgeRedis.from_url(valkey.url, namespace="site") as edge:
        edge.metrics.record(made())
        edge.health.register(EdgeNode("a", "a"))
    words = [*COMMAND, "show", "--url", valkey.url, "--namespace", "site"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert counted(done.stdout, "edge_invocations_total") == {("f", "n"): 1.0}
    assert 'edge_node_up{namespace="site",node="a"} 1.0' in done.stdout


def test_a_store_that_is_away_is_an_exit_code() -> None:
    done = subprocess.run(
        [*COMMAND, "show", "--url", "redis://127.0.0.1:1/0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "edge_redis_up 0.0" in done.stdout
    assert "Traceback" not in done.stderr


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["metrics", *words])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("group_by", "columns"),
    [("function", ["function", "total"]), ("node", ["node", "total"]), ("pair", ["function", "node", "total"])],
)
def test_a_ranking_has_the_columns_of_its_grouping(
    capsys: pytest.CaptureFixture[str], valkey: Backend, group_by: str, columns: list[str]
) -> None:
    assert valkey.url is not None
    with valkey.client() as client, EdgeMetrics(client) as metrics:
        metrics.record(made())
    code, out = run(capsys, "top", "--url", valkey.url, "--group-by", group_by)
    assert code == 0
    assert out.split()[: len(columns)] == columns
    assert "None" not in out


def test_every_ranking_of_the_api_can_be_chosen(capsys: pytest.CaptureFixture[str], valkey: Backend) -> None:
    assert valkey.url is not None
    for by in get_args(Ranking):
        assert run(capsys, "top", "--url", valkey.url, "--by", by) == (0, "no invocations\n")
    _, text = run(capsys, "top", "--help")
    assert not [by for by in (*get_args(Ranking), *get_args(Grouping)) if by not in text]
