"""The dead letters: changes that were given up, to read, to replay and to discard."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.error_text import describe_error
from edge_redis._core.gather import gather
from edge_redis._core.operation import Invoke, command
from edge_redis._core.reply_values import decode_text
from edge_redis._sync import scripts, wire
from edge_redis._sync.change import Change, visible_data
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.config import strategy_of
from edge_redis._sync.edge_shards import Edge
from edge_redis._sync.failures import OUTAGE, unavailable
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.records import STREAM_ID
from edge_redis._sync.replica import Replica
from edge_redis._sync.signing import Keyring, verify
from edge_redis.errors import CorruptDataError, InvalidArgumentError, ShardMovedError
from edge_redis.models import from_timestamp

_log = logging.getLogger("edge_redis")

MAX_READ: Final = 10_000
_PAGE: Final = 100
_LETTER_ID: Final = re.compile(rf"(?:{STREAM_ID.pattern})(?:\.\d{{1,4}})?", re.ASCII)
_FEW: Final = 4
"""Letters that are read at once to be replayed: each has a whole state."""


@dataclass(frozen=True, slots=True)
class DeadLetterEntry:
    """A change that was given up."""

    entry_id: bytes
    scope: str
    version: int
    deliveries: int
    at: datetime
    fields: dict[bytes, bytes]

    @property
    def change(self) -> Change:
        """The change itself."""
        return wire.from_outbox(self.fields[b"version"], self.fields)

    def describe(self) -> dict[str, Any]:
        """Return the letter as users see it. ``data`` is None for a delete, and where it does not decode."""
        try:
            data = visible_data(self.fields[b"data"])
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


def _parse_letter(entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetterEntry | None:
    """Return the dead letter in an entry; None, and a line in the log, for a damaged or foreign entry."""
    try:
        scope, version, deliveries, _ = (fields[name] for name in (b"scope", b"version", b"deliveries", b"error"))
        at = from_timestamp(int(entry_id.partition(b"-")[0]) / 1000)
        return DeadLetterEntry(entry_id, scope.decode(), int(version), int(deliveries), at, fields)
    except (KeyError, ValueError, OverflowError) as error:
        _log.error("dead letter %r is damaged and left out: %r", entry_id, error)
        return None


def _parse_letters(found: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[DeadLetterEntry]:
    return [letter for entry in found if (letter := _parse_letter(*entry)) is not None]


async def read_letters(keys: SyncKeys, limit: int) -> list[DeadLetterEntry]:
    """Return the oldest ``limit`` dead letters of a shard, without damaged entries."""
    return await command(_parse_letters, "XRANGE", keys.dead_letters, "-", "+", "COUNT", limit)


class DeadLetters:
    """The dead letters of one shard of an edge."""

    def __init__(self, edge: Replica, cloud: AnyCloudStore, keyring: Keyring | None) -> None:
        self._edge = edge
        self._cloud = cloud
        self._keyring = keyring
        self._keys = edge.keys.dead_letters

    async def replay(self, limit: int) -> int:
        """Push up to ``limit`` dead letters once more, oldest first; return how many the cloud has now.

        Those that fail again stay. After a letter of a scope has failed, the scope's other letters are tried last, so
        that letters that always fail do not hold up the other scopes.
        """
        pushed, deferred, failed, start = 0, list[bytes](), set[str](), "-"
        while limit and (page := await command(list, "XRANGE", self._keys, start, "+", "COUNT", _FEW)):
            start = f"({page[-1][0].decode()}"
            for letter in _parse_letters(page):
                if letter.scope in failed:
                    if len(deferred) < limit:
                        deferred.append(letter.entry_id)
                elif limit:
                    limit -= 1
                    if await self._try(letter):
                        pushed += 1
                    else:
                        failed.add(letter.scope)
        return pushed + sum([await self._try_entry(entry_id) for entry_id in deferred[:limit]])

    async def _try_entry(self, entry_id: bytes) -> int:
        letters = await command(_parse_letters, "XRANGE", self._keys, entry_id, entry_id)
        return sum([await self._try(letter) for letter in letters])

    async def _try(self, letter: DeadLetterEntry) -> bool:
        try:
            await self._push(letter)
        except OUTAGE as error:
            raise unavailable(error) from error
        except Exception as error:  # noqa: BLE001 -- it stays where it is
            _log.warning("dead letter %r of %r failed again: %s", letter.entry_id, letter.scope, describe_error(error))
            return False
        return True

    async def _push(self, letter: DeadLetterEntry) -> None:
        """Apply, confirm and remove in this order, so that an interrupted call is repeated as a duplicate."""
        scope, change = letter.scope, letter.change
        verify(self._keyring, scope, change)
        settings: str = await command(decode_text, "HGET", self._edge.keys.scopes, scope)
        await Invoke(self._cloud.apply, scope, [change], strategy_of(settings))
        try:
            await scripts.confirm(self._edge, scope, change.version)
        except InvalidArgumentError:  # the edge has lost the scope since
            _log.warning("the edge has no version %d of %r any more", change.version, scope)
        await scripts.discard_letters(self._edge.keys, [letter.entry_id])


class EdgeDeadLetters:
    """The dead letters of all shards of an edge. Where there are several, an id ends with the number of its shard."""

    def __init__(self, edge: Edge, cloud: AnyCloudStore, keyring: Keyring | None) -> None:
        self._edge = edge
        self._cloud = cloud
        self._keyring = keyring

    async def read(self, limit: int) -> list[dict[str, Any]]:
        """Return the oldest ``limit``, as users see them."""
        shards = await self._edge.keys()
        found = await self._read(shards, limit)
        if len(shards) == 1:
            return [letter.describe() for _, letter in found]
        return [{**letter.describe(), "id": f"{letter.entry_id.decode()}.{number}"} for number, letter in found]

    async def _read(self, shards: Sequence[SyncKeys], limit: int) -> list[tuple[int, DeadLetterEntry]]:
        """Return the oldest ``limit``, each after the number of its shard."""
        found = await gather([read_letters(keys, limit) for keys in shards])
        letters = [(number, letter) for number, some in enumerate(found) for letter in some]
        return sorted(letters, key=lambda each: each[1].at)[:limit]

    async def replay(self, limit: int) -> int:
        """Push the oldest ``limit`` once more; return how many the cloud has now."""
        await self._edge.settle()
        shards = [each.replica for each in self._edge.shards]
        if len(shards) == 1:
            return await DeadLetters(shards[0], self._cloud, self._keyring).replay(limit)
        counts = Counter(number for number, _ in await self._read([each.keys for each in shards], limit))
        letters = [DeadLetters(each, self._cloud, self._keyring) for each in shards]
        return sum([await letters[number].replay(count) for number, count in sorted(counts.items())])

    async def discard(self, ids: Sequence[str]) -> int:
        """Remove dead letters by their ids; return how many there were."""
        shards = await self._edge.keys()
        if shards.record.target is not None:
            raise ShardMovedError("the number of shards is being changed: ids of dead letters will be others")
        names = [""] if len(shards) == 1 else [str(number) for number in range(len(shards))]
        removed = 0
        for name, keys in zip(names, shards, strict=True):
            some = [each.partition(".")[0] for each in ids if each.partition(".")[2] == name]
            for start in range(0, len(some), _PAGE):
                removed += await scripts.discard_letters(keys, some[start : start + _PAGE])
        return removed


def check_letter_ids(ids: object) -> Sequence[str]:
    """Return ids of dead letters.

    Raises:
        InvalidTypeError, InvalidArgumentError: one is not such an id.

    """
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Sequence):
        raise validation.type_error("ids", ids, "a list of ids")
    for each in ids:
        if _LETTER_ID.fullmatch(validation.check_identifier("an id", each)) is None:
            raise validation.value_error("an id", each, "must be the id of a dead letter")
    return ids
