"""Hints: messages by which a worker learns that there may be something to carry, on a connection of its own.

A hint may be lost, as may the connection: so the worker reads when the connection was made, and now and then without
a hint. This is the protocol of that connection; it has no socket itself. ``keys.py`` describes the channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edge_redis._core.session import Receive, Send, Session
from edge_redis._sync.cloud_store import FeedReader
from edge_redis._sync.feed import Feed
from edge_redis._sync.keys import SyncKeys
from edge_redis.errors import StoreTimeoutError


@dataclass(frozen=True, slots=True)
class Patience:
    """After how long a connection by which nothing comes counts as lost."""

    ping_seconds: float
    """Time without a message after which it is tested: the few bytes also keep a NAT from forgetting it."""
    answer_seconds: float
    """How long an answer may take: on a slow link it waits behind a transfer."""


EDGE_PATIENCE: Final = Patience(10.0, 5.0)
CLOUD_PATIENCE: Final = Patience(30.0, 15.0)
"""The link may be metered: this costs about 3,000 pings a day."""


class Hints:
    """The hints of one server."""

    def __init__(
        self,
        channels: Sequence[str],
        on_hint: Callable[[bytes], None],
        on_connected: Callable[[], None],
        patience: Patience,
    ) -> None:
        self._patience = patience
        self._on_hint = {channel.encode(): on_hint for channel in channels}
        self._on_connected = [on_connected]
        self.is_listening = False
        """Whether hints arrive now."""

    @classmethod
    def join(cls, hints: Sequence[Hints]) -> Hints:
        """Return the hints of several, of one server, to be received on one connection."""
        joined = cls((), _ignore, _ignore, hints[0]._patience)  # noqa: SLF001 -- of this class
        for each in hints:
            joined._on_hint |= each._on_hint  # noqa: SLF001 -- of this class
            joined._on_connected += each._on_connected  # noqa: SLF001
        return joined

    def reset(self, connections: int) -> None:
        """Prepare for a connection that is about to be made."""

    def on_disconnected(self, error: Exception | None = None) -> None:  # noqa: ARG002 -- the listener logs it
        """Handle the end of the connection."""
        self.is_listening = False

    def session(self) -> Session:
        """Return a session of the protocol, to be run by a listener."""
        return self._run()

    async def _run(self) -> None:
        for channel in self._on_hint:
            await self._request("SUBSCRIBE", channel.decode())
        self.is_listening = True
        for on_connected in self._on_connected:
            on_connected()
        while True:
            message = await Receive(self._patience.ping_seconds)
            if message is None:
                message = await self._request("PING")
            if isinstance(message, list) and message[0] == b"message":
                on_hint = self._on_hint.get(bytes(message[1]), _ignore)
                on_hint(bytes(message[2]))

    async def _request(self, *args: str) -> Any:
        await Send(args)
        seconds = self._patience.answer_seconds
        reply = await Receive(seconds)
        if reply is None:
            raise StoreTimeoutError(f"no answer to {args[0]} within {seconds:g} s")
        return reply


def _ignore(*_: object) -> None:
    pass


def edge_hints(keys: SyncKeys, wake: Callable[[], None]) -> Hints:
    """Return the hints of an edge's server."""
    return Hints([keys.wake], lambda _: wake(), wake, EDGE_PATIENCE)


def cloud_hints(keys: SyncKeys, reader: FeedReader, read_hint: Callable[[str, bytes], Feed | None]) -> Hints:
    """Return the hints of the cloud's server for one worker: those of changes that it has not read or written.

    ``read_hint`` returns the page of the feed that a hint at a position carries.
    """

    def pass_on(message: bytes) -> None:
        head, _, state = message.partition(b"\n")
        position, _, writer = head.decode(errors="replace").partition(" ")
        if writer and writer in reader.store_id.split(","):
            return
        after = before(position) if state else ""
        if after and is_past(position, reader.cursor) and (page := read_hint(position, state)) is not None:
            reader.deliver(after, page)
        reader.wake(lambda cursor: is_past(position, cursor))

    return Hints(keys.wake_channels(reader.segments), pass_on, reader.wake, CLOUD_PATIENCE)


def before(position: str) -> str:
    """Return the position in the feed before this one; "" where this is none."""
    store, _, number = position.rpartition(":")
    return f"{store}:{int(number) - 1}" if number.isascii() and number.isdigit() else ""


def is_past(position: str, cursor: str) -> bool:
    """Return whether a position in the feed is not before ``cursor``; so is one in the feed of another store."""
    store, _, number = position.rpartition(":")
    stores, _, numbers = cursor.rpartition(":")  # of each shard, see cloud_shards.py
    read = dict(zip(stores.split(","), numbers.split(","), strict=False)).get(store, "")
    return not (number.isdecimal() and read.isdecimal()) or int(number) > int(read)
