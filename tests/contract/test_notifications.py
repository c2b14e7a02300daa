"""Notifications: messages by Apprise, routes by node, escalation after a time, and repeats."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fakeredis
import pytest

from edge_redis import DeliveryError, EdgeNode, EdgeNodeStatus, HealthMonitor, InvalidArgumentError, Transition
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._site import reminders as reminding
from edge_redis._site.notifications import Route, RoutedSink, read_routes
from edge_redis._site.reminders import Reminders, claim_reminder, count_due
from edge_redis.cli.notifying import Notifier, list_routes
from edge_redis.integrations.apprise import AppriseSink
from edge_redis.models import timestamp_ms
from support.servers import Backend

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
CHANGE = Transition(
    "till-1", "unhealthy", "healthy", AT, "heartbeat 75 s old", "5-1", node_name="Till 1", location="front"
)


class Receiver(BaseHTTPRequestHandler):
    """Keeps the messages that Apprise posts as JSON."""

    messages: ClassVar[list[dict[str, Any]]] = []
    status: ClassVar[int] = 200

    def do_POST(self) -> None:
        self.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    Receiver.messages.clear()
    Receiver.status = 200
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_a_transition_becomes_a_message_of_its_kind(receiver: str) -> None:
    AppriseSink(receiver, link="https://ops.example/node?id=$node")(CHANGE)
    [message] = Receiver.messages
    assert message["title"] == "Till 1 (till-1) is unhealthy"
    assert message["type"] == "failure"
    assert message["message"] == (
        "heartbeat 75 s old\nsite , node Till 1 (till-1), location front, was healthy, at 2026-03-01 12:30:00 UTC\n"
        "https://ops.example/node?id=till-1"
    )


def test_templates_name_the_fields_they_want(receiver: str) -> None:
    AppriseSink(receiver, title="$namespace/$node", body="$state $$5")(CHANGE)
    assert Receiver.messages[0]["title"] == "/till-1"
    assert Receiver.messages[0]["message"] == "unhealthy $5"


def test_a_message_that_is_refused_is_a_failed_delivery(receiver: str) -> None:
    Receiver.status = 500
    with pytest.raises(DeliveryError):
        AppriseSink(receiver)(CHANGE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"urls": []}, "at least one address"),
        ({"urls": ["json://127.0.0.1/", "bogus://user:secret@x"]}, r"address 2 \(bogus\) is none"),
        ({"urls": ["nothing"]}, r"address 1 \(no scheme\)"),
        ({"urls": "json://127.0.0.1/", "title": "$nobody"}, r"title: there is no field \$nobody"),
        ({"urls": "json://127.0.0.1/", "body": "$"}, r"body: .*write \$\$"),
    ],
    ids=["none", "unknown", "no-scheme", "field", "dollar"],
)
def test_what_cannot_be_sent_is_refused_at_once_without_its_password(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words) as raised:
        AppriseSink(**arguments)
    assert "secret" not in str(raised.value)


def test_routes_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "routes.toml"
    path.write_text(
        '[[route]]\nurls = "json://a/"\nlocations = ["store-*"]\n'
        '[[route]]\nurls = ["json://b/"]\nstates = ["unhealthy"]\nafter_seconds = 600\nrepeat_seconds = 3600\n'
    )
    first, second = read_routes(path)
    assert first == Route(urls=("json://a/",), locations=("store-*",))
    assert (second.states, second.after_seconds, second.repeat_seconds) == (("unhealthy",), 600, 3600)
    assert first.name != second.name
    assert "json" not in first.name
    assert [route.has_reminders for route in (first, second)] == [False, True]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"write a table \[\[route\]\]"),
        ("[route]\nurls = 'json://a'", r"write a table \[\[route\]\]"),
        ("[[route]]\n", "route 1: a route needs urls"),
        ("[[route]]\nurls = 5", "route 1"),
        ("[[route]]\nurls = 'json://a'\nurl = 1", "unknown setting 'url'"),
        ("[[route]]\nurls = 'json://a'\nafter_seconds = -1", "route 1: after_seconds"),
        ("[[route", "cannot be read"),
    ],
    ids=["empty", "table", "no-urls", "number", "unknown", "negative", "broken"],
)
def test_a_wrong_file_of_routes_says_where(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "routes.toml").write_text(text)
    with pytest.raises(InvalidArgumentError, match=words):
        read_routes(tmp_path / "routes.toml")


@pytest.mark.parametrize(
    ("after", "repeat", "age", "due"),
    [
        (0, 0, 1e6, 0),
        (600, 0, 599, 0),
        (600, 0, 600, 1),
        (600, 0, 1e6, 1),
        (600, 60, 659, 1),
        (600, 60, 660, 2),
        (0, 60, 59, 0),
        (0, 60, 121, 2),
    ],
)
def test_reminders_become_due_with_the_age_of_an_alert(after: float, repeat: float, age: float, due: int) -> None:
    assert count_due(Route(urls=("a",), after_seconds=after, repeat_seconds=repeat), age) == due


class Site:
    """A namespace whose time the test sets, and reminders that two monitors send."""

    def __init__(self, client: Any, route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monitor = HealthMonitor(client, namespace="site")
        self.sent: list[Transition] = []
        self.fails = False
        self._now_ms = 0
        monkeypatch.setattr(reminding.Reminders, "_now_ms", lambda _: self._now_ms)
        sink = RoutedSink(route, self.monitor, self._receive)
        self.monitors = [Reminders(client, self.monitor, [sink]) for _ in range(2)]

    def _receive(self, change: Transition) -> None:
        if self.fails:
            raise DeliveryError("no")
        self.sent.append(change)

    def fail(self, node_id: str) -> None:
        self.monitor.heartbeat(node_id, EdgeNodeStatus.OFFLINE)
        self.monitor.check_node(node_id)

    def recover(self, node_id: str) -> None:
        self.monitor.heartbeat(node_id)
        self.monitor.check_node(node_id)

    def after(self, seconds: float) -> list[tuple[str, str]]:
        """Let the monitors look at a time after the first alert; return what was sent."""
        first = next(change for change in self.monitor.transitions() if change.state == "unhealthy")
        self._now_ms = timestamp_ms(first.at) + round(seconds * 1000)
        self.sent.clear()
        for each in self.monitors:
            each.run_once()
        return [(change.node_id, change.state) for change in self.sent]


@pytest.fixture
def client() -> Iterator[Any]:
    with fakeredis.FakeRedis() as made:
        yield made


def test_an_alert_is_escalated_once_when_it_is_old_and_its_end_is_sent(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(client, Route(urls=("a",), after_seconds=600, repeat_seconds=3600), monkeypatch)
    site.monitor.register(EdgeNode("till-1", "Till 1", "front"))
    site.fail("till-1")
    assert site.after(599) == []
    assert site.after(601) == [("till-1", "unhealthy")]
    assert (site.sent[0].node_name, site.sent[0].location, site.sent[0].namespace) == ("Till 1", "front", "site")
    assert site.sent[0].reason.endswith("; still unhealthy after 10 min")
    assert site.after(700) == []
    assert site.after(600 + 3601) == [("till-1", "unhealthy")]
    site.recover("till-1")
    assert site.after(600 + 3700) == [("till-1", "recovered")]
    assert site.after(9000) == []


def test_an_alert_that_ends_in_time_is_not_escalated(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(client, Route(urls=("a",), after_seconds=600), monkeypatch)
    site.monitor.register(EdgeNode("till-1", "Till 1"))
    site.fail("till-1")
    assert site.after(1) == []
    site.recover("till-1")
    assert site.after(700) == []


def test_a_monitor_that_starts_later_knows_the_open_alerts(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    route = Route(urls=("a",), repeat_seconds=60)
    site = Site(client, route, monkeypatch)
    site.monitor.register(EdgeNode("till-1", "Till 1"))
    site.fail("till-1")
    assert site.after(61) == [("till-1", "unhealthy")]
    later = Site(client, route, monkeypatch)
    assert later.after(62) == []
    assert later.after(200) == [("till-1", "unhealthy")], "what was missed is not made up for"


def test_a_reminder_that_fails_is_sent_by_the_next_round(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(client, Route(urls=("a",), after_seconds=1), monkeypatch)
    site.monitor.register(EdgeNode("till-1", "Till 1"))
    site.fail("till-1")
    site.fails = True
    assert site.after(2) == []
    site.fails = False
    assert site.after(3) == [("till-1", "unhealthy")]


def test_a_claim_that_is_sent_twice_is_recognised_and_one_of_another_call_is_refused(backend: Backend) -> None:
    client = backend.client()
    runner = BlockingRunner(client)
    assert [runner.run(claim_reminder("reminder", "mine", 60_000)) for _ in range(2)] == [True, True]
    assert runner.run(claim_reminder("reminder", "theirs", 60_000)) is False
    assert 0 < client.pttl("reminder") <= 60_000


def test_a_route_has_its_locations_and_capabilities(client: Any) -> None:
    monitor = HealthMonitor(client)
    monitor.register(EdgeNode("a", "A", "store-4", capabilities=["pos"]))
    monitor.register(EdgeNode("b", "B", "depot", capabilities=["print"]))

    def chosen(**settings: Any) -> list[str]:
        route = Route(urls=("u",), **settings)
        changes = [Transition(name, "unhealthy", "healthy", AT, "", "1-1") for name in ("a", "b", "gone", "")]
        return [change.node_id for change in changes if route.matches(monitor, change)]

    assert chosen() == ["a", "b", "gone", ""]
    assert chosen(locations=("store-*",)) == ["a", ""]
    assert chosen(capabilities=("print", "scan")) == ["b", ""]
    assert chosen(locations=("depot",), capabilities=("pos",)) == [""]


def test_the_monitor_command_sends_a_relays_messages(client: Any, receiver: str) -> None:
    monitor = HealthMonitor(client, namespace="site")
    notifier = Notifier(client, monitor, list_routes([receiver], None, "unhealthy, recovered"))
    assert notifier.reminders() is None
    [relay] = notifier.relays()
    with relay:
        relay.run_once()
        monitor.register(EdgeNode("till-1", "Till 1", "front"))
        monitor.heartbeat("till-1", EdgeNodeStatus.OFFLINE)
        monitor.check_node("till-1")
        assert relay.run_once() == 1
    assert [message["title"] for message in Receiver.messages] == ["Till 1 (till-1) is unhealthy"]
    assert "site site, node" in Receiver.messages[0]["message"]
