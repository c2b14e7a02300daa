"""The runners, on every server and in both APIs: results, flows, unknown scripts, errors."""

from __future__ import annotations

import asyncio
import hashlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from edge_redis import errors
from edge_redis._core.operation import Batch, Invoke, InvokeAll, Operation, Overlap, Sleep, command
from edge_redis._core.script import Script
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.blocking_runner import BlockingRunner
from support.checked import present
from support.deadline import eventually
from support.portal import Portal
from support.servers import Backend


def script(source: str, name: str = "test/one") -> Script:
    return Script(name, source, hashlib.sha1(source.encode()).hexdigest(), range(1, 2), range(sys.maxsize))


ADD = script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
FAIL = script("return redis.error_reply('MYCODE went wrong')")


def add(amount: int, key: str = "{t}:n") -> Operation[int]:
    return ADD([key], [amount], int)


class Bench:
    """A runner of one API, driven as if it were blocking."""

    def __init__(self, backend: Backend, api: str, **kwargs: Any) -> None:
        self.is_awaited = api == "awaited"
        self._portal = Portal() if self.is_awaited else None
        self.blocking = backend.client()
        if self._portal:
            self.client = self._portal.run(self._make(backend, kwargs))
            self._runner: Any = AsyncRunner(self.client)
        else:
            self.client = backend.client(**kwargs)
            self._runner = BlockingRunner(self.client)

    @staticmethod
    async def _make(backend: Backend, kwargs: dict[str, Any]) -> Any:
        return backend.async_client(**kwargs)

    def run(self, steps: Any) -> Any:
        result = self._runner.run(steps)
        return self._portal.run(result) if self._portal else result

    def close(self) -> None:
        self.blocking.close()
        if self._portal:
            self._portal.run(self.client.aclose())
            self._portal.close()
        else:
            self.client.close()


@pytest.fixture(params=["blocking", "awaited"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def bench(backend: Backend, api: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    made = Bench(backend, api, protocol=request.param)
    yield made
    made.close()


def test_an_operation_a_batch_and_a_flow(bench: Bench) -> None:
    async def flow() -> list[int]:
        first = await add(1)
        await Sleep(0)
        rest = await Batch([add(10), add(100)])
        return [first, *rest]

    async def without_io() -> str:
        return "at once"

    assert bench.run(add(5)) == 5
    assert bench.run(flow()) == [6, 16, 116]
    assert bench.run(Batch([add(0), add(1)])) == [116, 117]
    assert bench.run(Batch([])) == []
    assert bench.run(without_io()) == "at once"


def test_a_forgotten_script_is_sent_again(bench: Bench) -> None:
    assert bench.run(add(1)) == 1
    bench.blocking.script_flush()
    assert bench.run(add(1)) == 2


def test_forgotten_scripts_in_a_batch_are_sent_again_and_the_rest_is_not_repeated(bench: Bench) -> None:
    other = script("return redis.call('INCRBY', KEYS[1], ARGV[1] * 2)", "test/two")
    bench.blocking.script_flush()
    bench.blocking.script_load(other.source)
    batch = Batch([add(1), command(int, "INCR", "plain"), other(["{t}:m"], [4], int), add(2)])
    assert bench.run(batch) == [1, 1, 8, 3]
    assert bench.blocking.get("plain") == b"1"


def test_a_forgotten_script_is_sent_once_for_a_whole_batch(backend: Backend, api: str) -> None:
    made = Bench(backend, api)
    made.blocking.script_flush()
    assert made.run(Batch([add(1) for _ in range(4)])) == [1, 2, 3, 4]
    if backend.is_real:
        made.blocking.config_resetstat()
        made.blocking.script_flush()
        made.run(Batch([add(1) for _ in range(4)]))
        calls = {name: found["calls"] for name, found in made.blocking.info("commandstats").items()}
        assert (calls["cmdstat_eval"], calls["cmdstat_evalsha"]) == (1, 7)
    made.close()


def test_an_error_reply_is_ours_and_names_the_operation(bench: Bench) -> None:
    with pytest.raises(errors.StoreReplyError, match=r"test/one.*MYCODE went wrong"):
        bench.run(FAIL(["{t}:n"], [], int))


def test_a_key_of_another_type_is_ours_alone_and_in_a_batch(bench: Bench) -> None:
    bench.blocking.lpush("{t}:n", 1)
    for steps in (add(1), command(int, "INCR", "{t}:n"), Batch([add(1, "{t}:other"), add(1)])):
        with pytest.raises(errors.WrongKeyTypeError):
            bench.run(steps)
    assert bench.blocking.get("{t}:other") == b"1"


def test_a_flow_can_handle_an_error_of_its_step(bench: Bench) -> None:
    async def flow() -> str:
        try:
            await FAIL(["{t}:n"], [], int)
        except errors.StoreReplyError:
            value = await add(1)
            return f"handled, {value}"
        return "no error"

    assert bench.run(flow()) == "handled, 1"


def test_a_flow_is_closed_when_its_step_fails(bench: Bench) -> None:
    ended = []

    async def flow() -> None:
        try:
            await FAIL(["{t}:n"], [], int)
        finally:
            ended.append(True)

    with pytest.raises(errors.StoreReplyError):
        bench.run(flow())
    assert ended == [True]


def test_a_client_that_decodes_is_refused(backend: Backend) -> None:
    with pytest.raises(errors.ClientConfigurationError, match="decode_responses"):
        BlockingRunner(backend.client(decode_responses=True))
    with pytest.raises(errors.ClientConfigurationError, match="decode_responses"):
        AsyncRunner(backend.async_client(decode_responses=True))


def test_a_client_of_the_other_api_is_refused(backend: Backend) -> None:
    with pytest.raises(errors.InvalidTypeError, match="asyncio client"):
        BlockingRunner(backend.async_client())  # type: ignore[arg-type] # bad input
    with pytest.raises(errors.InvalidTypeError, match="blocking client"):
        AsyncRunner(backend.client())  # type: ignore[arg-type] # bad input
    for runner in (BlockingRunner, AsyncRunner):
        with pytest.raises(errors.InvalidTypeError, match="not str"):
            runner("redis://localhost")  # type: ignore[arg-type] # bad input


def test_a_server_that_is_gone(api: str) -> None:
    backend = Backend("dead", "redis://127.0.0.1:1/0")
    made = Bench(backend, api, retry=None)
    for steps in (add(1), Batch([add(1)])):
        with pytest.raises(errors.StoreUnavailableError):
            made.run(steps)
    made.close()


REPLIES = {
    "READONLY You can't write against a read only replica.": errors.StoreReadOnlyError,
    "NOREPLICAS Not enough good replicas to write.": errors.StoreReadOnlyError,
    "MISCONF Redis is configured to save RDB snapshots": errors.StoreReadOnlyError,
    "OOM command not allowed when used memory > 'maxmemory'.": errors.StoreOutOfMemoryError,
    "LOADING Redis is loading the dataset in memory": errors.StoreLoadingError,
    "BUSY Redis is busy running a script.": errors.StoreLoadingError,
    "ERMOVED this shard is being moved": errors.ShardMovedError,
    "NOPERM this user has no permissions to run the 'get' command": errors.StoreRefusedError,
    "WRONGTYPE Operation against a key": errors.WrongKeyTypeError,
    "ERR unknown command": errors.StoreReplyError,
}


@pytest.mark.parametrize(("reply", "expected"), REPLIES.items(), ids=[reply.split()[0] for reply in REPLIES])
def test_each_reply_has_its_error(real: Backend, api: str, reply: str, expected: type[Exception]) -> None:
    made = Bench(real, api)
    with pytest.raises(errors.StoreError) as failure:
        made.run(script("return redis.error_reply(ARGV[1])")(["{t}:k"], [reply], int))
    assert type(failure.value) is expected
    made.close()


def test_a_full_server_a_read_only_one_and_a_refused_user(real: Backend, api: str) -> None:
    made = Bench(real, api)
    admin = made.blocking
    before = present(admin.config_get("maxmemory")["maxmemory"])
    admin.config_set("maxmemory", 1)
    try:
        for steps in (add(1), command(str, "SET", "k", "v")):
            with pytest.raises(errors.StoreOutOfMemoryError):
                made.run(steps)
    finally:
        admin.config_set("maxmemory", before)
    admin.replicaof("127.0.0.1", 1)
    try:
        for steps in (add(1), command(str, "SET", "k", "v")):
            with pytest.raises(errors.StoreReadOnlyError):
                made.run(steps)
    finally:
        admin.replicaof("NO", "ONE")
    assert admin.dbsize() == 0
    made.close()
    stranger = Bench(real, api, username="nobody", password="wrong")
    with pytest.raises(errors.StoreRefusedError):
        stranger.run(add(1))
    stranger.close()


class Meeting:
    """Counts who is inside at once; the first wait until so many are, or for ten seconds."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.inside: set[int] = set()
        self.most = 0

    def enter(self, number: int) -> None:
        self.inside.add(number)
        self.most = max(self.most, len(self.inside))

    def blocking(self, number: int) -> int:
        self.enter(number)
        eventually(lambda: self.most >= self.size)
        self.inside.remove(number)
        return number * 2

    async def awaited(self, number: int) -> int:
        self.enter(number)
        for _ in range(self.size):
            await asyncio.sleep(0)
        self.inside.remove(number)
        return number * 2


def test_calls_go_side_by_side_and_no_more_at_once(bench: Bench) -> None:
    meeting = Meeting(3)
    function = meeting.awaited if bench.is_awaited else meeting.blocking

    async def flow() -> list[Any]:
        return await InvokeAll([Invoke(function, number) for number in range(6)], max_concurrency=3)

    assert bench.run(flow()) == [0, 2, 4, 6, 8, 10]
    assert meeting.most == 3


def test_the_error_of_a_call_is_its_result(bench: Bench) -> None:
    async def flow() -> list[Any]:
        return await InvokeAll([Invoke(int, "1"), Invoke(int, "x"), Invoke(int, "3")], max_concurrency=2)

    one, error, three = bench.run(flow())
    assert (one, three) == (1, 3)
    assert isinstance(error, ValueError)


class Gate:
    """A call that ends once a coroutine has opened the gate, or after ten seconds."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.opened_in_loop = asyncio.Event()
        self.has_ended = False

    def open(self) -> None:
        self.opened.set()
        self.opened_in_loop.set()

    def blocking(self) -> bool:
        found = self.opened.wait(10)
        self.has_ended = True
        return found

    async def awaited(self) -> bool:
        found = await self.opened_in_loop.wait()
        self.has_ended = True
        return found


@pytest.mark.parametrize("error", [None, errors.StoreReplyError("no"), KeyError("k")], ids=["none", "ours", "other"])
def test_a_coroutine_runs_while_a_call_is_under_way(bench: Bench, error: Exception | None) -> None:
    gate = Gate()
    call = Invoke(gate.awaited if bench.is_awaited else gate.blocking)

    async def meanwhile() -> int:
        found = await add(1)
        gate.open()
        if error:
            raise error
        return found + await add(1)

    async def flow() -> tuple[Any, int]:
        return await Overlap(call, meanwhile)

    if error is None:
        assert bench.run(flow()) == (True, 3)
        return
    with pytest.raises(type(error)):
        bench.run(flow())
    assert gate.has_ended or isinstance(error, KeyError)


def test_the_error_of_a_call_under_way_is_its_result(bench: Bench) -> None:
    async def flow() -> tuple[Any, int]:
        return await Overlap(Invoke(int, "x"), lambda: add(1))

    error, number = bench.run(flow())
    assert (type(error), number) == (ValueError, 1)
