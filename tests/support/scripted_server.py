"""A server in the test's own event loop: it notes what it is sent, and a test says what it answers and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeAlias

from edge_redis._io.resp import INCOMPLETE, PythonReader

Command: TypeAlias = list[bytes]
Answer: TypeAlias = Callable[["Session", Command], Awaitable[None]]

_GREETING = {b"CLIENT": b"+OK\r\n", b"SELECT": b"+OK\r\n", b"PING": b"+PONG\r\n"}
"""Commands that the server answers itself."""


class Session:
    """One connection to the server."""

    def __init__(self, number: int, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._writer = writer

    def send(self, *replies: bytes) -> None:
        """Send bytes at once."""
        self._writer.write(b"".join(replies))

    def close(self) -> None:
        self._writer.close()


def bulk(text: bytes) -> bytes:
    """Return the reply that carries ``text``."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


class ScriptedServer:
    """Answers commands one after another, as Redis does."""

    def __init__(self, answer: Answer) -> None:
        self.commands: list[tuple[int, Command]] = []
        """Every command with the number of its connection, without those that the server answers itself."""
        self.reads: list[int] = []
        """How many commands came with each chunk of bytes."""
        self.pings: list[int] = []
        """How many commands had come before each PING."""
        self.connections = self._open = 0
        self.all_closed = asyncio.Event()
        """Set while no connection is open."""
        self._answer = answer

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._sessions: set[Any] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Of RESP2, so that a connection does not begin with HELLO."""
        return f"redis://127.0.0.1:{self.port}/0?protocol=2"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sessions.add(asyncio.current_task())
        session, parser = Session(self.connections, writer), PythonReader(ValueError)
        self.connections += 1
        self._open += 1
        self.all_closed.clear()
        try:
            while data := await reader.read(65536):
                parser.feed(data)
                commands = []
                while (command := parser.gets()) is not INCOMPLETE:
                    commands.append(command)
                await self._answer_all(session, commands)
        except ConnectionError:
            pass
        finally:
            writer.close()
            self._open -= 1
            if not self._open:
                self.all_closed.set()

    async def _answer_all(self, session: Session, commands: list[Command]) -> None:
        rest = [command for command in commands if command[0] not in _GREETING]
        if rest:
            self.reads.append(len(rest))
        for command in commands:
            if command[0] in _GREETING:
                session.send(_GREETING[command[0]])
                if command[0] == b"PING":
                    self.pings.append(len(self.commands))
            else:
                self.commands.append((session.number, command))
                await self._answer(session, command)
