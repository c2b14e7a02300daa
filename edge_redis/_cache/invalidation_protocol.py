"""The protocol by which a near cache learns of writes, on a connection of its own. It has no socket itself.

A session speaks RESP2, in which messages about writes arrive on channels: the server's own channel
(CLIENT TRACKING in broadcast mode, redirected to the same connection), or, if the server refuses
that command or does not know it, the channels on which the writing scripts publish.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.near_entries import NearEntries
from edge_redis._core.session import Receive, Send, Session
from edge_redis.errors import StoreError, StoreTimeoutError, StoreUnavailableError

PING_SECONDS: Final = 1.0
"""Time without a message after which the connection is tested, and how long the answer may take."""

_TRACKING_CHANNEL: Final = "__redis__:invalidate"
_VALUES: Final = b"}:v:"


class InvalidationProtocol:
    """Passes messages about writes on to one near cache, from one node of its server."""

    def __init__(self, near: NearEntries, shards: Sequence[CacheKeys]) -> None:
        self._near = near
        self._prefixes = [keys.values for keys in shards]
        self._channels = [keys.written for keys in shards]

    async def run(self) -> None:
        """Subscribe, then pass messages on until the connection fails."""
        if await self._start_tracking():
            await self._request("SUBSCRIBE", _TRACKING_CHANNEL)
            self._near.on_connected()
        else:
            for channel in self._channels:
                await self._request("SUBSCRIBE", channel)
            self._near.on_announcements_needed()
        await self._receive_messages()

    async def _start_tracking(self) -> bool:
        try:
            client_id = await self._request("CLIENT", "ID")
            prefixes = [arg for prefix in self._prefixes for arg in ("PREFIX", prefix)]
            await self._request("CLIENT", "TRACKING", "ON", "REDIRECT", str(client_id), "BCAST", *prefixes)
        except StoreUnavailableError:
            raise
        except StoreError:  # the server has no such command, or refuses it to this user
            return False
        return True

    async def _request(self, *args: str) -> Any:
        await Send(args)
        reply = await Receive(PING_SECONDS)
        if reply is None:
            raise StoreTimeoutError(f"no answer to {args[0]} within {PING_SECONDS} s")
        return reply

    async def _receive_messages(self) -> None:
        while True:
            message = await Receive(PING_SECONDS)
            if message is None:
                message = await self._request("PING")
            self._handle(message)

    def _handle(self, message: Any) -> None:
        if not isinstance(message, list) or message[0] != b"message":
            return
        try:
            self._near.invalidate(_decode_keys(message))
        except (ValueError, TypeError, LookupError):  # not a message of this package: the written keys are unknown
            self._near.invalidate(None)


def run_session(near: NearEntries, shards: Sequence[CacheKeys]) -> Session:
    """Return a session of the protocol on a connection to one node, to be run by a listener."""
    return InvalidationProtocol(near, shards).run()


def _decode_keys(message: Sequence[Any]) -> list[str] | None:
    """Return the keys that were written, None for all (FLUSHALL)."""
    _, channel, payload = message
    if channel != _TRACKING_CHANNEL.encode():
        return [str(key) for key in json.loads(payload)]
    # A key that is not UTF-8 was not written by this package, and decodes to a key that no entry has.
    return payload and [key[key.index(_VALUES) + len(_VALUES) :].decode(errors="replace") for key in payload]
