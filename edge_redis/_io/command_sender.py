"""What runners use to send commands.

Every sender sends single commands. One on a single server also sends several in one round trip; on a
cluster a redirection within a pipeline would reorder commands, so the runners send those singly, each
durable one with the commands that wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from edge_redis._io.handshake import UNREADABLE, unreadable

Args: TypeAlias = tuple[Any, ...]
"""A command's name and arguments."""


class Written(NamedTuple):
    """The reply to a write, and the replies, error replies among them, to the WAIT and WAITAOF behind it."""

    reply: Any
    acknowledgements: list[Any]


class CommandSender(Protocol):
    """Sends commands for a blocking runner."""

    def send(self, args: Args) -> Any:
        """Send one command and return its reply."""


@runtime_checkable
class BatchSender(CommandSender, Protocol):
    """Sends commands for a blocking runner, also several in one round trip."""

    def send_many(self, commands: Sequence[Args]) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies among them."""


class AsyncCommandSender(Protocol):
    """Sends commands for an asyncio runner."""

    async def send(self, args: Args) -> Any:
        """Send one command and return its reply."""


@runtime_checkable
class AsyncBatchSender(AsyncCommandSender, Protocol):
    """Sends commands for an asyncio runner, also several in one round trip."""

    async def send_many(self, commands: Sequence[Args]) -> list[Any]:
        """Send commands in one round trip and return their replies, error replies among them."""


@runtime_checkable
class DurableSender(CommandSender, Protocol):
    """Sends commands for a blocking runner, on a cluster also with WAIT behind one of them."""

    def send_durably(self, args: Args, waits: Sequence[Args]) -> Written:
        """Send one command, with commands behind it on the connection that wait until its write is safe."""


@runtime_checkable
class AsyncDurableSender(AsyncCommandSender, Protocol):
    """Sends commands for an asyncio runner, on a cluster also with WAIT behind one of them."""

    async def send_durably(self, args: Args, waits: Sequence[Args]) -> Written:
        """Send one command, with commands behind it on the connection that wait until its write is safe."""


class FinalError(Exception):
    """Carries an error past redis-py's retry, which would repeat the call."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def parse_reply(client: Any, name: str, reply: Any) -> Any:
    """Return a reply as redis-py's client returns it."""
    callbacks = client.response_callbacks
    if name == "EVALSHA" or name not in callbacks:
        return reply
    try:
        return callbacks[name](reply)
    except UNREADABLE as error:
        raise unreadable(error) from error
