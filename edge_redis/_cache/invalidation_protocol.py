"""The protocol by which a near cache learns of writes, on a connection of its own. It has no socket itself.

A session speaks RESP2, in which messages about writes arrive on channels: the server's own channel
(CLIENT TRACKING in broadcast mode, redirected to the same connection), or, if the server refuses
that command or does not know it, the channels on which the writing scripts publish.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Protocol

from edge_redis._core.session import Receive, Send, SessionEnded
from edge_redis.errors import StoreError, StoreTimeoutError, StoreUnavailableError

PING_SECONDS: Final = 1.0
"""Time without a message after which the connection is tested, and how long the answer may take."""

_DRAIN_SECONDS: Final = 0.05

_TRACKING_CHANNEL: Final = "__redis__:invalidate"
_VALUES: Final = b"}:v:"


class Subscription(Protocol):
    """The near caches that a connection serves, as the protocol sees them."""

    is_superseded: bool

    @property
    def prefixes(self) -> Sequence[str]:
        """The prefixes of their keys."""

    @property
    def channels(self) -> Sequence[str]:
        """The channels on which their writers publish."""

    @property
    def is_drained(self) -> bool:
        """Whether every connection is drained."""

    def on_tracking(self) -> None:
        """Count a connection on which the server reports writes."""

    def on_announcements_needed(self) -> None:
        """Count a connection on which writers publish."""

    def count_drained(self) -> None:
        """Count a connection that is drained."""

    def invalidate(self, name: bytes, keys: Sequence[str] | None) -> None:
        """Drop entries of the near caches of a prefix or channel, all where None."""

    def invalidate_all(self) -> None:
        """Drop all entries of all near caches."""


class InvalidationProtocol:
    """Passes messages about writes on to near caches, from one node of their server."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription

    async def run(self) -> None:
        """Subscribe, then pass messages on until the connection fails, or another subscription has taken over."""
        subscription = self._subscription
        if await self._start_tracking():
            await self._request("SUBSCRIBE", _TRACKING_CHANNEL)
            subscription.on_tracking()
        else:
            for channel in subscription.channels:
                await self._request("SUBSCRIBE", channel)
            subscription.on_announcements_needed()
        while not subscription.is_superseded:
            message = await Receive(PING_SECONDS)
            if message is None:
                message = await self._request("PING")
            self._handle(message)
        await self._drain()

    async def _start_tracking(self) -> bool:
        try:
            client_id = await self._request("CLIENT", "ID")
            prefixes = [arg for prefix in self._subscription.prefixes for arg in ("PREFIX", prefix)]
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

    async def _drain(self) -> None:
        """Pass on what the server sent before now, then end with the connections to the other nodes."""
        message = await self._request("PING")
        while not _is_pong(message):
            self._handle(message)
            message = await Receive(PING_SECONDS)
            if message is None:
                raise StoreTimeoutError(f"no answer to PING within {PING_SECONDS} s")
        self._subscription.count_drained()
        while not self._subscription.is_drained:
            self._handle(await Receive(_DRAIN_SECONDS))
        raise SessionEnded

    def _handle(self, message: Any) -> None:
        if not isinstance(message, list) or message[0] != b"message":
            return
        try:
            for name, keys in _decode_keys(message).items():
                self._subscription.invalidate(name, keys)
        except (ValueError, TypeError, LookupError):  # not a message of this package, or one about all keys
            self._subscription.invalidate_all()


def _is_pong(message: Any) -> bool:
    return message in {b"PONG", "PONG"} if not isinstance(message, list) else message[0] == b"pong"


def _decode_keys(message: Sequence[Any]) -> dict[bytes, list[str]]:
    """Return the keys that were written by prefix, or by channel; a TypeError where all were (FLUSHALL)."""
    _, channel, payload = message
    if channel != _TRACKING_CHANNEL.encode():
        return {channel: [str(key) for key in json.loads(payload)]}
    found: dict[bytes, list[str]] = {}
    for key in payload:
        end = key.index(_VALUES) + len(_VALUES)
        # A key that is not UTF-8 was not written by this package, and decodes to a key that no entry has.
        found.setdefault(key[:end], []).append(key[end:].decode(errors="replace"))
    return found
