"""Counts about how many bytes the commands and replies of one service have on the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.command_sender import Args
from edge_redis._io.resp import count_bytes


class _CountingSender:
    """Sends commands by another sender, which may be one of a blocking or of an asyncio runner."""

    def __init__(self, sender: Any, add: Callable[[int], None]) -> None:
        self._sender = sender
        self._add = add


class _BlockingCountingSender(_CountingSender):
    def send(self, args: Args) -> Any:
        self._add(count_bytes(args))
        reply = self._sender.send(args)
        self._add(count_bytes(reply))
        return reply

    def send_many(self, commands: Sequence[Args]) -> list[Any]:
        self._add(count_bytes(list(commands)))
        replies: list[Any] = self._sender.send_many(commands)
        self._add(count_bytes(replies))
        return replies


class _AsyncCountingSender(_CountingSender):
    async def send(self, args: Args) -> Any:
        self._add(count_bytes(args))
        reply = await self._sender.send(args)
        self._add(count_bytes(reply))
        return reply

    async def send_many(self, commands: Sequence[Args]) -> list[Any]:
        self._add(count_bytes(list(commands)))
        replies: list[Any] = await self._sender.send_many(commands)
        self._add(count_bytes(replies))
        return replies


def count_runner_bytes(runner: BlockingRunner | AsyncRunner, add: Callable[[int], None]) -> None:
    """Call ``add`` with the bytes of all commands and replies of ``runner`` from now on."""
    if isinstance(runner, AsyncRunner):
        runner.replace_sender(lambda sender: _AsyncCountingSender(sender, add))
    else:
        runner.replace_sender(lambda sender: _BlockingCountingSender(sender, add))
