"""Tasks share a connection to each node of a cluster: redirections, failing nodes, cancelled callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import permutations

import pytest
import redis
from redis.asyncio.cluster import ClusterNode

from edge_redis._core.operation import Operation, command
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.asyncio_shared import LARGE_BYTES
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.replica_views import SUSPENDED_SECONDS, ReplicaViews, choose_replica
from edge_redis.errors import StoreLoadingError
from support.scripted_cluster import ScriptedCluster
from support.scripted_server import Command, Session, bulk


def get(key: str) -> Operation[bytes]:
    return command(bytes, "GET", key)


async def echo(_: int, session: Session, command: Command) -> None:
    """Answer with the key, and to ASKING with OK."""
    session.send(b"+OK\r\n" if command[0] == b"ASKING" else bulk(command[1]))


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(main())


async def read(runner: AsyncRunner, keys: list[str]) -> None:
    """Read keys at once; each answer must be its own."""
    assert await asyncio.gather(*(runner.run(get(key)) for key in keys)) == [key.encode() for key in keys]


def test_what_tasks_ask_goes_out_together_on_one_connection_to_each_node() -> None:
    async def scenario() -> None:
        async with ScriptedCluster(echo) as cluster, cluster.client() as client:
            runner, keys = AsyncRunner(client), [*cluster.keys_at(0, 40), *cluster.keys_at(1, 40)]
            await read(runner, [keys[0], keys[-1]])
            before = [node.connections for node in cluster.nodes]
            for node in cluster.nodes:
                node.reads.clear()
            await read(runner, keys)
            assert [node.connections for node in cluster.nodes] == before
            assert all(len(node.reads) <= 2 for node in cluster.nodes)

    run(scenario)


def test_a_slot_that_has_moved_is_asked_for_at_its_new_master_from_then_on() -> None:
    async def scenario() -> None:
        async def answer(number: int, session: Session, args: Command) -> None:
            key = args[1].decode()
            if number == 0 and key == moved:
                session.send(cluster.redirection("MOVED", key, 1))
            else:
                await echo(number, session, args)

        async with ScriptedCluster(answer) as cluster, cluster.client() as client:
            runner, [moved, other] = AsyncRunner(client), cluster.keys_at(0, 2)
            await read(runner, [moved, other] * 20)
            assert cluster.maps_read == 1, "connections of other calls stay open"
            before = len(cluster.asked(0))
            await read(runner, [moved] * 5)
            assert len(cluster.asked(0)) == before

    run(scenario)


@pytest.mark.parametrize("importing", [1, 2], ids=["known node", "new node"])
def test_a_key_whose_slot_is_moving_is_asked_for_right_behind_asking(importing: int) -> None:
    async def scenario() -> None:
        async def answer(number: int, session: Session, args: Command) -> None:
            if number == 0 and args[1].decode() == gone:
                session.send(cluster.redirection("ASK", gone, importing))
            else:
                await echo(number, session, args)

        async with ScriptedCluster(answer, others=1) as cluster, cluster.client() as client:
            runner, [gone, stays] = AsyncRunner(client), cluster.keys_at(0, 2)
            others = cluster.keys_at(1, 10)
            for _ in range(2):
                await read(runner, [gone, *others, stays, gone])
            commands = cluster.asked(importing)
            at = [place for place, args in enumerate(commands) if args == [b"ASKING"]]
            assert [commands[place + 1] for place in at] == [[b"GET", gone.encode()]] * 4
            assert cluster.maps_read == 1

    run(scenario)


def test_a_blocking_call_follows_a_moving_slot_to_a_new_node() -> None:
    async def scenario() -> None:
        async def answer(number: int, session: Session, args: Command) -> None:
            if number == 0:
                session.send(cluster.redirection("ASK", args[1].decode(), 1))
            else:
                await echo(number, session, args)

        async with ScriptedCluster(answer, masters=1, others=1) as cluster:

            def call() -> bytes:
                with redis.RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port, protocol=2) as client:
                    return BlockingRunner(client).run(get("k"))

            assert await asyncio.to_thread(call) == b"k"
            assert cluster.asked(1) == [[b"ASKING"], [b"GET", b"k"]]

    run(scenario)


@pytest.mark.parametrize("code", ["TRYAGAIN", "CLUSTERDOWN", "LOADING"])
def test_a_node_that_cannot_answer_yet_is_asked_again(code: str) -> None:
    async def scenario() -> None:
        refusals = [b"-%b not yet\r\n" % code.encode()] * 2

        async def answer(number: int, session: Session, args: Command) -> None:
            if number == 0 and refusals:
                session.send(refusals.pop())
            else:
                await echo(number, session, args)

        async with ScriptedCluster(answer) as cluster, cluster.client() as client:
            await read(AsyncRunner(client), [*cluster.keys_at(0, 3), *cluster.keys_at(1, 3)])

    run(scenario)


def test_redirections_without_end_are_an_error() -> None:
    async def scenario() -> None:
        async def answer(number: int, session: Session, args: Command) -> None:
            session.send(cluster.redirection("MOVED", args[1].decode(), 1 - number))

        async with ScriptedCluster(answer) as cluster, cluster.client() as client:
            with pytest.raises(StoreLoadingError):
                await AsyncRunner(client).run(get("k"))

    run(scenario)


def test_a_node_that_closes_in_the_middle_of_a_reply_costs_nobody_an_answer() -> None:
    async def scenario() -> None:
        cuts = [b"$5\r\nhal"]

        async def answer(number: int, session: Session, args: Command) -> None:
            if number == 0 and args[1].decode() == keys[2] and cuts:
                session.send(cuts.pop())
                session.close()
            else:
                await echo(number, session, args)

        async with ScriptedCluster(answer) as cluster, cluster.client() as client:
            keys = cluster.keys_at(0, 5)
            await read(AsyncRunner(client), [*keys, *cluster.keys_at(1, 5)])
            assert len(cluster.asked(1)) == 5, "calls to the other node were not repeated"

    run(scenario)


def test_a_node_that_has_left_the_cluster_is_left() -> None:
    async def scenario() -> None:
        left = asyncio.Event()

        async def answer(number: int, session: Session, args: Command) -> None:
            if number == 1 and left.is_set():
                cluster.owners = [0, 0]
                session.send(b"-CLUSTERDOWN left\r\n")
            else:
                await echo(number, session, args)

        async with ScriptedCluster(answer) as cluster, cluster.client() as client:
            runner, keys = AsyncRunner(client), cluster.keys_at(1, 3)
            await read(runner, keys)
            left.set()
            await read(runner, keys)
            await cluster.nodes[1].all_closed.wait()

    run(scenario)


def test_a_cancelled_caller_leaves_the_connection_to_the_others() -> None:
    async def scenario() -> None:
        reached, opened = asyncio.Event(), asyncio.Event()

        async def answer(number: int, session: Session, args: Command) -> None:
            if args[1].decode() == keys[0]:
                reached.set()
                await opened.wait()
            await echo(number, session, args)

        async with ScriptedCluster(answer, masters=1) as cluster, cluster.client() as client:
            runner, keys = AsyncRunner(client), cluster.keys_at(0, 3)
            await read(runner, keys[1:])
            before = cluster.nodes[0].connections
            cancelled = asyncio.create_task(runner.run(get(keys[0])))
            others = asyncio.create_task(read(runner, keys[1:]))
            await reached.wait()
            cancelled.cancel()
            opened.set()
            await others
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert cluster.nodes[0].connections == before

    run(scenario)


def test_large_replies_go_over_connections_of_their_own_once_the_key_is_known() -> None:
    async def scenario() -> None:
        async def answer(_: int, session: Session, args: Command) -> None:
            session.send(bulk(args[1].ljust(LARGE_BYTES + 1 if args[1].decode() == large else 0)))

        async with ScriptedCluster(answer) as cluster, cluster.client() as client:
            runner, [large, small] = AsyncRunner(client), cluster.keys_at(0, 2)
            for key in (small, large, large, small):
                assert (await runner.run(get(key))).rstrip() == key.encode()
            numbers = [number for number, args in cluster.nodes[0].commands if args[0] == b"GET"]
            assert numbers[0] == numbers[1] == numbers[3] != numbers[2]

    run(scenario)


def test_the_same_replica_is_asked_in_whichever_order_a_server_lists_them() -> None:
    master, *replicas = (ClusterNode("127.0.0.1", port) for port in range(4))
    assert len({choose_replica([master, *order]).name for order in permutations(replicas)}) == 1
    assert choose_replica([master]) is master


def test_a_replica_that_failed_is_asked_again_after_a_while_and_no_command_that_writes_goes_to_one() -> None:
    seconds = [0.0]
    views, nodes = ReplicaViews(lambda: seconds[-1]), [ClusterNode("127.0.0.1", port) for port in range(2)]
    assert views.find_replica(("HGET", "k", "f"), nodes) is nodes[1]
    assert views.find_replica(("XDEL", "k", "1-0"), nodes) is None
    views.suspend(nodes[1])
    found = []
    for now in (0.0, SUSPENDED_SECONDS - 0.1, SUSPENDED_SECONDS):
        seconds.append(now)
        found.append(views.find_replica(("HGET", "k", "f"), nodes))
    assert found == [None, None, nodes[1]]
