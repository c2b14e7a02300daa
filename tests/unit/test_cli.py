"""The command line: what is wrong is one line and an exit code, never a traceback."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import edge_redis
from edge_redis._site.report import FunctionReport, NodeReport, Report, ScopeReport
from edge_redis._sync.totals import NO_TOTALS, Totals
from edge_redis.cli import text, view
from edge_redis.cli.live import LiveView
from edge_redis.cli.main import main
from support.servers import Backend

DEAD_PORT = "redis://127.0.0.1:1/0"


def report(**changes: Any) -> Report:
    facts: dict[str, Any] = {
        "run": {"mode": "live", "namespace": "up-1", "server": "given", "seconds": 2.04, "ended_by": "duration"},
        "nodes": {
            "edge-1": NodeReport(
                readings=1200,
                heartbeats=1200,
                checks=7,
                unhealthy_spells=2,
                flapping=True,
                healthy=False,
                status="online",
                recommendation="Normal",
                restarts=0,
            )
        },
        "functions": {"anomaly_score": FunctionReport(count=3, success_rate=100.0, avg_ms=1.234, p50_ms=1.0, p95_ms=2)},
        "cache": {"size": 2, "hits": 1, "misses": 2, "hit_rate": 33.333, "evictions": 0},
        "scopes": {"edge-1": ScopeReport(edge_version=3, cloud_version=2, pending=1, conflicts=0, equal=False)},
        "totals": Totals(3, NO_TOTALS.link | {"bytes_up": 1500, "splices_up": 2, "full_states_up": 1}, 6000, {31: 3}),
    }
    return Report(**{**facts, **changes})


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return exit code, output and errors."""
    try:
        code = main(list(arguments))
    except SystemExit as end:
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "--replay", "/nowhere/at/all.csv"],
        ["up", "--nodes", "0"],
        ["metrics", "serve", "--port", "65536"],
        ["metrics", "show", "--cache-size", "0"],
        ["up", "--nodes", "201"],
        ["up", "--speed", "nan"],
        ["up", "--speed", "0"],
        ["up", "--duration", "-1"],
        ["up", "--heartbeat-timeout", "inf"],
        ["up", "--namespace", "a{b}"],
        ["up", "--namespace", ""],
        ["up", "--url", "http://example.org"],
        ["up", "--url", DEAD_PORT, "--data-dir", "/tmp/x"],
        ["status", "--url", "no url"],
        ["status", "--namespace", "a{b}"],
        ["doctor", "--url", "redis://host:notaport"],
        ["monitor", "--heartbeat-timeout", "0"],
        ["monitor", "--interval", "nan"],
        ["monitor", "--interval", "5", "--lease", "9"],
        ["monitor", "--retention", "-1"],
        ["monitor", "--suspicion", "-1"],
        ["monitor", "--phi-threshold", "0"],
        ["monitor", "--duration", "0"],
        ["monitor", "--namespace", ""],
        ["monitor", "--since", "yesterday"],
        ["monitor", "--webhook", "file:///etc/passwd"],
        ["monitor", "--command", ""],
        ["monitor", "--command", "'"],
        ["monitor", "--confirm", " "],
        ["monitor", "--states", "unhealthy,", "--command", "true"],
    ],
)
def test_a_wrong_value_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("edge-redis: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sideways"], "No such command 'sideways'."),
        (["up", "--nodes", "many"], "Invalid value for '--nodes'"),
        (["up", "--sped", "3"], "No such option: --sped"),
        (["cache", "get"], "Missing argument 'KEY'."),
        (["cache", "put", "k", "{"], "the value is not valid JSON"),
        (["cache", "put", "k", "[" * 20_000], "the value is not valid JSON"),
        (["maintenance", "n1", "--for", "soon"], "'soon' is not a duration"),
        (["maintenance", "n1", "--end", "--for", "2h"], "--end takes neither"),
        (["completion", "powershell"], "has no completion script"),
        (["worker", "--cloud-url", "redis://x", "--cloud-sql", "sqlite:///x"], "not both"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("edge-redis: ")
    assert err.count("\n") == 1


def test_alone_it_shows_its_help_and_a_group_shows_the_groups(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    assert all(name in out for name in ("monitor", "status", "doctor", "worker"))
    code, out, err = run(capsys, "cache")
    assert (code, out) == (2, "")
    assert "invalidate-tag" in err


def test_a_report_that_cannot_be_written_is_an_error_before_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "up", "--duration", "1", "--report", "/nowhere/at/all.json")
    assert (code, out) == (1, "")
    assert err.startswith("edge-redis: the report cannot be written")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"edge-redis {edge_redis.__version__}\n", "")


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--url", "--nodes", "--replay", "--speed", "--heartbeat-timeout", "--duration", "--report", "--quiet"]
    code, out, _ = run(capsys, "up", "--help")
    assert code == 0
    assert all(option in out for option in options)


def test_status_and_doctor_write_nothing(capsys: pytest.CaptureFixture[str], valkey: Backend) -> None:
    assert valkey.url is not None
    with valkey.client() as client:
        edge_redis.HealthMonitor(client, namespace="site").register(edge_redis.EdgeNode("n1", "n1", "hall 7"))
        edge_redis.EdgeCache(client, namespace="site").put("a", 1)
        before = sorted(client.keys())
        code, out, err = run(capsys, "status", "--url", valkey.url, "--namespace", "site")
        assert (code, err) == (0, "")
        assert "namespace site: 1 node, 0 unhealthy" in out
        assert "hall 7" in out
        assert "cache: 1 entries" in out
        code, out, err = run(capsys, "doctor", "--url", valkey.url)
        assert (code, err) == (0, "")
        topics = ["ping", "version", "persistence", "eviction", "memory", "connections", "replication", "scripts"]
        topics += ["permissions", "clock"]
        assert [line.split()[1].rstrip(":") for line in out.splitlines()][: len(topics)] == topics
        assert sorted(client.keys()) == before


def test_doctor_fails_where_redis_would_evict_what_waits(capsys: pytest.CaptureFixture[str], valkey: Backend) -> None:
    assert valkey.url is not None
    with valkey.client() as client:
        client.config_set("maxmemory", "1gb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            code, out, _ = run(capsys, "doctor", "--url", valkey.url)
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")
    assert code == 1
    assert "fail  eviction: allkeys-lru" in out


def test_the_report_in_words() -> None:
    lines = text.report(report(failures={"monitor": "ended by SIGKILL"})).splitlines()
    assert lines[0] == "edge-redis up, live: duration after 2.0 s: 1,200 readings processed, 3 functions invoked"
    assert "edge-1     1,200       1,200       7                 2       yes  UNHEALTHY  online" in lines
    assert "anomaly_score      3   100.0%    1.23    1.00    2.00" in lines
    assert "edge-1             3              2        1          0     no" in lines
    assert "cache: 2 entries, 1 hits, 2 misses (33.3% hits), 0 evictions" in lines
    assert "sync: 1 pending, 0 conflicts, ENDS DIFFER" in lines
    assert "link: 1.5 kB up, 2 of 3 states as splices, 0 B down; median time to the cloud 2.0 ms" in lines
    assert lines[-1] == "monitor failed and was restarted: ended by SIGKILL"


def test_the_report_as_json() -> None:
    facts = json.loads(json.dumps(report().to_dict()))
    assert facts["readings_processed"] == 1200
    assert facts["invocations"] == 3
    assert facts["nodes"]["edge-1"]["unhealthy_spells"] == 2
    scope = {"edge_version": 3, "cloud_version": 2, "pending": 1, "conflicts": 0, "equal": False}
    sync = facts["sync"]
    assert (sync["link"]["bytes_up"], sync["time_to_cloud"]["count"]) == (1500, 3)
    assert sync == sync | {"scopes": {"edge-1": scope}, "pending": 1, "conflicts": 0, "all_equal": False}
    assert "gap longer than the heartbeat timeout" in facts["rules"]["unhealthy_spells"]


def test_lines_for_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with view.choose_view(is_quiet=False) as lines:
        lines.log("something happened")
        lines.show(report())
        lines.show(report())  # within two seconds of the other
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "something happened"
    assert out[1].startswith("2.0 s: 1,200 readings processed")
    assert out[2:] == ["unhealthy: edge-1"]


def test_nothing_where_it_is_to_be_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with view.choose_view(is_quiet=True) as quiet:
        quiet.log("something happened")
        quiet.show(report())
    assert capsys.readouterr().out == ""


def test_tables_for_a_terminal() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    with LiveView(console) as live:
        live.log("something happened")
        live.show(report())
    file = console.file
    assert isinstance(file, io.StringIO)
    shown = file.getvalue()
    for words in ("something happened", "unhealthy spells", "1,200", "anomaly_score", "UNHEALTHY", "ENDS DIFFER"):
        assert words in shown


def test_a_terminal_without_rich_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with view.choose_view(is_quiet=False) as chosen:
        assert isinstance(chosen, LiveView)
    monkeypatch.setitem(sys.modules, "edge_redis.cli.live", None)
    with view.choose_view(is_quiet=False) as chosen:
        assert isinstance(chosen, view.LineView)


def test_an_empty_recording_is_refused_before_a_server_is_started(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*_: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr("edge_redis.embedded.start", start)
    path = tmp_path / "empty.csv"
    path.write_text("timestamp_s,node_id,x\n")
    code, out, err = run(capsys, "up", "--replay", str(path))
    assert (code, out, err) == (2, "", f"edge-redis: {path} has no readings\n")


def test_help_names_the_extra_that_a_command_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert "pip install 'edge-redis[dashboard]'" in run(capsys, "dashboard", "--help")[1]


def test_a_namespace_in_which_nothing_is_stored_is_said_to_be_empty(
    capsys: pytest.CaptureFixture[str], valkey: Backend
) -> None:
    code, out, _ = run(capsys, "status", "--url", str(valkey.url), "--namespace", "no-such-site")
    assert code == 0
    assert "nothing is stored in this namespace: `edge-redis namespace list`" in out


def test_maintenance_of_an_unknown_node_says_how_to_find_its_name(
    capsys: pytest.CaptureFixture[str], valkey: Backend
) -> None:
    code, _, err = run(capsys, "maintenance", "till-9", "--for", "1h", "--url", str(valkey.url))
    assert code == 2
    assert err == "edge-redis: no node 'till-9' is registered in this namespace: `edge-redis nodes` lists them\n"
