"""Probes of nodes by TCP, HTTP and TLS: what counts as an answer, and where a probe never connects."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakeredis
import pytest

from edge_redis import EdgeNode, HealthMonitor, InvalidArgumentError, InvalidTypeError, ProbeRefusedError, aio
from edge_redis.probes import HttpProbe, MetadataAddress, TcpProbe, TlsProbe
from support.certificates import Authority
from support.listener import Listener
from support.site import Site

Probe = TcpProbe | HttpProbe | TlsProbe
Ask = Callable[[Probe, str], bool]
LOOPBACK = ["127.0.0.0/8", "::1/128"]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(params=["blocking", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Asks a probe about a node, by a call or on an event loop."""
    if request.param == "blocking":
        return lambda probe, node_id: probe(node_id)
    return lambda probe, node_id: asyncio.run(probe.aio(node_id))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("probes"), "site")


@pytest.fixture(scope="module")
def server_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own = authority.sign("server")
    context.load_cert_chain(own.certificate, own.key)
    return context


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.certificate))


class Names:
    """A name server in place of the system's: each look-up of a name gives the next of its answers."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [_entry(address, port) for address in addresses]


def _entry(address: str, port: int) -> Any:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    return made


def test_a_node_that_accepts_a_connection_answers_and_another_does_not(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    with Listener() as listener:
        probe = TcpProbe({"a": f"127.0.0.1:{listener.port}"})
        assert ask(probe, "a") is True
    assert ask(probe, "a") is False
    assert re.search(r"node 'a' does not answer at 127.0.0.1:\d+: cannot connect to 127.0.0.1: .*[Cc]onne", caplog.text)
    with pytest.raises(ProbeRefusedError, match="no target is given"):
        ask(probe, "b")


def test_the_name_is_looked_up_once_and_the_connection_goes_to_the_address_that_was_checked(
    ask: Ask, names: Names
) -> None:
    names.answers["till-1.shop.internal"] = [["127.0.0.1"], ["127.0.0.2"]]
    with Listener(OK) as listener:
        probe = HttpProbe(f"http://{{node_id}}.shop.internal:{listener.port}/", networks=["127.0.0.1/32"])
        assert ask(probe, "till-1") is True
        assert names.asked == ["till-1.shop.internal"]
        assert f"Host: till-1.shop.internal:{listener.port}\r\n".encode() in listener.received[0]
        with pytest.raises(ProbeRefusedError, match=r"127\.0\.0\.2 is a loopback address"):
            ask(probe, "till-1")
        assert len(listener.received) == 1


def test_the_next_address_is_tried_where_one_does_not_accept(ask: Ask, names: Names) -> None:
    names.answers["till"] = [["127.0.0.2", "127.0.0.1"]]
    with Listener() as listener:  # at 127.0.0.1 alone
        assert ask(TcpProbe(f"till:{listener.port}", networks=LOOPBACK), "a") is True


@pytest.mark.parametrize("networks", [None, ["0.0.0.0/0", "::/0"], ["169.254.0.0/16", "fd00::/8"]], ids=str)
@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.0.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%1",
        "ff02::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_addresses_that_no_node_has_are_refused_unless_they_are_named(
    names: Names, address: str, networks: list[str] | None
) -> None:
    names.answers["n"] = [["10.0.0.1", address]]
    probe = TcpProbe("{node_id}:22", networks=networks)
    with pytest.raises(ProbeRefusedError, match="cannot be probed at n:22"):
        probe("n")
    with pytest.raises(ProbeRefusedError):
        asyncio.run(probe.aio("n"))


def test_private_networks_alone_are_allowed_where_none_is_named(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    names.answers = {"public": [["203.0.113.5"]], "shared": [["100.64.0.1"]]}
    for name in names.answers:
        with pytest.raises(ProbeRefusedError, match=r"in none of the allowed networks .*private ones alone"):
            TcpProbe("{node_id}:22")(name)
    private = ["10.0.0.1", "192.168.1.1", "172.16.0.9", "fd12::1"]
    names.answers = {"till": [private]}
    tried: list[str] = []

    def refuse(_: socket.socket, address: Any) -> None:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert TcpProbe("{node_id}:22")("till") is False
    assert tried == private


def test_an_address_that_the_operator_writes_is_not_compared(ask: Ask) -> None:
    with Listener() as listener:
        assert ask(TcpProbe(f"tcp://127.0.0.1:{listener.port}", networks=["10.0.0.0/8"]), "a") is True
        assert ask(TcpProbe(f"[::ffff:127.0.0.1]:{listener.port}"), "a") is True
        with pytest.raises(ProbeRefusedError, match="loopback"):
            ask(TcpProbe(f"{{node_id}}:{listener.port}"), "127.0.0.1")


@pytest.mark.parametrize(
    "node_id",
    [
        "evil.example/#",
        "a@b",
        "..",
        "a.b",
        "127.0.0.1",
        "evil.example:80",
        "a/../b",
        "a\r\nHost: evil",
        "a b",
        "a%2eb",
        "till-1\x00",
        "tïll",
        "-a",
        "a" * 64,
        "[::1]",
        "{address}",
    ],
)
def test_a_node_id_in_a_host_name_is_one_label(ask: Ask, names: Names, node_id: str) -> None:
    with pytest.raises(ProbeRefusedError, match="cannot be probed"):
        ask(HttpProbe("http://{node_id}.shop.internal/health"), node_id)
    assert names.asked == []


@pytest.mark.parametrize("node_id", ["a@b", "a:1", "a/b", "..", "https://a", "a#", "1.2.3.4:5", "fe80::1%eth0", "a..b"])
def test_a_node_id_that_is_the_host_is_a_name_or_an_address(ask: Ask, names: Names, node_id: str) -> None:
    with pytest.raises(ProbeRefusedError, match="must be a host name or an IP address"):
        ask(TcpProbe("tcp://{node_id}:22"), node_id)
    assert names.asked == []


def test_numbers_that_resolvers_take_for_addresses_are_compared(ask: Ask) -> None:
    for node_id in ("2130706433", "0x7f000001", "127.1", "0177.0.0.1", "0"):
        with pytest.raises(ProbeRefusedError, match=r"loopback|unspecified"):
            ask(TcpProbe("{node_id}:22"), node_id)


def test_a_node_id_in_a_path_is_quoted(ask: Ask) -> None:
    node_id = "a/../b?c#d e\r\nX: y%2f"
    with Listener(OK) as listener:
        probe = HttpProbe(f"http://127.0.0.1:{listener.port}/nodes/{{node_id}}/health?node={{node_id}}")
        assert ask(probe, node_id) is True
        quoted = b"a%2F..%2Fb%3Fc%23d%20e%0D%0AX%3A%20y%252f"
        assert listener.received[0].startswith(b"GET /nodes/%s/health?node=%s HTTP/1.1\r\n" % (quoted, quoted))
        for dots in (".", ".."):
            with pytest.raises(ProbeRefusedError, match="dots alone"):
                ask(probe, dots)


def statuses_of(ask: Ask, answer: bytes, **options: Any) -> bool:
    with Listener(answer) as listener:
        return ask(HttpProbe(f"http://127.0.0.1:{listener.port}", **options), "a")


def test_the_status_of_an_answer_decides(ask: Ask) -> None:
    assert statuses_of(ask, b"HTTP/1.0 204\r\n\r\n") is True
    assert statuses_of(ask, b"HTTP/1.1 503 Busy\r\n\r\n") is False
    assert statuses_of(ask, b"HTTP/1.1 401 No\r\n\r\n", statuses=[200, 401]) is True
    assert statuses_of(ask, b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK) is True
    assert statuses_of(ask, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Error\r\n") is False


def test_method_and_headers_are_those_of_the_operator(ask: Ask) -> None:
    with Listener(OK) as listener:
        probe = HttpProbe(f"http://127.0.0.1:{listener.port}", method="HEAD", headers={"user-agent": "x", "Token": "t"})
        assert ask(probe, "a") is True
        lines = listener.received[0].decode().split("\r\n")
        assert lines[0] == "HEAD / HTTP/1.1"
        assert {"user-agent: x", "Token: t", "Connection: close"} < set(lines)
        assert not any(line.startswith("User-Agent") for line in lines)


def test_a_redirect_is_not_followed(ask: Ask) -> None:
    with Listener(OK) as other:
        redirect = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other.port}/\r\n\r\n".encode()
        assert statuses_of(ask, redirect) is False
        assert statuses_of(ask, redirect, statuses=[302]) is True
        assert other.received == []


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n", b"HTTP/1.1 2000 OK\r\n", b"\x00" * 9, b"HTTP/1.1 20"]
)
def test_what_is_not_http_is_no_answer(ask: Ask, answer: bytes) -> None:
    assert statuses_of(ask, answer) is False


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 ", b"HTTP/1.1 100 Continue\r\n"], ids=["status line", "interim answer"]
)
def test_an_endless_answer_is_read_to_a_bound(ask: Ask, caplog: pytest.LogCaptureFixture, start: bytes) -> None:
    def answer(connection: socket.socket, ending: threading.Event) -> None:
        connection.sendall(start)
        while not ending.is_set():
            connection.sendall(b"x" * 4096)

    with Listener(answer) as listener:
        assert ask(HttpProbe(f"http://127.0.0.1:{listener.port}", timeout=20), "a") is False
    assert "no answer in the first 16384 bytes" in caplog.text


def drip(connection: socket.socket, ending: threading.Event) -> None:
    """Send a byte of an answer now and then, so that no single wait is long."""
    for byte in b"HTTP/1.1 200 " + b"x" * 1000:
        connection.sendall(bytes([byte]))
        if ending.wait(0.02):
            return


def stay_silent(_connection: socket.socket, ending: threading.Event) -> None:
    ending.wait(20)


@pytest.mark.parametrize("answer", [drip, stay_silent])
@pytest.mark.parametrize("kind", ["http", "https", "tls"])
def test_all_of_a_probe_takes_no_longer_than_its_timeout(
    ask: Ask, answer: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Listener(answer) as listener:
        target = f"{kind}://127.0.0.1:{listener.port}"
        probe: Probe = TlsProbe(target, timeout=0.2) if kind == "tls" else HttpProbe(target, timeout=0.2)
        begun = time.monotonic()
        assert ask(probe, "a") is False
        assert time.monotonic() - begun < 5
    assert "no answer in time" in caplog.text or "TLS failed" in caplog.text


def test_a_lookup_that_does_not_return_is_no_answer_and_they_are_bounded(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    finish = threading.Event()
    returned = threading.Semaphore(0)

    def never(*_: Any, **__: Any) -> Any:
        finish.wait(30)
        returned.release()
        raise UnicodeError("label too long")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    monkeypatch.setattr("edge_redis.probes._lookup._free", threading.BoundedSemaphore(1))
    probe = TcpProbe("till:22", timeout=0.05)
    assert ask(probe, "a") is False
    assert "no answer in time" in caplog.text
    assert ask(probe, "a") is False
    assert "lookups have not returned" in caplog.text
    finish.set()
    assert returned.acquire(timeout=10)


def test_a_name_that_is_unknown_is_no_answer(ask: Ask, names: Names, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(TcpProbe("nowhere:22"), "a") is False
    assert names.asked == ["nowhere"]
    assert "nowhere cannot be looked up: Name or service not known" in caplog.text


def test_a_certificate_must_be_trusted_for_this_host_and_valid_for_long_enough(
    ask: Ask,
    server_context: ssl.SSLContext,
    trust: ssl.SSLContext,
    names: Names,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    names.answers["till"] = [["127.0.0.1"]]
    other = ssl.create_default_context(cafile=str(Authority(tmp_path, "other").certificate))
    with Listener(context=server_context) as listener:
        target = f"tls://127.0.0.1:{listener.port}"
        assert ask(TlsProbe(target, context=trust, min_days=1.5), "a") is True
        assert ask(TlsProbe(target, context=trust, min_days=2.5), "a") is False
        assert re.search(r"its certificate expires in (1\.9|2\.0) days", caplog.text)
        assert ask(TlsProbe(target, context=other), "a") is False
        assert ask(TlsProbe(target), "a") is False
        assert "its certificate is not valid: unable to get local issuer certificate" in caplog.text
        assert ask(TlsProbe(f"{{node_id}}:{listener.port}", context=trust, networks=LOOPBACK), "till") is False
        assert "Hostname mismatch, certificate is not valid for 'till'" in caplog.text


def test_https_verifies_the_certificate(ask: Ask, server_context: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    with Listener(OK, context=server_context) as listener:
        target = f"https://127.0.0.1:{listener.port}/health"
        assert ask(HttpProbe(target, context=trust), "a") is True
        assert ask(HttpProbe(target), "a") is False
    with Listener(OK) as plain:
        assert ask(HttpProbe(f"https://127.0.0.1:{plain.port}", context=trust), "a") is False


def test_a_node_names_its_address_in_its_metadata_and_nothing_else(names: Names) -> None:
    server = fakeredis.FakeServer()
    hostile = {
        "cloud": "169.254.169.254",
        "inner": "10.0.0.5",
        "port": "127.0.0.1:6379",
        "path": "127.0.0.1/admin?",
        "user": "x@127.0.0.1",
        "list": ["127.0.0.1"],
        "long": "a" * 100_000,
        "rebound": "rebound.example",
        "none": None,
    }
    names.answers["rebound.example"] = [["127.0.0.1", "169.254.169.254"]]
    with fakeredis.FakeRedis(server=server) as client, HealthMonitor(client) as monitor, Listener() as listener:
        monitor.register(EdgeNode("good", "good", metadata={"ip": "127.0.0.1"}))
        for name, address in hostile.items():
            monitor.register(EdgeNode(name, name, metadata={"ip": address}))
        target: Any = {"target": f"{{address}}:{listener.port}", "networks": ["127.0.0.0/8"]}
        probe = TcpProbe(address_of=MetadataAddress(monitor, "ip"), **target)
        assert probe("good") is True
        assert asyncio.run(probe.aio("good")) is True, "a blocking monitor is asked in a thread"
        for name in (*hostile, "unregistered"):
            with pytest.raises(ProbeRefusedError, match=f"node '{name}' cannot be probed") as refused:
                probe(name)
            assert len(str(refused.value)) < 300

        async def scenario() -> None:
            async with fakeredis.FakeAsyncRedis(server=server) as own, aio.HealthMonitor(own) as awaited:
                asked = TcpProbe(address_of=MetadataAddress(awaited, "ip"), **target)
                assert await asked.aio("good") is True
                for name in (*hostile, "unregistered"):
                    with pytest.raises(ProbeRefusedError):
                        await asked.aio(name)
                with pytest.raises(InvalidTypeError, match="aio"):
                    asked("good")

        asyncio.run(scenario())
        assert len(listener.received) == 3


def test_a_watch_of_either_api_asks_a_probe(site: Site) -> None:
    site.watch.close()
    with Listener() as listener:
        probe = TcpProbe({"b": f"127.0.0.1:{listener.port}"})
        watch = site.another(confirm=probe.aio if site.make.api == "awaited" else probe)
        site.join("a", "b", "c")
        site.rounds(60, watch)
        site.alive.remove("b")
        assert site.rounds(65, watch).suspected == 1
        assert listener.received
    assert site.rounds(5, watch).unhealthy == 1


@pytest.mark.parametrize(
    ("kind", "arguments", "error"),
    [
        (TcpProbe, {"target": ""}, InvalidArgumentError),
        (TcpProbe, {"target": 7}, InvalidTypeError),
        (TcpProbe, {"target": "host"}, InvalidArgumentError),
        (TcpProbe, {"target": "host:0"}, InvalidArgumentError),
        (TcpProbe, {"target": "host:65536"}, InvalidArgumentError),
        (TcpProbe, {"target": "host:{node_id}"}, InvalidArgumentError),
        (TcpProbe, {"target": "http://host:22"}, InvalidArgumentError),
        (TcpProbe, {"target": "user@host:22"}, InvalidArgumentError),
        (TcpProbe, {"target": "host:22/path"}, InvalidArgumentError),
        (TcpProbe, {"target": "{node}:22"}, InvalidArgumentError),
        (
            TcpProbe,
            {"target": "{address}.shop:22", "address_of": str, "networks": ["10.0.0.0/8"]},
            InvalidArgumentError,
        ),
        (TcpProbe, {"target": "{address}:22"}, InvalidArgumentError),
        (TcpProbe, {"target": "{address}:22", "address_of": str}, InvalidArgumentError),
        (TcpProbe, {"target": "host:22", "address_of": str, "networks": ["10.0.0.0/8"]}, InvalidArgumentError),
        (TcpProbe, {"target": "host:22", "networks": "10.0.0.0/8"}, InvalidTypeError),
        (TcpProbe, {"target": "host:22", "networks": []}, InvalidArgumentError),
        (TcpProbe, {"target": "host:22", "networks": ["10.0.0.1/8"]}, InvalidArgumentError),
        (TcpProbe, {"target": "host:22", "networks": [10]}, InvalidTypeError),
        (TcpProbe, {"target": "host:22", "timeout": 0}, InvalidArgumentError),
        (HttpProbe, {"target": "host/path"}, InvalidArgumentError),
        (HttpProbe, {"target": "http://host/#x"}, InvalidArgumentError),
        (HttpProbe, {"target": "http://host/{address}"}, InvalidArgumentError),
        (HttpProbe, {"target": "http://host/ x"}, InvalidArgumentError),
        (HttpProbe, {"target": "http://host", "method": "POST"}, InvalidArgumentError),
        (HttpProbe, {"target": "http://host", "statuses": []}, InvalidArgumentError),
        (HttpProbe, {"target": "http://host", "statuses": [99]}, InvalidArgumentError),
        (HttpProbe, {"target": "http://host", "statuses": 200}, InvalidTypeError),
        (HttpProbe, {"target": "http://host", "headers": {"Host": "x"}}, InvalidArgumentError),
        (HttpProbe, {"target": "http://host", "headers": {"X": "a\r\nY: b"}}, InvalidArgumentError),
        (TlsProbe, {"target": "host:443", "min_days": -1}, InvalidArgumentError),
        (TlsProbe, {"target": "host:443", "context": ssl._create_unverified_context()}, InvalidArgumentError),
        (TlsProbe, {"target": "host:443", "context": "ca.pem"}, InvalidTypeError),
    ],
)
def test_bad_arguments(kind: Callable[..., Probe], arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        kind(**arguments)
