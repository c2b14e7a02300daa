"""The dead letters: changes the cloud refused again and again, to look at and to try once more."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from edge_redis._core.operation import Invoke, command
from edge_redis._sync.change import ENTRY_FIELDS, Change, from_entry, shown
from edge_redis._sync.config import strategy_of
from edge_redis._sync.failures import OUTAGE, unavailable
from edge_redis._sync.replica import Replica
from edge_redis._sync.signing import Keyring, verify
from edge_redis._sync.store import CloudStore
from edge_redis.errors import CorruptDataError, InvalidArgumentError
from edge_redis.models import from_timestamp

_log = logging.getLogger("edge_redis")

MAX_READ: Final = 10_000


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    entry_id: bytes
    scope: str
    version: int
    deliveries: int
    at: datetime
    fields: dict[bytes, bytes]

    @property
    def change(self) -> Change:
        """The change itself."""
        return from_entry(self.fields[b"version"], [self.fields.get(name, b"") for name in ENTRY_FIELDS])

    def describe(self) -> dict[str, Any]:
        """Return what users see. Data is None of a delete, and where it does not decode: that may be why it is here."""
        try:
            data = shown(self.fields[b"data"])
        except (CorruptDataError, KeyError):
            data = None
        return {
            "id": self.entry_id.decode(),
            "scope": self.scope,
            "version": self.version,
            "data": data,
            "error": self.fields[b"error"].decode(errors="replace"),
            "deliveries": self.deliveries,
            "timestamp": self.at,
        }


def _letter(entry_id: bytes, fields: dict[bytes, bytes]) -> Letter | None:
    """Return the letter that an entry holds, None where somebody else put it there."""
    try:
        scope, version, deliveries, _ = (fields[name] for name in (b"scope", b"version", b"deliveries", b"error"))
        at = from_timestamp(int(entry_id.partition(b"-")[0]) / 1000)
        return Letter(entry_id, scope.decode(), int(version), int(deliveries), at, fields)
    except (KeyError, ValueError) as error:
        _log.error("dead letter %r is none of ours and left out: %r", entry_id, error)
        return None


def _letters(found: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[Letter]:
    return [letter for entry in found if (letter := _letter(*entry)) is not None]


class DeadLetters:
    """The dead letters of one edge."""

    def __init__(self, edge: Replica, cloud: CloudStore, keyring: Keyring | None) -> None:
        self._edge = edge
        self._cloud = cloud
        self._keyring = keyring

    async def read(self, limit: int) -> list[Letter]:
        """Return the oldest ``limit``, without what somebody else put there."""
        return await command(_letters, "XRANGE", self._edge.keys.dead, "-", "+", "COUNT", limit)

    async def replay(self, limit: int) -> int:
        """Try the oldest ``limit`` once more; return how many the cloud now has. Those that fail again stay."""
        done = 0
        for letter in await self.read(limit):
            try:
                await self._deliver(letter)
            except OUTAGE as error:
                raise unavailable(error) from error
            except Exception as error:  # noqa: BLE001 -- it stays where it is
                _log.warning("dead letter %r of %r failed again: %s", letter.entry_id, letter.scope, error)
            else:
                done += 1
        return done

    async def _deliver(self, letter: Letter) -> None:
        """Deliver, checkpoint, remove, in this order: cut anywhere, it is delivered again and known there."""
        scope, change = letter.scope, letter.change
        verify(self._keyring, scope, change)
        settings: str = await command(lambda reply: (reply or b"").decode(), "HGET", self._edge.keys.scopes, scope)
        await Invoke(self._cloud.apply, scope, [change], strategy_of(settings))
        try:
            await self._edge.confirm(scope, change.version)
        except InvalidArgumentError:  # the edge has lost the scope since
            _log.warning("version %d of %r is not known at the edge any more", change.version, scope)
        await command(int, "XDEL", self._edge.keys.dead, letter.entry_id)
