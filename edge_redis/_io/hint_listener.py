"""Listens for hints in the background: in a daemon thread, or in a task where the client is an asyncio one."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Protocol

from edge_redis._core.session import Session
from edge_redis._io.asyncio_listener import TaskListener
from edge_redis._io.blocking_listener import ThreadListener
from edge_redis._io.clients import is_asyncio
from edge_redis._io.listener import Reconnecting, SessionOwner

_log = logging.getLogger("edge_redis")

_RECONNECTING: Final = Reconnecting(
    first_pause=1.0, longest_pause=30.0, is_spread=True, consequence="polling, since the server is not listened to"
)
_CLOSING_SECONDS: Final = 1.0
"""How long closing waits for a thread that is connecting to a server that does not answer."""


class HintProtocol(SessionOwner, Protocol):
    """The protocol of the connection."""

    is_listening: bool

    def session(self) -> Session:
        """Return a session of the protocol."""


class HintListener:
    """Listens from its start until it is closed."""

    def __init__(self, hints: HintProtocol, background: TaskListener | ThreadListener) -> None:
        self._hints = hints
        self._background = background

    @property
    def is_listening(self) -> bool:
        """Whether hints arrive now."""
        return self._hints.is_listening

    def start(self) -> None:
        """Begin to listen, on a connection of its own."""
        self._background.ensure_running()

    def renew(self) -> None:
        """Make the connection anew: hints do not arrive by this one, although it is open."""
        _log.debug("a change was found that no hint had reported: listening on a new connection")
        self._background.renew()

    def close(self) -> asyncio.Task[None] | None:
        """Stop listening; return what is left of it to be awaited."""
        if isinstance(self._background, ThreadListener):
            self._background.stop()
            return None
        return next(iter(self._background.stop()), None)


def make_listener(client: Any, hints: HintProtocol) -> HintListener:
    """Return a listener of the server of ``client``."""
    background: TaskListener | ThreadListener
    if is_asyncio(client):
        background = TaskListener(client, hints.session, hints, of_any_node=True, reconnecting=_RECONNECTING)
    else:
        background = ThreadListener(client, hints.session, hints, of_any_node=True, reconnecting=_RECONNECTING)
        background.join_seconds = _CLOSING_SECONDS
    return HintListener(hints, background)
