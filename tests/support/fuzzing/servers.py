"""A target that is a client of a server which answers with any bytes, or with none."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

import edge_redis
import edge_redis.aio
from edge_redis._core.operation import Operation
from edge_redis._io.asyncio_runner import AsyncRunner
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis._io.resp import INCOMPLETE, PythonReader
from support.fuzzing.target import Run, Target

Answer = Callable[[int, list[bytes]], "bytes | None"]
"""Of the number of a command on its connection, and the command: what is sent; None closes the connection."""

_GREETING: Final = frozenset({b"CLIENT", b"SELECT", b"PING", b"AUTH"})


class HostileServer:
    """Accepts connections on a port of its own and answers as it is given."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def url(self, options: str = "") -> str:
        return f"redis://127.0.0.1:{self.port}/0{options}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    self._answer_all(connection)

    def _answer_all(self, connection: socket.socket) -> None:
        reader, number = PythonReader(ValueError), 0
        if self.answer(0, []) is None:
            return
        while data := connection.recv(65536):
            reader.feed(data)
            while (command := reader.gets()) is not INCOMPLETE:
                number += 1
                answer = self.answer(number, command)
                if answer is None:
                    return
                connection.sendall(answer)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


def polite(answer: bytes) -> Answer:
    """Return what answers logins as a server does, then these bytes to each command, and closes after them."""

    def reply(number: int, command: list[bytes]) -> bytes | None:
        if number == 0 or command[0] in _GREETING:
            return b"+PONG\r\n" if command[:1] == [b"PING"] else b"+OK\r\n" if number else b""
        return answer if b"GET" in command or b"EVALSHA" in command else None

    return reply


def rude(answer: bytes) -> Answer:
    """Return what answers these bytes to the first command, then closes."""

    def reply(number: int, _: list[bytes]) -> bytes | None:
        return (b"", answer, None)[min(number, 2)]

    return reply


@contextmanager
def open_server() -> Iterator[Run]:
    """Give the run: how to answer, then the bytes that answer a login or a command."""
    server = HostileServer(rude(b""))
    loop = asyncio.Runner()

    get = Operation(("GET", "a"), bytes)

    async def use_async(options: dict[str, Any]) -> None:
        client = edge_redis.aio.connect(server.url("?protocol=2"), retry=AsyncRetry(NoBackoff(), 0), **options)
        try:
            await AsyncRunner(client).run(get)
        finally:
            await client.aclose()

    def run(data: bytes) -> None:
        choose = random.Random(data[:1])
        server.answer = choose.choice((rude, polite, polite))(data[1:])
        options: dict[str, Any] = {"socket_timeout": 0.05, "socket_connect_timeout": 1.0}
        if choose.random() < 0.5:
            loop.run(use_async(options))
            return
        client: Any = edge_redis.connect(server.url("?protocol=2"), retry=Retry(NoBackoff(), 0), **options)
        try:
            BlockingRunner(client).run(get)
        finally:
            client.close()

    try:
        yield run
    finally:
        loop.close()
        server.close()


def server_examples() -> Sequence[bytes]:
    replies = (b"$5\r\nhello\r\n", b"*1\r\n:1\r\n", b"-ERR no\r\n", b"-LOADING x\r\n", b"HTTP/1.1 400 Bad\r\n\r\n",
    b"%1\r\n*0\r\n:1\r\n",
               b":5\r\n", b"+OK\r\n+OK\r\n", b"*1\r\n" * 1100 + b":1\r\n", b"$5\r\nhal",
               b">2\r\n+a\r\n+b\r\n$-1\r\n", b"$-1\r\n")  # fmt: skip
    return [bytes([number]) + reply for number in (1, 2, 3, 4) for reply in replies]


SERVER_TARGETS: Final = (Target("server", open_server, server_examples, 30, 5000),)
