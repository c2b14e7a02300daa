"""A cluster of scripted servers in the test's own event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Self, TypeAlias

import redis.asyncio

from edge_redis._core.slots import SLOTS, hash_slot
from support.scripted_server import Command, ScriptedServer, Session, bulk

NodeAnswer: TypeAlias = Callable[[int, Session, Command], Awaitable[None]]
"""Answers a command that came to the node of a number."""


class ScriptedCluster:
    """Masters with equal shares of the slots, and nodes without any behind them."""

    def __init__(self, answer: NodeAnswer, masters: int = 2, others: int = 0) -> None:
        self.nodes = [ScriptedServer(self._answer_of(number, answer)) for number in range(masters + others)]
        self.owners = list(range(masters))
        """The node of each of the equal shares, as the nodes tell clients."""
        self.maps_read = 0

    def _answer_of(self, number: int, answer: NodeAnswer) -> Callable[[Session, Command], Awaitable[None]]:
        async def answer_one(session: Session, command: Command) -> None:
            if command[0] == b"CLUSTER":
                self.maps_read += 1
                session.send(self._slots())
            elif command[0] == b"COMMAND":
                session.send(b"*0\r\n")
            else:
                await answer(number, session, command)

        return answer_one

    def _slots(self) -> bytes:
        shares = len(self.owners)
        parts = [b"*%d\r\n" % shares]
        for share, owner in enumerate(self.owners):
            first, last = SLOTS * share // shares, SLOTS * (share + 1) // shares - 1
            node = b"*3\r\n" + bulk(b"127.0.0.1") + b":%d\r\n" % self.nodes[owner].port + bulk(b"%040d" % owner)
            parts.append(b"*3\r\n:%d\r\n:%d\r\n%b" % (first, last, node))
        return b"".join(parts)

    def client(self, **options: Any) -> redis.asyncio.RedisCluster:
        """Return a client that knows the first node."""
        return redis.asyncio.RedisCluster(host="127.0.0.1", port=self.nodes[0].port, protocol=2, **options)

    def redirection(self, word: str, key: str, node: int) -> bytes:
        """Return the reply that sends a client to another node."""
        return b"-%b %d 127.0.0.1:%d\r\n" % (word.encode(), hash_slot(key), self.nodes[node].port)

    def keys_at(self, node: int, count: int) -> list[str]:
        """Return keys in the share of a node."""
        shares = len(self.owners)
        names = (f"k{number}" for number in range(SLOTS))
        return [name for name in names if self.owners[hash_slot(name) * shares // SLOTS] == node][:count]

    def asked(self, node: int) -> list[Command]:
        """Return what came to a node, without what redis-py asks for itself."""
        return [command for _, command in self.nodes[node].commands if command[0] not in {b"CLUSTER", b"COMMAND"}]

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        for node in self.nodes:
            await self._stack.enter_async_context(node)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
