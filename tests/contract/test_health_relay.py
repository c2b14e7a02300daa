"""TransitionRelay: each transition handed on, in order, tried again, and by one relay of many."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from edge_redis import (
    EdgeNode,
    ExecSink,
    HealthMonitor,
    InvalidArgumentError,
    InvalidTypeError,
    ServiceClosedError,
    StoreUnavailableError,
    Transition,
    TransitionRelay,
    WebhookSink,
)
from support.clock import ServerClock, stop_the_clock
from support.deadline import eventually

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHANGE = Transition("n1", "unhealthy", "healthy", AT, "heartbeat 75.2 s old, timeout 60 s", "5-1")
AS_JSON = {
    "node_id": "n1",
    "state": "unhealthy",
    "previous": "healthy",
    "at": "2026-03-01T12:00:00+00:00",
    "reason": "heartbeat 75.2 s old, timeout 60 s",
    "position": "5-1",
}


class Sink:
    """Keeps what it got, and fails as often as it is told."""

    def __init__(self, fail: int = 0) -> None:
        self.got: list[tuple[str, str]] = []
        self.fail = fail
        self.tries = 0

    def __call__(self, change: Transition) -> None:
        self.tries += 1
        if self.fail > 0:
            self.fail -= 1
            raise OSError("not now")
        self.got.append((change.node_id, change.state))


def flap(client: Any, *names: str) -> None:
    """Let each node fail and recover once."""
    with HealthMonitor(client) as monitor:
        for seconds in (100.0, 1.0):
            beat = datetime.now(UTC) - timedelta(seconds=seconds)
            monitor.check_cluster([EdgeNode(name, name, last_heartbeat=beat) for name in names])


def both(*names: str) -> list[tuple[str, str]]:
    return [(name, state) for state in ("unhealthy", "recovered") for name in names]


def test_each_is_handed_on_once_and_in_order_from_the_first_look_on(client: Any) -> None:
    sink = Sink()
    with TransitionRelay(client, sink) as relay:
        flap(client, "old")
        assert relay.run_once() == 0
        flap(client, "a", "b")
        assert relay.run_once() == 4
        assert relay.run_once() == 0
        assert relay.stats() == {"delivered": 4, "dropped": 0, "lost": 0, "attempts": 0, "last_error": ""}
    assert sink.got == both("a", "b")


def test_another_goes_on_where_one_left_off(client: Any) -> None:
    first, second = Sink(), Sink()
    with TransitionRelay(client, first, lease_seconds=0.001) as relay:
        relay.run_once()
        flap(client, "a")
        assert relay.run_once() == 2
    flap(client, "b")
    with TransitionRelay(client, second) as relay:
        assert eventually(relay.run_once) == 2
    assert (first.got, second.got) == (both("a"), both("b"))


def test_one_that_closes_hands_over_at_once(client: Any) -> None:
    first, second = Sink(), Sink()
    with TransitionRelay(client, second) as other:
        with TransitionRelay(client, first) as relay:
            relay.run_once()
            flap(client, "a")
            assert (other.run_once(), relay.run_once()) == (0, 2)
            flap(client, "b")
        assert other.run_once() == 2
    assert (first.got, second.got) == (both("a"), both("b"))


def test_more_than_one_look_holds(client: Any) -> None:
    sink = Sink()
    names = [f"n{number:03d}" for number in range(60)]
    with TransitionRelay(client, sink, states=["recovered"]) as relay:
        relay.run_once()
        flap(client, *names)
        assert [relay.run_once(), relay.run_once(), relay.run_once()] == [40, 20, 0]
    assert sink.got == [(name, "recovered") for name in names]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ServerClock:
    return stop_the_clock(monkeypatch, datetime.now(UTC).timestamp())


def test_a_failure_is_tried_again_after_a_pause_that_doubles(clock: ServerClock) -> None:
    client, sink = fakeredis.FakeRedis(), Sink(fail=3)
    with TransitionRelay(client, sink, attempts=5, backoff_seconds=2.0) as relay:
        relay.run_once()
        flap(client, "a")
        for attempt, pause in enumerate((2.0, 4.0, 8.0), 1):
            assert relay.run_once() == 0
            assert (relay.stats()["delivered"], relay.stats()["attempts"]) == (0, attempt)
            clock.now += pause - 0.001
            assert relay.run_once() == 0
            assert sink.tries == attempt, "not before its time"
            clock.now += 0.001
        assert relay.run_once() == 2
        assert relay.stats() == {
            "delivered": 2,
            "dropped": 0,
            "lost": 0,
            "attempts": 0,
            "last_error": "OSError: not now",
        }
    assert sink.got == both("a")


def test_what_fails_too_often_is_dropped_and_counted(clock: ServerClock) -> None:
    client, sink = fakeredis.FakeRedis(), Sink(fail=3)
    with TransitionRelay(client, sink, attempts=3) as relay:
        relay.run_once()
        flap(client, "a")
        found = []
        for _ in range(3):
            found.append(relay.run_once())
            clock.now += 60
        assert found == [0, 0, 1], "the next is delivered in the same round"
        assert (relay.stats()["delivered"], relay.stats()["dropped"]) == (1, 1)
    assert sink.got == [("a", "recovered")]


def test_one_of_many_delivers_and_another_takes_over(clock: ServerClock) -> None:
    client, one, other = fakeredis.FakeRedis(), Sink(), Sink()
    with TransitionRelay(client, one) as first, TransitionRelay(client, other) as second:
        first.run_once()
        flap(client, "a")
        assert (second.run_once(), first.run_once()) == (0, 2)
        flap(client, "b")
        clock.now += 30
        assert second.run_once() == 2
        flap(client, "c")
        assert (first.run_once(), second.run_once()) == (0, 2)
    assert (one.got, other.got) == (both("a"), both("b", "c")[::2] + both("b", "c")[1::2])


def test_one_that_lost_its_turn_while_delivering_stops(clock: ServerClock) -> None:
    client, other = fakeredis.FakeRedis(), Sink()
    second = TransitionRelay(client, other)

    def slow(change: Transition) -> None:
        got.append((change.node_id, change.state))
        clock.now += 31
        second.run_once()

    got: list[tuple[str, str]] = []
    with TransitionRelay(client, slow) as first, second:
        first.run_once()
        flap(client, "a")
        assert first.run_once() == 1
        assert first.stats()["delivered"] == 2, "what was delivered twice is counted once"
    assert got == [("a", "unhealthy")]
    assert other.got == both("a")


def test_names_are_of_different_positions(client: Any) -> None:
    one, other = Sink(), Sink()
    with TransitionRelay(client, one, name="one") as first, TransitionRelay(client, other, name="other") as second:
        first.run_once()
        second.run_once()
        flap(client, "a")
        assert (first.run_once(), second.run_once()) == (2, 2)


def test_what_does_not_decode_is_skipped(client: Any) -> None:
    sink = Sink()
    with TransitionRelay(client, sink) as relay:
        relay.run_once()
        client.xadd("er:{default:health0}:transitions", {"node": "x"})
        flap(client, "a")
        assert relay.run_once() == 2
    assert sink.got == both("a")


def test_in_the_background_until_closed(client: Any) -> None:
    sink = Sink()
    with TransitionRelay(client, sink, interval_seconds=0.01).start() as relay:
        flap(client, "a")
        eventually(lambda: sink.got == both("a"))
    with pytest.raises(ServiceClosedError):
        relay.run_once()


def test_a_server_that_is_away() -> None:
    server = fakeredis.FakeServer()
    server.connected = False
    with TransitionRelay(fakeredis.FakeRedis(server=server), Sink()) as relay, pytest.raises(StoreUnavailableError):
        relay.run_once()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"sink": None}, InvalidTypeError),
        ({"name": ""}, InvalidArgumentError),
        ({"states": "unhealthy"}, InvalidTypeError),
        ({"states": [1]}, InvalidTypeError),
        ({"states": ["unhealty"]}, InvalidArgumentError),
        ({"states": ["unhealthy", " recovered"]}, InvalidArgumentError),
        ({"max_age_seconds": 0}, InvalidArgumentError),
        ({"attempts": 0}, InvalidArgumentError),
        ({"backoff_seconds": 0}, InvalidArgumentError),
        ({"interval_seconds": -1}, InvalidArgumentError),
        ({"lease_seconds": float("nan")}, InvalidArgumentError),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        TransitionRelay(fakeredis.FakeRedis(), **{"sink": Sink(), **arguments})


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted to it; /fail answers 500."""

    got: list[tuple[str, dict[str, str]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append((self.headers["Idempotency-Key"], json.loads(body)))
        self.send_response(500 if self.path == "/fail" else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any]]]:
    handler = type("Handler", (Receiver,), {"got": []})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler.got
        server.shutdown()
        thread.join()


def test_a_webhook_posts_json_under_the_transition_s_position(receiver: tuple[str, list[Any]]) -> None:
    url, got = receiver
    WebhookSink(url)(CHANGE)
    assert got == [("5-1", AS_JSON)]
    with pytest.raises(OSError, match="500"):
        WebhookSink(f"{url}/fail")(CHANGE)
    with pytest.raises(OSError, match="refused"):
        WebhookSink("http://127.0.0.1:1")(CHANGE)


def test_a_command_gets_json_on_its_input(tmp_path: Path) -> None:
    target = tmp_path / "got"
    ExecSink([sys.executable, "-c", f"import sys; open({str(target)!r}, 'w').write(sys.stdin.read())"])(CHANGE)
    assert json.loads(target.read_text()) == AS_JSON
    with pytest.raises(Exception, match="status 3"):
        ExecSink([sys.executable, "-c", "raise SystemExit(3)"])(CHANGE)
    with pytest.raises(Exception, match="timed out"):
        ExecSink([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.05)(CHANGE)
    with pytest.raises(FileNotFoundError):
        ExecSink([str(tmp_path / "nothing")])(CHANGE)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: WebhookSink("ftp://x"), InvalidArgumentError),
        (lambda: WebhookSink("file:///etc/passwd"), InvalidArgumentError),
        (lambda: WebhookSink(""), InvalidArgumentError),
        (lambda: WebhookSink("http://x", timeout=0), InvalidArgumentError),
        (lambda: ExecSink("ls"), InvalidTypeError),
        (lambda: ExecSink([]), InvalidTypeError),
        (lambda: ExecSink(["ls", 1]), InvalidTypeError),  # type: ignore[list-item]
        (lambda: ExecSink(["ls"], timeout=-1), InvalidArgumentError),
    ],
)
def test_sinks_that_cannot_be(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()
