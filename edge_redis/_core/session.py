"""Steps of a protocol session: what a coroutine awaits to talk to a server on one connection.

Like operations (see ``operation.py``), the steps yield themselves to whatever drives the coroutine:
a listener that owns the connection, or a test.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias


class SessionEnded(Exception):  # noqa: N818 -- no error
    """Raised by a session that has nothing more to do."""


@dataclass(frozen=True, slots=True)
class Send:
    """A command to send; its reply is awaited by ``Receive``."""

    args: tuple[str, ...]

    def __await__(self) -> Generator[SessionStep, Any, None]:
        yield self


@dataclass(frozen=True, slots=True)
class Receive:
    """A wait for the server's next reply; None if none comes within ``seconds``."""

    seconds: float

    def __await__(self) -> Generator[SessionStep, Any, Any]:
        reply = yield self
        return reply


SessionStep: TypeAlias = Send | Receive

Session: TypeAlias = Coroutine[SessionStep, Any, None]
"""A protocol session. It runs until it raises an error."""
