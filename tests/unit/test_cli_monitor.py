"""`edge-redis monitor` prints transitions and its own role, and waits for a server that is away."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import fakeredis
import pytest

from edge_redis import (
    EdgeNode,
    EdgeNodeStatus,
    HealthMonitor,
    HealthWatch,
    InvalidArgumentError,
    StoreUnavailableError,
    Transition,
    WatchRound,
)
from edge_redis._site.stop_request import StopRequest
from edge_redis.cli.monitor_loop import MonitorLoop, describe_round
from edge_redis.cli.probing import ProbeOptions, make_command_probe, make_confirm
from edge_redis.cli.transition_lines import format_transition

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Steps:
    """Stands in for StopRequest: does one thing after another, then asks to stop."""

    def __init__(self, *deeds: Callable[[], object]) -> None:
        self._deeds = list(deeds)

    def wait(self, _: float) -> bool:
        if not self._deeds:
            return False
        self._deeds.pop(0)()
        return True


class Site:
    def __init__(self, *, as_json: bool = False, since: str | None = None) -> None:
        self.server = fakeredis.FakeServer()
        client = fakeredis.FakeRedis(server=self.server)
        self.monitor = HealthMonitor(client)
        self.watch = HealthWatch(client, interval_seconds=3600.0)
        self.as_json, self.since = as_json, since

    def run(self, *deeds: Callable[[], object]) -> None:
        loop = MonitorLoop(self.monitor, self.watch, None, as_json=self.as_json, since=self.since)
        try:
            loop.run(cast("StopRequest", Steps(*deeds)), None)
        finally:
            self.watch.stop()  # the command closes it

    def beat(self, status: EdgeNodeStatus) -> None:
        self.monitor.heartbeat(EdgeNode("n\x1b[2J1", "n1", status=status))
        self.watch.run_once()

    def online(self) -> None:
        self.beat(EdgeNodeStatus.ONLINE)

    def offline(self) -> None:
        self.beat(EdgeNodeStatus.OFFLINE)


def test_changes_go_to_output_and_the_rest_to_errors(capsys: pytest.CaptureFixture[str]) -> None:
    site = Site()
    site.offline()
    site.run(site.online, site.offline)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [each.split("Z  ")[1] for each in lines] == [
        '"n\\u001b[2J1"  recovered  (was unhealthy)  heartbeat 0.0 s old, timeout 60 s',
        '"n\\u001b[2J1"  unhealthy  (was healthy)  status is offline, heartbeat 0.0 s old, timeout 60 s',
    ]
    assert err.count("\n") == 1
    assert "leading, term 1: first round after a start or an outage" in err


def test_json_from_a_position(capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(as_json=True, since="0")
    site.offline()
    site.run(site.online)
    changes = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert [change["state"] for change in changes] == ["unhealthy", "recovered"]
    again = Site(as_json=True, since=changes[0]["position"])
    again.monitor, again.watch = site.monitor, site.watch
    again.run()
    assert [json.loads(each) for each in capsys.readouterr().out.splitlines()] == changes[1:]


def test_a_server_that_goes_away_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    site = Site()

    def away() -> None:
        site.server.connected = False

    def back() -> None:
        site.server.connected = True
        site.offline()

    site.run(away, lambda: None, back)
    out, err = capsys.readouterr()
    assert out.count("unhealthy") == 1
    assert err.count("continues when the server can be reached again") == 1
    assert err.count("  the server can be reached again\n") == 1


def test_a_server_that_is_not_there_at_the_beginning_is_an_error() -> None:
    site = Site()
    site.server.connected = False
    with pytest.raises(StoreUnavailableError):
        site.run()


def test_a_line_of_the_fleet() -> None:
    change = Transition("", "mass_outage", "healthy", AT, "9 of 9 nodes", "5-1")
    assert format_transition(change) == "2026-03-01 12:00:00Z  (fleet)  mass_outage  (was healthy)  9 of 9 nodes"


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (WatchRound(leader=False), "standing by: another monitor leads"),
        (
            WatchRound(leader=False, config_differs=True),
            "standing by: another monitor leads; its timeout or phi threshold differs from this one's",
        ),
        (
            WatchRound(leader=True, term=3, checked=9, unhealthy=2, suspected=1),
            "leading, term 3: 9 nodes checked, 2 unhealthy, 1 suspected",
        ),
        (
            WatchRound(leader=True, term=3, mass_outage=True, grace=True),
            "leading, term 3: mass outage, verdicts on the nodes without heartbeats are deferred",
        ),
        (
            WatchRound(leader=True, term=1, grace=True),
            ("leading, term 1: first round after a start or an outage: each node has one timeout to send a heartbeat"),
        ),
    ],
)
def test_what_is_said_of_a_round(done: WatchRound, expected: str) -> None:
    assert describe_round(done) == expected


def test_a_command_asks_by_the_node_s_id_in_its_environment(tmp_path: Path) -> None:
    target = tmp_path / "asked"
    probe = make_command_probe(
        ["sh", "-c", f'printf %s "$EDGE_REDIS_NODE" > {target}; test "$EDGE_REDIS_NODE" = "a b"']
    )
    assert probe("a b") is True
    assert target.read_text() == "a b"
    assert probe("$(reboot)") is False
    assert target.read_text() == "$(reboot)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confirm": "true", "probe": "tcp://a:1"}, "exclude each other"),
        ({"networks": ["10.0.0.0/8"]}, "need --probe"),
        ({"probe": "a:22"}, "must begin with tcp://"),
        ({"probe": "ftp://a"}, "must begin with tcp://"),
        ({"probe": "tcp://a"}, "--probe: target must have a port"),
        ({"probe": "tcp://a:22", "networks": ["ten"]}, "networks must be networks"),
        ({"probe": "tcp://{address}:22"}, "needs --probe-metadata"),
        ({"probe": "tcp://a:22", "metadata": "ip"}, "no other target takes it"),
        ({"probe": "tcp://{address}:22", "metadata": "ip"}, "needs --probe-network"),
        ({"probe": "tcp://a:22", "days": 3.0}, "--probe-days is for tls://"),
        ({"probe": "http://a", "authority": Path("ca.pem")}, "--probe-ca is for https:// and tls://"),
        ({"probe": "tls://a:443", "authority": Path("/nowhere/ca.pem")}, "cannot be read"),
    ],
)
def test_options_of_a_probe_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with fakeredis.FakeRedis() as client, HealthMonitor(client) as health:
        with pytest.raises(InvalidArgumentError, match=message):
            make_confirm(ProbeOptions(**options), health)
        assert make_confirm(ProbeOptions(), health) is None
        assert make_confirm(ProbeOptions(probe="https://{node_id}.shop/health", networks=["::1/128"]), health)
