"""A TCP proxy whose links a test breaks in stated ways, and mends again."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Self, TypeAlias

from edge_redis._io.resp import INCOMPLETE, PythonReader

Breakage: TypeAlias = Literal["lose", "cut", "close", "reset"]
"""Bytes are lost; half of them arrive, then the connection ends; it ends instead of them; it is reset."""

_POLL_SECONDS = 0.02
_RESENT_SECONDS = 0.2
"""After these TCP sends a lost packet again, at the least."""
_HANDSHAKE = frozenset({b"HELLO", b"AUTH", b"CLIENT", b"SELECT"})
"""Commands that a server executes while it is loading."""


@dataclass(eq=False)
class _Link:
    """One connection of a client, and that to the server which it is forwarded on."""

    client: socket.socket
    server: socket.socket
    commands: PythonReader = field(default_factory=lambda: PythonReader(ValueError))

    def other(self, source: socket.socket) -> socket.socket:
        return self.server if source is self.client else self.client


class FaultyProxy:
    """Forwards connections to a port of this machine."""

    def __init__(self, port: int) -> None:
        self.requests: Breakage | None = None
        """What happens to bytes on their way to the server."""
        self.replies: Breakage | None = None
        """What happens to bytes on their way to the client."""
        self.is_once = False
        """Whether the breakages concern only the links that exist when they begin."""
        self.delay_seconds = 0.0
        """How long replies are delayed."""
        self.lost = 0.0
        """How much of what is sent is lost at first: it arrives when TCP has sent it again."""
        self.answer = b""
        """The reply to every command but those of a handshake, instead of the server's."""
        self._upstream = port
        self._links: set[_Link] = set()
        self._broken: frozenset[_Link] = frozenset()
        self._late: list[tuple[float, _Link, socket.socket, bytes]] = []
        self._pick = random.Random(1)
        self._selector = selectors.DefaultSelector()
        self._turn = threading.RLock()
        self._is_ended = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ended = True
        self._thread.join(10)
        for link in list(self._links):
            self._end(link)
        self._listener.close()
        self._selector.close()

    @contextlib.contextmanager
    def broken(
        self,
        *,
        requests: Breakage | None = None,
        replies: Breakage | None = None,
        once: bool = False,
        delay_seconds: float = 0.0,
        lost: float = 0.0,
        answer: bytes = b"",
    ) -> Iterator[None]:
        """Break the links in these ways; at the end of the context they work again, on new connections."""
        with self._turn:
            self.requests, self.replies, self.is_once = requests, replies, once
            self.delay_seconds, self.lost, self.answer = delay_seconds, lost, answer
            self._broken = frozenset(self._links)
        try:
            yield
        finally:
            with self._turn:
                self.requests = self.replies = None
                self.is_once, self.delay_seconds, self.lost, self.answer = False, 0.0, 0.0, b""
                for link in list(self._links):
                    self._end(link)

    def _run(self) -> None:
        while not self._is_ended:
            ready = self._selector.select(_POLL_SECONDS)
            with self._turn:
                for key, _ in ready:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data in self._links and isinstance(key.fileobj, socket.socket):
                        self._forward(key.data, key.fileobj)
                self._send_late()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._upstream), timeout=1)
        except OSError:
            client.close()
            return
        link = _Link(client, server)
        self._links.add(link)
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(each, selectors.EVENT_READ, link)

    def _forward(self, link: _Link, source: socket.socket) -> None:
        try:
            data = source.recv(1 << 20)
            if not data:
                self._end(link)
            elif source is link.client and self.answer:
                self._answer(link, data)
            else:
                self._pass_on(link, source, data)
        except OSError:
            self._end(link)

    def _answer(self, link: _Link, data: bytes) -> None:
        link.commands.feed(data)
        while (command := link.commands.gets()) is not INCOMPLETE:
            if command[0].upper() in _HANDSHAKE:
                link.server.sendall(b"*%d\r\n" % len(command))
                link.server.sendall(b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command))
            else:
                link.client.sendall(self.answer)

    def _pass_on(self, link: _Link, source: socket.socket, data: bytes) -> None:
        target = link.other(source)
        breakage = self.requests if source is link.client else self.replies
        if breakage is None or (self.is_once and link not in self._broken):
            self._send(link, target, data)
        elif breakage == "cut":
            target.sendall(data[: len(data) // 2])
            self._end(link)
        elif breakage == "close":
            link.client.shutdown(socket.SHUT_WR)
        elif breakage == "reset":
            self._end(link, reset=True)

    def _send(self, link: _Link, target: socket.socket, data: bytes) -> None:
        """Send bytes, now or late: behind those to the same target that are late."""
        delay = self.delay_seconds if target is link.client else 0.0
        if self.lost and self._pick.random() < self.lost:
            delay += _RESENT_SECONDS
        earlier = max((at for at, _, to, _ in self._late if to is target), default=0.0)
        if delay or earlier:
            self._late.append((max(time.monotonic() + delay, earlier), link, target, data))
        else:
            target.sendall(data)

    def _send_late(self) -> None:
        now = time.monotonic()
        due = [late for late in self._late if late[0] <= now]
        self._late = [late for late in self._late if late[0] > now]
        for _, link, target, data in due:
            if link in self._links:
                try:
                    target.sendall(data)
                except OSError:
                    self._end(link)

    def _end(self, link: _Link, *, reset: bool = False) -> None:
        self._links.discard(link)
        for each in (link.client, link.server):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(each)
            with contextlib.suppress(OSError):
                if reset:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
