"""TransitionRelay: each transition handed on, in order, tried again, and by one relay of many."""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

import fakeredis
import pytest

from edge_redis import (
    CorruptDataError,
    DeliveryError,
    EdgeNode,
    EdgeNodeStatus,
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
from support.site import Site

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
CHANGE = Transition("n1", "unhealthy", "healthy", AT, "heartbeat 75.2 s old, timeout 60 s", "5-1")
AS_JSON = {
    "namespace": "",
    "node_id": "n1",
    "name": "",
    "location": "",
    "state": "unhealthy",
    "previous": "healthy",
    "at": "2026-03-01T12:00:00+00:00",
    "reason": "heartbeat 75.2 s old, timeout 60 s",
    "position": "5-1",
    "event_id": "",
}


class Sink:
    """Keeps what it got, and fails the given number of times."""

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


def stats_of(delivered: int = 0, dropped: int = 0, attempts: int = 0, last_error: str = "") -> dict[str, Any]:
    return {"delivered": delivered, "dropped": dropped, "lost": 0, "attempts": attempts, "last_error": last_error}


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
        assert relay.stats() == stats_of(delivered=4)
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
            assert relay.stats() == stats_of(attempts=attempt, last_error="OSError: not now")
            clock.now += pause - 0.001
            assert relay.run_once() == 0
            assert sink.tries == attempt, "not before its time"
            clock.now += 0.001
        assert relay.run_once() == 2
        assert relay.stats() == stats_of(delivered=2, last_error="OSError: not now")
    assert sink.got == both("a")


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "text"), [(MuteError(), "MuteError"), (OSError("\udcff"), "OSError: \\udcff")], ids=["mute", "broken"]
)
def test_a_failure_whose_text_cannot_be_stored_is_tried_again_like_others(
    clock: ServerClock, error: Exception, text: str
) -> None:
    client, got, errors = fakeredis.FakeRedis(), list[str](), [error]

    def sink(change: Transition) -> None:
        if errors:
            raise errors.pop()
        got.append(change.state)

    with TransitionRelay(client, sink) as relay:
        relay.run_once()
        flap(client, "a")
        assert relay.run_once() == 0
        assert relay.stats()["last_error"] == text
        clock.now += 60
        assert relay.run_once() == 2
    assert got == ["unhealthy", "recovered"]


@pytest.mark.parametrize("jump", [1, 5, 3600])
def test_after_the_server_s_clock_was_set_back_it_waits_no_longer_than_a_pause(clock: ServerClock, jump: int) -> None:
    client, sink = fakeredis.FakeRedis(), Sink(fail=1)
    with TransitionRelay(client, sink, backoff_seconds=10.0) as relay:
        relay.run_once()
        flap(client, "a")
        assert relay.run_once() == 0
        clock.now += 4 - jump
        for _ in range(11):
            relay.run_once()
            clock.now += 1
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
        assert relay.stats() == stats_of(delivered=1, dropped=1, last_error="OSError: not now")
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

    got: ClassVar[list[tuple[str, dict[str, str]]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).got.append((self.headers["Idempotency-Key"], json.loads(body)))
        self.send_response(500 if self.path == "/fail" else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any]]]:

    class Handler(Receiver):
        got: ClassVar[list[tuple[str, dict[str, str]]]] = []

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", Handler.got
        server.shutdown()
        thread.join()


def test_a_webhook_posts_json_under_the_transition_s_position(receiver: tuple[str, list[Any]]) -> None:
    url, got = receiver
    WebhookSink(url)(CHANGE)
    assert got == [("5-1", AS_JSON)]
    with pytest.raises(DeliveryError, match="500"):
        WebhookSink(f"{url}/fail")(CHANGE)
    with pytest.raises(DeliveryError, match="refused"):
        WebhookSink("http://127.0.0.1:1")(CHANGE)


def test_a_webhook_names_namespace_node_and_location_under_a_key_of_its_own_at_each_site(
    receiver: tuple[str, list[Any]],
) -> None:
    url, got = receiver
    till = EdgeNode("till-1", "Till 1", location="front")
    for _ in range(2):  # two shops
        with fakeredis.FakeRedis() as client, HealthMonitor(client, namespace="shop") as monitor:
            monitor.register(till)
            with TransitionRelay(client, WebhookSink(url), namespace="shop") as relay:
                relay.run_once()
                monitor.set_maintenance("till-1", reason="new scales")
                assert relay.run_once() == 1
    (first_key, first), (second_key, second) = got
    assert [first[name] for name in ("namespace", "node_id", "name", "location")] == [
        *("shop", "till-1", "Till 1", "front"),
    ]
    assert first["event_id"] == first_key
    assert first["position"] in first_key
    assert first_key.removesuffix(first["position"]) != second_key.removesuffix(second["position"])
    assert second["name"] == "Till 1"


def test_a_transition_of_a_node_that_is_gone_or_damaged_is_delivered_without_a_name(client: Any) -> None:
    got: list[Transition] = []
    with TransitionRelay(client, got.append) as relay, HealthMonitor(client) as monitor:
        relay.run_once()
        for name in ("gone", "damaged"):
            monitor.register(EdgeNode(name, "Till", location="front"))
            monitor.set_maintenance(name)
        monitor.deregister("gone")
        client.hset("er:{default:health0}:node:damaged", "profile", b"\xc1")
        assert relay.run_once() == 3
    assert [(change.node_id, change.node_name, change.location) for change in got] == [
        *(("gone", "", ""), ("damaged", "", "front"), ("gone", "", "")),
    ]


def test_a_relay_goes_on_with_damaged_counts_and_names_a_damaged_position(client: Any) -> None:
    sink = Sink()
    key = "er:{default:health0}:relay:default"
    with TransitionRelay(client, sink) as relay:
        relay.run_once()
        flap(client, "a")
        client.hset(key, mapping={"attempts": "x", "due_ms": "soon", "until_ms": "", "delivered": "?", "lost": "-1"})
        client.hset("er:{default:health0}:totals", "stream_id", b"\xff")
        assert relay.stats() == stats_of()
        client.hset(key, "delivered", 0)
        assert relay.run_once() == 2
        assert sink.got == both("a")
        client.hset(key, "position", "damaged")
        with pytest.raises(CorruptDataError, match=r"relay:default is 'damaged'; delete the key"):
            relay.run_once()
        client.delete(key)
        assert relay.run_once() == 0


class Server:
    """Accepts connections and answers each with ``answer``, a function of its socket."""

    def __init__(self, answer: Callable[[socket.socket], object]) -> None:
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/hook"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, suppress(OSError):
                    self._answer(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def says(head: bytes) -> Callable[[socket.socket], object]:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head + b"\r\nContent-Length: 0\r\n\r\n")

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_nothing_is_sent_on(status: int, receiver: tuple[str, list[Any]]) -> None:
    elsewhere, got = receiver
    with Server(says(b"HTTP/1.1 %d Moved\r\nLocation: %s" % (status, elsewhere.encode()))) as server:
        sink = WebhookSink(server.url, headers={"Authorization": "Bearer secret"})
        with pytest.raises(DeliveryError, match=f"status {status} Moved: redirects are not followed"):
            sink(CHANGE)
    assert got == []


def test_the_timeout_is_one_of_the_whole_request() -> None:
    def drip(connection: socket.socket) -> None:
        for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
            connection.sendall(bytes([letter]))
            time.sleep(0.05)

    def say_nothing(connection: socket.socket) -> None:
        if connection.recv(1):
            time.sleep(30)

    for answer in (drip, say_nothing):
        with Server(answer) as server:
            begun = time.monotonic()
            with pytest.raises(DeliveryError, match=r"no answer within 0\.3 s"):
                WebhookSink(server.url, timeout=0.3)(CHANGE)
            assert time.monotonic() - begun < 10


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (b"120", 120, 120),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        (b"Fri, 31 Dec 9999 23:59:59 GMT", 1e9, 1e12),
        (b"soon", None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header: bytes, least: float | None, most: float | None) -> None:
    with Server(says(b"HTTP/1.1 503 Busy\r\nRetry-After: " + header)) as server, pytest.raises(DeliveryError) as caught:
        WebhookSink(server.url)(CHANGE)
    found = caught.value.retry_after_seconds
    assert found is None if least is None or most is None else found is not None and least <= found <= most


def test_the_receiver_s_pause_counts_where_it_is_longer(clock: ServerClock) -> None:
    tries = 0

    def busy(_: Transition) -> None:
        nonlocal tries
        tries += 1
        raise DeliveryError("busy", retry_after_seconds=100)

    client = fakeredis.FakeRedis()
    with TransitionRelay(client, busy) as relay:
        relay.run_once()
        flap(client, "a")
        relay.run_once()
        clock.now += 99
        relay.run_once()
        assert tries == 1
        clock.now += 2
        relay.run_once()
        assert tries == 2


def test_a_receiver_that_is_down_for_hours_loses_nothing_that_is_young_enough(
    clock: ServerClock, caplog: pytest.LogCaptureFixture
) -> None:
    client, sink = fakeredis.FakeRedis(), Sink(fail=10_000)
    with TransitionRelay(client, sink) as relay:
        relay.run_once()
        flap(client, "a")
        for _ in range(60):
            clock.now += 300
            relay.run_once()
        sink.fail = 0
        clock.now += 300
        assert relay.run_once() == 2
        assert relay.stats()["dropped"] == 0
        with HealthMonitor(client) as monitor:
            monitor.check_node(EdgeNode("b", "b", status=EdgeNodeStatus.OFFLINE))
        sink.fail = 10_000
        for _ in range(80):
            clock.now += 300
            relay.run_once()
        assert relay.stats()["dropped"] == 1
        assert relay.stats()["last_error"] == "OSError: not now"
    assert caplog.text.count("was dropped after") == 1


def test_a_transition_that_the_receiver_refuses_does_not_hold_up_the_others(clock: ServerClock) -> None:
    got: list[str] = []

    def picky(change: Transition) -> None:
        if change.state == "unhealthy":
            raise DeliveryError("HTTP status 422", refused=True)
        got.append(change.state)

    client = fakeredis.FakeRedis()
    with TransitionRelay(client, picky) as relay:
        relay.run_once()
        flap(client, "a")
        for _ in range(8):
            relay.run_once()
            clock.now += 300
        assert (got, relay.stats()["dropped"]) == (["recovered"], 1)


def test_relays_of_one_name_that_deliver_other_states_have_their_own_positions(client: Any) -> None:
    one, other = Sink(), Sink()
    with (
        TransitionRelay(client, one, states=["recovered"]) as first,
        TransitionRelay(client, other, states=("unhealthy", "flapping")) as second,
    ):
        first.run_once()
        second.run_once()
        flap(client, "a")
        assert (first.run_once(), second.run_once()) == (1, 1)
    assert (one.got, other.got) == ([("a", "recovered")], [("a", "unhealthy")])


def test_transitions_that_the_cap_removed_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    client, sink = fakeredis.FakeRedis(), Sink()
    with TransitionRelay(client, sink) as relay:
        relay.run_once()
        flap(client, *(f"n{number}" for number in range(20)))
        client.xtrim("er:{default:health0}:transitions", maxlen=10, approximate=False)
        assert relay.run_once() == 10
        assert relay.stats()["lost"] == 30
    assert "30 transitions were removed from the stream before they were delivered" in caplog.text


@pytest.mark.parametrize("states", [None, ["unhealthy", "recovered", "flapping"], ["unhealthy", "recovered"]])
def test_a_flapping_node_is_delivered_once_where_that_is_chosen(site: Site, states: list[str] | None) -> None:
    sink = Sink()
    relay = site.make("TransitionRelay", sink, states=states, once_while_flapping=True)
    relay.run_once()
    site.join("a", "b", "c")
    site.rounds(60)
    for index in range(8):
        site.monitor.heartbeat("a", EdgeNodeStatus.OFFLINE if index % 2 == 0 else EdgeNodeStatus.ONLINE)
        site.watch.run_once()
    site.rounds(60)
    relay.run_once()
    delivered = [state for _, state in sink.got]
    if states is not None and "flapping" not in states:
        assert delivered == ["unhealthy", "recovered"] * 4, "one that does not learn of flapping gets each change"
    else:
        assert delivered == ["unhealthy", "recovered", "unhealthy", "flapping", "healthy"]


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
        (lambda: WebhookSink("http://"), InvalidArgumentError),
        (lambda: WebhookSink("http:///path"), InvalidArgumentError),
        (lambda: WebhookSink("http://host:port/"), InvalidArgumentError),
        (lambda: WebhookSink("http://host:70000/"), InvalidArgumentError),
        (lambda: WebhookSink("http://user:secret@host/"), InvalidArgumentError),
        (lambda: WebhookSink("http://host/a b"), InvalidArgumentError),
        (lambda: WebhookSink("http://host/\n"), InvalidArgumentError),
        (lambda: WebhookSink("http://[::1/"), InvalidArgumentError),
        (lambda: WebhookSink("http://host/", headers={"A b": "c"}), InvalidArgumentError),
        (lambda: WebhookSink("http://host/", headers={"A": "b\r\nC: d"}), InvalidArgumentError),
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
