"""Looks names up within a time limit. The system's resolver has none of its own, and cannot be stopped."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from edge_redis.probes._networks import Address, unwrap
from edge_redis.probes._no_answer import NoAnswerError

MAX_LOOKUPS: Final = 64
"""Lookups that have not returned, at most. Past that none is started."""

_free: Final = threading.BoundedSemaphore(MAX_LOOKUPS)


class Place(NamedTuple):
    """An address to connect to, in the form that sockets take."""

    address: Address
    port: int
    scope: int = 0

    @property
    def family(self) -> socket.AddressFamily:
        """The family of a socket that connects to it."""
        return socket.AF_INET if isinstance(self.address, IPv4Address) else socket.AF_INET6

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The address for ``connect``. It is numeric, so that nothing is looked up again."""
        host = str(self.address).partition("%")[0]
        return (host, self.port) if isinstance(self.address, IPv4Address) else (host, self.port, 0, self.scope)


def look_up(host: str, port: int) -> Future[list[Place]]:
    """Start to look a name up, in a daemon thread; return the future result.

    Raises:
        NoAnswerError: too many lookups have not returned.

    """
    if not _free.acquire(blocking=False):
        raise NoAnswerError(f"{host} was not looked up: {MAX_LOOKUPS} lookups have not returned")
    future: Future[list[Place]] = Future()
    future.set_running_or_notify_cancel()
    threading.Thread(target=_look_up, args=(host, port, future), name="edge-redis-lookup", daemon=True).start()
    return future


def _look_up(host: str, port: int, future: Future[list[Place]]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        places = [_make_place(entry[4]) for entry in found if entry[0] in {socket.AF_INET, socket.AF_INET6}]
    except Exception as error:  # noqa: BLE001 -- raised again by the one that waits
        future.set_exception(NoAnswerError(f"{host} cannot be looked up: {getattr(error, 'strerror', None) or error}"))
    else:
        future.set_result(list(dict.fromkeys(places)))
    finally:
        _free.release()


def _make_place(sockaddr: tuple[object, ...]) -> Place:
    host, port, *more = sockaddr
    address = unwrap(ip_address(str(host)))
    assert isinstance(port, int)
    scope = more[1] if isinstance(address, IPv6Address) and len(more) > 1 else 0
    assert isinstance(scope, int)
    return Place(address, port, scope)
