"""Ports of embedded servers: picks a free one, keeps it, and tests whether the right server answers on it."""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Final

from edge_redis.errors import EmbeddedServerError

_PICKS: Final = 200
_ANSWER_SECONDS: Final = 1.0
CAN_HOLD: Final = sys.platform == "linux"
"""Whether a port can be kept from other processes. Linux lets a server listen on an address that another socket is
bound to, if that socket does not listen and both have SO_REUSEADDR; it gives such a port to no other process."""


class Port:
    """A port (and, for a cluster's bus, a second one), kept from other processes while this is open.

    It is kept from the pick to the server's start, and while a server is killed and started again.
    Without ``hold`` it is picked and not kept.
    """

    def __init__(self, host: str, number: int, offset: int = 0, *, hold: bool = CAN_HOLD) -> None:
        """Take ``number`` (0: any free one), and the one ``offset`` above it.

        Raises:
            EmbeddedServerError: it is in use.
        """
        self._sockets: list[socket.socket] = []
        self.host = host
        self.number = self._take(number, offset) if number else self._pick(offset)
        if not hold:
            self.close()

    def close(self) -> None:
        """Release the port."""
        while self._sockets:
            self._sockets.pop().close()

    def _pick(self, offset: int) -> int:
        for _ in range(_PICKS):
            try:
                return self._take(0, offset)
            except (EmbeddedServerError, OverflowError):  # the second one is in use, or above the last port
                self.close()
        raise EmbeddedServerError(f"no free port on {self.host} with a free one {offset} above it")

    def _take(self, number: int, offset: int) -> int:
        taken = self._bind(number)
        if offset:
            self._bind(taken + offset)
        return taken

    def _bind(self, number: int) -> int:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append(bound)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((self.host, number))
        except OSError as error:
            self.close()
            raise EmbeddedServerError(f"port {number} of {self.host} cannot be used: {error.strerror}") from error
        return int(bound.getsockname()[1])


def make_url(host: str, port: int) -> str:
    """Return the URL of the server's first database."""
    return f"redis://[{host}]:{port}/0" if ":" in host else f"redis://{host}:{port}/0"


def was_taken(log: str) -> bool:
    """Return whether a server's log says that its port was in use."""
    return os.strerror(errno.EADDRINUSE) in log


def is_answering(host: str, port: int, pid: int, password: str = "") -> bool:
    """Return whether the server with this process id answers PING there and has loaded its data.

    A server that requires another password also counts as answering: it does not tell its process id.
    """
    secret = password.encode()
    login = b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(secret), secret) if secret else b""
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_SECONDS) as connection:
            connection.sendall(login + b"PING\r\nINFO server\r\n")
            with connection.makefile("rb") as replies:
                if secret and not replies.readline().startswith(b"+"):  # another server has the port
                    return False
                pong, size = replies.readline(), replies.readline()
                facts = replies.read(int(size[1:])) if size.startswith(b"$") else b""
    except (OSError, ValueError):
        return False
    if not pong.startswith((b"+PONG", b"-")) or pong.startswith(b"-LOADING"):
        return False
    return b"process_id:" not in facts or b"process_id:%d\r\n" % pid in facts
