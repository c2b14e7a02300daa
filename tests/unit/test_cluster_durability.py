"""Writes with ``replicas=`` on a cluster: the write and its WAIT are one exchange with the node that has the slot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import redis

from edge_redis._core.operation import command
from edge_redis._core.replication import Acknowledged, ReplicatedOperation, Replication
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.blocking_runner import BlockingRunner
from support.scripted_cluster import ScriptedCluster
from support.scripted_server import Command, Session, bulk

WAIT, WAITAOF = [b"WAIT", b"1", b"500"], [b"WAITAOF", b"1", b"0", b"500"]
DONE = Acknowledged(result=True, shortfall="")
REPLIES = {b"SET": b"+OK\r\n", b"ASKING": b"+OK\r\n", b"WAIT": b":1\r\n", b"WAITAOF": b"*2\r\n:1\r\n:0\r\n"}
"""What a master with a replica and an append-only file answers."""


def write(key: str) -> ReplicatedOperation[bool]:
    return ReplicatedOperation(command(bool, "SET", key, "v"), Replication(1, 0.5))


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(main())


async def perform(cluster: ScriptedCluster, api: str, key: str) -> Acknowledged[bool]:
    if api == "awaited":
        async with cluster.client() as client:
            return await AsyncRunner(client).run(write(key))

    def call() -> Acknowledged[bool]:
        with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, protocol=2) as client:
            return BlockingRunner(client).run(write(key))

    return await asyncio.to_thread(call)


@pytest.mark.parametrize("api", ["blocking", "awaited"])
@pytest.mark.parametrize("word", ["MOVED", "ASK"])
def test_a_write_that_is_redirected_is_waited_for_where_it_was_made_alone(word: str, api: str) -> None:
    async def scenario() -> None:
        async def answer(number: int, session: Session, args: Command) -> None:
            if number == 0 and args[0] == b"SET":
                session.send(cluster.redirection(word, args[1].decode(), 1))
            elif number == 1:
                session.send(REPLIES[args[0]])  # the first node never answers WAIT

        async with ScriptedCluster(answer) as cluster:
            [key] = cluster.keys_at(0, 1)
            assert await perform(cluster, api, key) == DONE
            asking = [[b"ASKING"]] if word == "ASK" else []
            assert cluster.asked(1) == [*asking, [b"SET", key.encode(), b"v"], WAIT, WAITAOF]
            assert len({session for session, args in cluster.nodes[1].commands if args[0] in REPLIES}) == 1
            await cluster.nodes[0].all_closed.wait()  # no connection is left on which the replies to WAIT are due

    run(scenario)


@pytest.mark.parametrize("api", ["blocking", "awaited"])
def test_a_write_whose_wait_was_cut_off_is_repeated_and_waited_for(api: str) -> None:
    async def scenario() -> None:
        cuts = [None]

        async def answer(_: int, session: Session, args: Command) -> None:
            if args[0] == b"WAIT" and cuts:
                cuts.pop()
                session.close()
            else:
                session.send(REPLIES[args[0]])

        async with ScriptedCluster(answer) as cluster:
            [key] = cluster.keys_at(1, 1)
            assert await perform(cluster, api, key) == DONE
            writes = [session for session, args in cluster.nodes[1].commands if args[0] == b"SET"]
            waits = [session for session, args in cluster.nodes[1].commands if args[0] == b"WAIT"]
            assert writes == waits
            assert len(set(writes)) == 2

    run(scenario)


def test_a_write_that_waits_holds_up_no_other_task_and_a_cancelled_one_leaves_no_reply_behind() -> None:
    async def scenario() -> None:
        waiting, acknowledged = asyncio.Event(), asyncio.Event()

        async def answer(_: int, session: Session, args: Command) -> None:
            if args[0] == b"WAIT" and args[1:] == WAIT[1:]:
                waiting.set()
                await acknowledged.wait()
            session.send(REPLIES.get(args[0]) or bulk(args[1]))

        async with ScriptedCluster(answer, masters=1) as cluster, cluster.client() as client:
            runner = AsyncRunner(client)
            for outcome in ("cancelled", "done"):
                task = asyncio.create_task(runner.run(write("k")))
                await waiting.wait()
                waiting.clear()
                assert await runner.run(command(bytes, "GET", "other")) == b"other"
                if outcome == "cancelled":
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                acknowledged.set()
            assert await task == DONE

    run(scenario)
