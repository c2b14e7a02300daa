"""Tasks share a connection: what each caller gets when others are cancelled, time out, or the connection fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

from edge_redis import aio
from edge_redis._core.operation import Batch, Operation, command
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.asyncio_shared import LARGE_BYTES
from edge_redis.errors import StoreReplyError, StoreTimeoutError, StoreUnavailableError
from support.scripted_server import Command, ScriptedServer, Session, bulk


async def echo(session: Session, command: Command) -> None:
    """Answer with the key."""
    session.send(bulk(command[1]))


NO_RETRY = Retry(NoBackoff(), 0)


def get(key: str) -> Operation[bytes]:
    return command(bytes, "GET", key)


class Gate:
    """Answers with the key, but keeps back the answers from one key on until it is opened."""

    def __init__(self, key: bytes = b"kept") -> None:
        self.reached, self.opened = asyncio.Event(), asyncio.Event()
        self._key = key

    async def __call__(self, session: Session, command: Command) -> None:
        if command[1] == self._key:
            self.reached.set()
            await self.opened.wait()
        await echo(session, command)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(main())


def test_what_tasks_ask_meanwhile_goes_out_together_on_one_connection() -> None:
    async def scenario() -> None:
        async with ScriptedServer(echo) as server, aio.connect(server.url) as client:
            runner = AsyncRunner(client)
            await runner.run(get("first"))
            server.reads.clear()
            found = await asyncio.gather(*(runner.run(get(f"k{number}")) for number in range(60)))
            assert found == [f"k{number}".encode() for number in range(60)]
            assert len(server.reads) <= 2
            assert server.connections == 1

    run(scenario)


def test_a_cancelled_caller_disturbs_nobody_and_its_request_is_not_overtaken() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with ScriptedServer(gate) as server, aio.connect(server.url) as client:
            runner = AsyncRunner(client)

            async def first_kept_then_another() -> bytes:
                with pytest.raises(asyncio.CancelledError):
                    await runner.run(get("kept"))
                return await runner.run(get("after"))

            task = asyncio.create_task(first_kept_then_another())
            other = asyncio.create_task(runner.run(get("other")))
            await gate.reached.wait()
            task.cancel()
            await asyncio.sleep(0)
            gate.opened.set()
            assert await task == b"after"
            assert await other == b"other"
            assert [args[1] for _, args in server.commands] == [b"kept", b"other", b"after"]
            assert server.connections == 1

    run(scenario)


def test_a_caller_cancelled_before_its_request_was_written_sends_nothing() -> None:
    async def scenario() -> None:
        async with ScriptedServer(echo) as server, aio.connect(server.url) as client:
            runner = AsyncRunner(client)
            await runner.run(get("connected"))
            first, cancelled, last = (asyncio.create_task(runner.run(get(key))) for key in ("a", "b", "c"))
            asyncio.get_running_loop().call_soon(cancelled.cancel)
            assert (await first, await last) == (b"a", b"c")
            assert [args[1] for _, args in server.commands] == [b"connected", b"a", b"c"]

    run(scenario)


def test_an_error_reply_is_its_own_callers() -> None:
    async def answer(session: Session, args: Command) -> None:
        if args[1] == b"bad":
            session.send(b"-ERR no\r\n")
        else:
            await echo(session, args)

    async def scenario() -> None:
        async with ScriptedServer(answer) as server, aio.connect(server.url) as client:
            runner = AsyncRunner(client)
            batch = Batch([get("x"), get("bad"), get("y")], return_exceptions=True)
            calls: list[Awaitable[Any]] = [runner.run(each) for each in (get("a"), get("bad"), batch, get("b"))]
            a, bad, found, b = results = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(found, list), results
            assert [a, b, found[0], found[2]] == [b"a", b"b", b"x", b"y"]
            assert isinstance(bad, StoreReplyError)
            assert isinstance(found[1], StoreReplyError)
            assert server.connections == 1

    run(scenario)


def test_a_server_that_stops_answering_is_given_up_and_calls_are_repeated() -> None:
    async def answer(session: Session, args: Command) -> None:
        if session.number > 0:
            await echo(session, args)

    async def scenario() -> None:
        async with ScriptedServer(answer) as server, aio.connect(server.url, socket_timeout=0.05) as client:
            runner = AsyncRunner(client)
            found = await asyncio.gather(*(runner.run(get(f"k{number}")) for number in range(5)))
            assert found == [f"k{number}".encode() for number in range(5)]
            assert server.connections == 2

    run(scenario)


def test_a_caller_that_times_out_behind_a_long_reply_leaves_the_connection_to_the_others() -> None:
    ends = asyncio.Event()

    async def answer(session: Session, args: Command) -> None:
        if args[1] != b"long":
            await echo(session, args)
            return
        session.send(b"$100000\r\n")
        sent = 0
        while not ends.is_set():
            session.send(b"x")
            sent += 1
            await asyncio.sleep(0.01)
        session.send(b"x" * (100_000 - sent), b"\r\n")

    async def scenario() -> None:
        nonlocal ends
        ends = asyncio.Event()
        async with (
            ScriptedServer(answer) as server,
            redis.asyncio.Redis(port=server.port, protocol=2, socket_timeout=0.1, retry=NO_RETRY) as client,
        ):
            runner = AsyncRunner(client)
            with pytest.raises(StoreTimeoutError):
                await runner.run(get("long"))
            waiting = asyncio.create_task(runner.run(get("short")))
            await asyncio.sleep(0)
            ends.set()
            assert await waiting == b"short"
            assert server.connections == 1

    run(scenario)


@pytest.mark.parametrize("end", [b"", b"$5\r\nhal", b"HTTP/1.1 400\r\n"], ids=["nothing", "half a reply", "garbage"])
def test_a_connection_that_fails_in_the_middle_costs_nobody_an_answer(end: bytes) -> None:
    async def answer(session: Session, args: Command) -> None:
        if session.number == 0 and args[1] == b"k3":
            session.send(end)
            session.close()
        else:
            await echo(session, args)

    async def scenario() -> None:
        async with ScriptedServer(answer) as server, aio.connect(server.url) as client:
            runner = AsyncRunner(client)
            found = await asyncio.gather(*(runner.run(get(f"k{number}")) for number in range(6)))
            assert found == [f"k{number}".encode() for number in range(6)]
            assert server.connections == 2

    run(scenario)


def test_a_client_without_retries_gets_the_error_and_connects_again_at_the_next_call() -> None:
    async def answer(session: Session, args: Command) -> None:
        if session.number == 0 and args[1] == b"cut":
            session.close()
        else:
            await echo(session, args)

    async def scenario() -> None:
        async with (
            ScriptedServer(answer) as server,
            redis.asyncio.Redis(port=server.port, protocol=2, retry=NO_RETRY) as client,
        ):
            runner = AsyncRunner(client)
            with pytest.raises(StoreUnavailableError):
                await runner.run(get("cut"))
            assert await runner.run(get("next")) == b"next"
            assert server.connections == 2

    run(scenario)


def test_a_reply_that_nobody_asked_for_closes_the_connection() -> None:
    async def answer(session: Session, args: Command) -> None:
        await echo(session, args)
        if session.number == 0:
            session.send(bulk(b"of somebody else"))

    async def scenario() -> None:
        async with ScriptedServer(answer) as server, aio.connect(server.url) as client:
            runner = AsyncRunner(client)
            assert await runner.run(get("a")) == b"a"
            assert await runner.run(get("b")) == b"b"
            assert server.connections == 2

    run(scenario)


def test_a_connection_that_was_idle_for_long_is_checked_before_it_is_used() -> None:
    async def scenario() -> None:
        async with ScriptedServer(echo) as server, aio.connect(server.url, health_check_interval=0.05) as client:
            runner = AsyncRunner(client)
            assert await runner.run(get("a")) == b"a"
            await asyncio.sleep(0.06)  # for this long nothing is asked
            assert await asyncio.gather(*(runner.run(get(key)) for key in "bc")) == [b"b", b"c"]
            assert server.pings == [1]

    run(scenario)


def test_large_requests_and_replies_go_over_connections_of_their_own() -> None:
    large = b"x" * (LARGE_BYTES + 1)

    async def answer(session: Session, args: Command) -> None:
        if args[1] == b"large":
            session.send(bulk(large))
        else:
            session.send(b"+OK\r\n" if args[0] == b"SET" else bulk(args[1]))

    async def scenario() -> None:
        async with ScriptedServer(answer) as server, aio.connect(server.url) as client:
            runner = AsyncRunner(client)
            await runner.run(command(bool, "SET", "large", large))
            for key in ("small", "large", "large", "small"):
                assert (await runner.run(get(key)))[:5] in {b"small", large[:5]}
            assert [number for number, _ in server.commands] == [0, 0, 0, 1, 0], "0 is the shared connection"

    run(scenario)


class Sentinels:
    """Names the master, as the Sentinels' clients do."""

    def __init__(self, master: ScriptedServer) -> None:
        self.master = master

    async def discover_master(self, _service: str) -> tuple[str, int]:
        return "127.0.0.1", self.master.port


def test_a_master_that_has_become_a_replica_is_left_for_the_one_that_the_sentinels_name() -> None:
    async def scenario() -> None:
        async with ScriptedServer(echo) as new:

            async def refuse(session: Session, args: Command) -> None:
                sentinels.master = new
                session.send(b"-READONLY You can't write against a read only replica.\r\n")

            async with ScriptedServer(refuse) as old:
                sentinels = Sentinels(old)
                retry = Retry(NoBackoff(), 2)
                options: dict[str, Any] = {"protocol": 2, "retry": retry}
                pool = SentinelConnectionPool("service", sentinels, **options)  # type: ignore[no-untyped-call]
                async with redis.asyncio.Redis(connection_pool=pool) as client:
                    runner = AsyncRunner(client)
                    assert await asyncio.gather(*(runner.run(get(key)) for key in "abc")) == [b"a", b"b", b"c"]
                    assert (old.connections, new.connections) == (1, 1)
                await pool.disconnect()

    run(scenario)


def test_a_client_that_was_closed_or_changed_its_loop_connects_again() -> None:
    async def scenario() -> None:
        async with ScriptedServer(echo) as server:
            client.connection_pool.connection_kwargs["port"] = server.port
            runner = AsyncRunner(client)
            assert await runner.run(get("a")) == b"a"
            await client.aclose()
            assert await runner.run(get("b")) == b"b"
            assert server.connections == 2
            await client.aclose()

    client: Any = aio.connect("redis://127.0.0.1:1/0?protocol=2")
    run(scenario)
    run(scenario)
