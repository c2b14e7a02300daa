"""A TCP proxy that loses replies: the server has executed the command, and the client is cut off."""

from __future__ import annotations

import random
import select
import socket
import threading
from types import TracebackType
from typing import Self

_POLL_SECONDS = 0.05


class LossyProxy:
    """Forwards to a port of this machine; of the replies it drops some, and the connection with each."""

    def __init__(self, port: int, *, lost: float, seed: int = 1, kept: float = 0.0, least: int = 1) -> None:
        """Lose so many of the replies of ``least`` bytes and more; of each its beginning, ``kept``, still arrives."""
        self.losing = True
        self.dropped = 0
        self._upstream = port
        self._lost = lost
        self._kept = kept
        self._least = least
        self._pick = random.Random(seed)
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_POLL_SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._upstream)) as server:
            while not self._ended.is_set():
                ready, _, _ = select.select([client, server], [], [], _POLL_SECONDS)
                for source in ready:
                    if not self._forward(source, client, server):
                        return

    def _forward(self, source: socket.socket, client: socket.socket, server: socket.socket) -> bool:
        try:
            data = source.recv(65536)
            if not data:
                return False
            is_reply = source is server and len(data) >= self._least
            if is_reply and self.losing and self._pick.random() < self._lost:
                self.dropped += 1
                client.sendall(data[: int(len(data) * self._kept)])
                return False
            (server if source is client else client).sendall(data)
        except ConnectionError:
            return False
        return True
