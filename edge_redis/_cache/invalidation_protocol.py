"""What a near cache says to a server and hears from it, on a connection of its own: no socket in here.

A conversation is a generator: it yields what is to be sent, or ``Hear``, and is sent the server's
next reply, or None where none came in time. It speaks RESP2, in which word of writes comes as
messages of a channel: the server's own (CLIENT TRACKING in broadcast mode, redirected to this
very connection), or, where that is refused or unknown, those that the writing scripts publish.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.near import Near
from edge_redis.errors import StoreError, StoreTimeoutError, StoreUnavailableError

PING_SECONDS: Final = 1.0
"""Silence after which the connection is tried, and how long the answer may take."""

_TRACKED: Final = "__redis__:invalidate"
_VALUES: Final = b"}:v:"


class Send(NamedTuple):
    """Words to send."""

    words: tuple[str, ...]


class Hear(NamedTuple):
    """Wait so many seconds for what the server says."""

    seconds: float


Conversation: TypeAlias = Generator[Send | Hear, Any, None]


class Ear:
    """Listens for one near cache on one node of its server."""

    def __init__(self, near: Near, shards: Sequence[CacheKeys]) -> None:
        self._near = near
        self._prefixes = [keys.values for keys in shards]
        self._channels = [keys.written for keys in shards]

    def conversation(self) -> Conversation:
        """Subscribe, then pass on what is heard, until the connection fails."""
        if (yield from self._tracks()):
            yield from self._asked("SUBSCRIBE", _TRACKED)
            self._near.gained()
        else:
            for channel in self._channels:
                yield from self._asked("SUBSCRIBE", channel)
            self._near.ask()
        yield from self._listen()

    def _tracks(self) -> Generator[Send | Hear, Any, bool]:
        try:
            own = yield from self._asked("CLIENT", "ID")
            prefixes = [word for prefix in self._prefixes for word in ("PREFIX", prefix)]
            yield from self._asked("CLIENT", "TRACKING", "ON", "REDIRECT", str(own), "BCAST", *prefixes)
        except StoreUnavailableError:
            raise
        except StoreError:  # no such command, or not for this user
            return False
        return True

    def _asked(self, *words: str) -> Generator[Send | Hear, Any, Any]:
        yield Send(words)
        reply = yield Hear(PING_SECONDS)
        if reply is None:
            raise StoreTimeoutError(f"no answer to {words[0]} within {PING_SECONDS} s")
        return reply

    def _listen(self) -> Conversation:
        while True:
            said = yield Hear(PING_SECONDS)
            if said is None:
                yield Send(("PING",))
                said = yield Hear(PING_SECONDS)
                if said is None:
                    raise StoreTimeoutError(f"no answer to PING within {PING_SECONDS} s")
            self._pass_on(said)

    def _pass_on(self, said: Any) -> None:
        if not isinstance(said, list) or said[0] != b"message":
            return
        try:
            self._near.forget_many(_told(said))
        except (ValueError, TypeError, LookupError):  # none of ours: whatever was written, it is forgotten
            self._near.forget_all()


def _told(message: Sequence[Any]) -> list[str] | None:
    """Return the keys that were written, None for all (FLUSHALL)."""
    _, channel, told = message
    if channel != _TRACKED.encode():
        return [str(key) for key in json.loads(told)]
    # A key that is no UTF-8 is none of ours, and names none.
    return told and [key[key.index(_VALUES) + len(_VALUES) :].decode(errors="replace") for key in told]
