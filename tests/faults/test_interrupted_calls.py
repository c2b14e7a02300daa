"""A call that is interrupted anywhere closes its connection: no later call returns another call's reply."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest
import redis

import edge_redis
import edge_redis.aio
from edge_redis import EdgeCache, EdgeMetrics, EdgeNode, EdgeSynchronizer, HealthMonitor, InvocationRecord
from edge_redis._io.call_pool import find_call_pool
from edge_redis.errors import StoreUnavailableError
from support.servers import Backend

CONNECTION_CODE = ("/edge_redis/_io/", "/redis/")


class Interruption(BaseException):
    """Raised as a signal handler would raise it: between any two lines."""


def run_interrupted(call: Callable[[], object], at_line: int) -> bool:
    """Run ``call`` and raise at the ``at_line``-th line of the connection code; return whether it came so far."""
    lines = 0

    def on_line(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == at_line:
                sys.settrace(None)
                raise Interruption
        return on_line

    def on_call(frame: FrameType, _event: str, _arg: object) -> Any:
        return on_line if any(part in frame.f_code.co_filename for part in CONNECTION_CODE) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        call()
    except Interruption:
        return True
    except StoreUnavailableError:  # of a call whose reply an interrupted callback of the event loop was to read
        return lines >= at_line
    finally:
        sys.settrace(before)
    return False


def run(runner: asyncio.Runner, call: Callable[[], Any]) -> Any:
    return runner.run(call())


CLIENTS: dict[str, Callable[[str], Any]] = {
    "connect": edge_redis.connect,
    "from_url": redis.Redis.from_url,
    "blocking pool": lambda url: redis.Redis(
        connection_pool=redis.BlockingConnectionPool.from_url(url, max_connections=3, timeout=1)
    ),
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, valkey: Backend) -> Iterator[Any]:
    assert valkey.url is not None
    made = CLIENTS[request.param](valkey.url)
    yield made
    made.close()


def calls_of_all_services(client: Any, cache: EdgeCache) -> dict[str, Callable[[], object]]:
    synchronizer = EdgeSynchronizer(client, scope="s")
    monitor = HealthMonitor(client)
    monitor.register(EdgeNode("n", "n"))
    metrics = EdgeMetrics(client, flush_interval=3600)
    return {
        "get": lambda: cache.get("k0"),
        "put": lambda: cache.put("k0", "v0"),
        "get_many": lambda: cache.get_many(["k0", "k1"]),
        "update_local": lambda: synchronizer.update_local({"a": 1}),
        "heartbeat": lambda: monitor.heartbeat("n"),
        "a batch": monitor.summary,
        "total_invocations": metrics.total_invocations,
        "record": lambda: metrics.record(InvocationRecord("f", "n", 1.0, success=True)),
    }


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("is_connected", "stride"),
    [
        pytest.param(True, 17, id="connected"),
        pytest.param(False, 307, id="connecting"),
        pytest.param(True, 3, id="connected, nearly every line", marks=pytest.mark.exploration),
        pytest.param(False, 61, id="connecting, many lines", marks=pytest.mark.exploration),  # a handshake has 1,000
    ],
)
def test_a_call_interrupted_at_any_line_leaves_no_reply_for_another(
    client: Any, *, is_connected: bool, stride: int
) -> None:
    cache = EdgeCache(client, flush_interval=3600, default_ttl=3600)
    cache.put_many({f"k{i}": f"v{i}" for i in range(5)})
    pool = find_call_pool(client.connection_pool)
    for call in calls_of_all_services(client, cache).values():
        line = 1
        while True:
            if not is_connected:
                client.close()
            was_interrupted = run_interrupted(call, line)
            assert [cache.get("k3"), cache.get("k4")] == ["v3", "v4"], f"after line {line}"
            if not was_interrupted:
                break
            line += stride
    assert pool.in_use == 0


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("make_client", [edge_redis.aio.connect, redis.asyncio.Redis.from_url], ids=["connect", "url"])
@pytest.mark.parametrize("stride", [pytest.param(2, marks=pytest.mark.exploration), 11])
def test_an_awaited_call_interrupted_at_any_line_leaves_no_reply_for_another(
    valkey: Backend, make_client: Any, stride: int
) -> None:
    client: Any = make_client(valkey.url)
    cache = edge_redis.aio.EdgeCache(client, flush_interval=3600, default_ttl=3600)
    synchronizer = edge_redis.aio.EdgeSynchronizer(client, scope="s")
    with asyncio.Runner() as runner:
        runner.run(cache.put_many({f"k{number}": f"v{number}" for number in range(5)}))
        calls: list[Callable[[], Any]] = [
            lambda: cache.get("k0"),
            lambda: cache.put("k0", "v0"),
            lambda: cache.get_many(["k0", "k1"]),
            lambda: synchronizer.update_local({"a": 1}),
        ]
        for call in calls:
            line = 1
            while run_interrupted(partial(run, runner, call), line):
                assert runner.run(cache.get("k3")) == "v3", f"after line {line}"
                assert runner.run(cache.get("k4")) == "v4", f"after line {line}"
                line += stride
        runner.run(cache.close())
        runner.run(client.aclose())
    gc.collect()


def interrupt_release(call: Callable[[], object], at_line: int) -> tuple[bool, BaseException | None]:
    """Run ``call``, and raise at a line of what gives its connection back; whether it came so far, and the error."""
    lines, depth = 0, 0

    def on_line(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal lines, depth
        if event == "return":
            depth -= 1
        elif event == "line":
            lines += 1
            if lines == at_line:
                sys.settrace(None)
                raise Interruption
        return on_line

    def on_call(frame: FrameType, _event: str, _arg: object) -> Any:
        nonlocal depth
        code = frame.f_code
        if depth or (code.co_name == "close" and code.co_filename.endswith("call_pool.py")):
            depth += 1
            return on_line
        return None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        call()
    except BaseException as error:  # noqa: BLE001 -- kept, so that its traceback keeps the frames alive
        return lines >= at_line, error
    finally:
        sys.settrace(before)
    return False, None


@pytest.mark.parametrize("is_first", [True, False], ids=["after an interruption", "after a reply"])
def test_a_second_exception_during_the_release_frees_place_and_connection(
    client: Any, monkeypatch: pytest.MonkeyPatch, *, is_first: bool
) -> None:
    cache = EdgeCache(client, flush_interval=3600)
    cache.put_many({"a": "of a", "b": "of b"})
    pool = find_call_pool(client.connection_pool)
    sockets_before = len(client.client_list())
    parse, kept = client.parse_response, []

    def interrupt(connection: Any, command: Any, **options: Any) -> Any:
        if is_first:
            raise KeyboardInterrupt
        return parse(connection, command, **options)

    at_line = 2  # at the first line nothing can catch it: the place is free when the error is gone
    while True:
        monkeypatch.setattr(client, "parse_response", interrupt)
        has_come, error = interrupt_release(lambda: cache.get("a"), at_line)
        monkeypatch.undo()
        kept.append(error)
        assert pool.in_use == 0, f"at line {at_line}"
        assert cache.get("b") == "of b"
        if not has_come:
            break
        at_line += 1 if at_line < 20 else 4  # then it is in redis-py, which closes the connection
    assert at_line > 5
    assert len(client.client_list()) <= sockets_before + 1


class UnknownPool(redis.asyncio.ConnectionPool):
    """A pool whose release takes several turns of the event loop."""

    async def release(self, connection: Any) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        await super().release(connection)


@pytest.mark.parametrize("kind", [redis.asyncio.ConnectionPool, UnknownPool])
@pytest.mark.parametrize("turns", range(6))
def test_a_second_cancellation_during_the_release_frees_place_and_connection(
    valkey: Backend, monkeypatch: pytest.MonkeyPatch, kind: Any, turns: int
) -> None:
    disconnect = redis.asyncio.Connection.disconnect

    async def disconnect_slowly(self: Any, *args: Any, **kwargs: Any) -> None:
        for _ in range(2):
            await asyncio.sleep(0)
        await disconnect(self, *args, **kwargs)

    async def scenario() -> None:
        pool = kind.from_url(valkey.url, max_connections=1)
        async with redis.asyncio.Redis(connection_pool=pool) as client, edge_redis.aio.EdgeCache(client) as cache:
            await cache.put_many({"a": "of a", "b": "of b"})
            with monkeypatch.context() as patch:
                patch.setattr(redis.asyncio.Connection, "disconnect", disconnect_slowly)
                reached = asyncio.Event()

                async def wait_for_ever(*_: Any, **__: Any) -> Any:
                    reached.set()
                    await asyncio.Event().wait()

                patch.setattr(client, "parse_response", wait_for_ever)
                task = asyncio.ensure_future(cache.get("a"))
                await reached.wait()
                task.cancel()
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            async with asyncio.timeout(5):
                assert await cache.get("b") == "of b"
        await pool.disconnect()

    asyncio.run(scenario())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_between_writing_and_reading_closes_the_connection(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = EdgeCache(client, flush_interval=3600)
    cache.put_many({"a": "of a", "b": "of b"})
    clients_before = len(client.client_list())

    def interrupt(*_: object, **__: object) -> Any:
        monkeypatch.undo()
        raise KeyboardInterrupt

    for _ in range(10):
        monkeypatch.setattr(client, "parse_response", interrupt)
        with pytest.raises(KeyboardInterrupt):
            cache.get("a")
        assert cache.get("b") == "of b"
    assert len(client.client_list()) <= clients_before + 1
