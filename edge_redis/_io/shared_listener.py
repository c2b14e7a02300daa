"""Listeners shared by all services of a process that have the same server and credentials.

A service has a *membership* in place of a listener of its own. The first member of a server starts a listener, the last
one that leaves stops it. The group (see ``near_subscribers``) decides what is listened for, and when one listener takes
over from another; this module has the threads or tasks.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol, TypeAlias

from edge_redis._io.asyncio_listener import TaskListener
from edge_redis._io.background import BackgroundTask, BackgroundThread
from edge_redis._io.blocking_listener import ThreadListener
from edge_redis._io.clients import AsyncClient, BlockingClient
from edge_redis._io.shared import server_identity

_CREDENTIALS: Final = (
    *("username", "password", "credential_provider"),
    *("ssl_certfile", "ssl_keyfile", "ssl_ca_certs", "ssl_cert_reqs", "ssl_check_hostname"),
)


class Group(Protocol):
    """The services of one server that listen together."""

    def add(self, member: Any) -> None:
        """Serve a service. Adding it again changes nothing."""

    def remove(self, member: Any) -> bool:
        """Serve a service no more; return whether it was the last."""


MakeGroup: TypeAlias = Callable[[Callable[[Any], object], Callable[[Any], object], Callable[[Any], object]], Group]
"""Makes a group, given what starts a listener of a subscription, what retires it and what forgets it."""


def listener_identity(client: Any) -> Hashable:
    """Return a key that is equal for clients that may share a listener."""
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        of_cluster: Hashable = client
        return of_cluster
    known = pool.connection_kwargs
    return pool.connection_class, server_identity(client), *(known.get(name) for name in _CREDENTIALS)


class _Listeners:
    """The listeners of one group: one, and a second while it takes over."""

    def __init__(self, make_group: MakeGroup, make_listener: Callable[[Any], Any]) -> None:
        self.listeners: dict[Any, Any] = {}
        self._make_listener = make_listener
        self.group = make_group(self._start, self._retire, self._forget)

    def _start(self, subscription: Any) -> None:
        listener = self.listeners.get(subscription)
        if listener is None:
            listener = self.listeners.setdefault(subscription, self._make_listener(subscription))
        listener.ensure_running()

    def _retire(self, subscription: Any) -> None:
        listener = self.listeners.get(subscription)
        if listener is not None:
            listener.retire()

    def _forget(self, subscription: Any) -> None:
        self.listeners.pop(subscription, None)


_by_server: Final[dict[Hashable, _Listeners]] = {}
_mutexes: Final = [threading.Lock()]


def _reset() -> None:
    """Forget the parent's listeners, in a forked child, where no thread and no loop of them runs."""
    _by_server.clear()
    _mutexes[:] = [threading.Lock()]


os.register_at_fork(after_in_child=_reset)


def _join(identity: Hashable, make: Callable[[], _Listeners], member: object) -> _Listeners:
    with _mutexes[0]:
        found = _by_server.get(identity)
        if found is None:
            found = _by_server.setdefault(identity, make())
        found.group.add(member)
        return found


def _leave(identity: Hashable, joined: _Listeners, member: object) -> list[Any]:
    """Return the listeners to be stopped: all, after the last member."""
    with _mutexes[0]:
        if not joined.group.remove(member):
            return []
        if _by_server.get(identity) is joined:
            del _by_server[identity]
        return list(joined.listeners.values())


def _is_of_closed_loop(identity: Hashable) -> bool:
    if not isinstance(identity, tuple):
        return False
    loop = identity[0]
    return isinstance(loop, asyncio.AbstractEventLoop) and loop.is_closed()


class ThreadMembership(BackgroundThread):
    """Listens for a blocking service, on threads that it shares with others."""

    name = "edge-redis-listener"

    def __init__(self, client: BlockingClient, member: object, make_group: MakeGroup) -> None:
        super().__init__()
        self._client = client
        self._member = member
        self._make_group = make_group
        self._identity = listener_identity(client)
        self._joined: _Listeners | None = None

    def ensure_running(self) -> None:
        """Begin to listen, unless it does or was stopped."""
        if self._joined is None and not self._stopped:
            self._joined = _join(self._identity, self._make, self._member)

    def _make(self) -> _Listeners:
        client = self._client
        return _Listeners(
            self._make_group, lambda subscription: ThreadListener(client, subscription.session, subscription)
        )

    def stop(self) -> None:
        """Stop listening; wait for the end of the threads where this was the last service."""
        self._stopped = True
        joined = self._joined
        if joined is not None:
            for listener in _leave(self._identity, joined, self._member):
                listener.stop()

    def after_fork(self) -> None:
        """Reset state in a forked child, where no thread runs; it can be started again."""
        super().after_fork()
        self._joined = None


class TaskMembership(BackgroundTask):
    """Listens for an asyncio service, in a task that it shares with others of its loop."""

    name = "edge-redis-listener"

    def __init__(self, client: AsyncClient, member: object, make_group: MakeGroup) -> None:
        super().__init__()
        self._client = client
        self._member = member
        self._make_group = make_group
        self._identity = listener_identity(client)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._joined: _Listeners | None = None

    def ensure_running(self) -> None:
        """Begin to listen on the running loop, unless it does already."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._leave()
            self._joined = _join((loop, self._identity), self._make, self._member)
            self._loop = loop
        elif self._joined is not None:
            for listener in tuple(self._joined.listeners.values()):
                listener.ensure_running()

    def _make(self) -> _Listeners:
        client = self._client
        for identity in [each for each in _by_server if _is_of_closed_loop(each)]:
            _by_server.pop(identity, None)
        return _Listeners(
            self._make_group, lambda subscription: TaskListener(client, subscription.session, subscription)
        )

    def _leave(self) -> list[Any]:
        joined, loop = self._joined, self._loop
        self._joined = self._loop = None
        return [] if joined is None else _leave((loop, self._identity), joined, self._member)

    def stop(self) -> set[asyncio.Task[None]]:
        """Stop listening; return the tasks that end where this was the last service."""
        return {task for listener in self._leave() for task in listener.stop()}

    def after_fork(self) -> None:
        """Reset state in a forked child, where the parent's loop does not run."""
        super().after_fork()
        self._joined = self._loop = None
