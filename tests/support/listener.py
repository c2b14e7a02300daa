"""A TCP server on a loopback address that records what it receives and answers each connection as a test says."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Answer = Callable[[socket.socket, threading.Event], None]


class Listener:
    """Accept connections one after another in a thread, until closed.

    ``answer`` is called with each connection, and an event that is set when the listener ends.
    """

    def __init__(self, answer: Answer | bytes = b"", *, context: ssl.SSLContext | None = None) -> None:
        self.received: list[bytes] = []
        self._answer = answer
        self._context = context
        self._ending = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Refuse connections from now on."""
        self._ending.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            try:
                connection = self._socket.accept()[0]
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                try:
                    self._handle(connection)
                except OSError:
                    continue

    def _handle(self, connection: socket.socket) -> None:
        if self._context is not None:
            with self._context.wrap_socket(connection, server_side=True) as secured:
                self._reply(secured)
        else:
            self._reply(connection)

    def _reply(self, connection: socket.socket) -> None:
        if callable(self._answer):
            self._answer(connection, self._ending)
            return
        if self._answer:
            self.received.append(connection.recv(65_536))
            connection.sendall(self._answer)
        else:
            self.received.append(b"")
