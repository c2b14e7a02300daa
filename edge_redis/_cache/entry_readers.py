"""Readers that count accesses, of three kinds.

| reader      | used                  | a read costs                    | accesses are                   |
|-------------|-----------------------|---------------------------------|--------------------------------|
| PlainReader | by default            | a GET                           | buffered in the process        |
| NearReader  | with near_cache       | nothing, or GET and PTTL        | buffered in the process        |
| ExactReader | with flush_every=1    | a script                        | counted in the step that reads |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, Protocol

from edge_redis._cache.accesses import Accesses
from edge_redis._cache.corrupt import CorruptEntries
from edge_redis._cache.entry import decode_entry
from edge_redis._cache.near_entry import MISSING, FoundEntry
from edge_redis._cache.round_trips import run_in_chunks, run_together
from edge_redis._cache.scripts import Scripts
from edge_redis._core.chunks import split_chunks
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Operation, command, identity
from edge_redis.errors import CorruptDataError

_MGET_CHUNK: Final = 500


class EntryReader(Protocol):
    """Reads entries of one shard and counts the accesses."""

    async def get(self, key: str, default: Any) -> Any:
        """Return the value of ``key``, or ``default``."""

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found."""

    async def get_with_ttl(self, key: str) -> FoundEntry | None:
        """Return the entry ``key`` with its TTL, or None."""


class PlainReader:
    """Reads by GET and MGET."""

    def __init__(
        self, scripts: Scripts, accesses: Accesses, corrupt: CorruptEntries, decode: Callable[[bytes], Any]
    ) -> None:
        self._scripts = scripts
        self._values = scripts.keys.values
        self._accesses = accesses
        self._corrupt = corrupt
        self._decode = decode

    async def get(self, key: str, default: Any) -> Any:
        """Return the value of ``key``, or ``default``."""
        raw: bytes | None = await Operation(("GET", self._values + key), identity)
        value, generation = default, None
        if raw is not None:
            try:
                generation, value, _, _ = decode_entry(raw, self._decode)
            except CorruptDataError:
                await self._corrupt.discard(key, raw)
        buffer = self._accesses.buffer
        buffer.add(key, generation)
        if len(buffer.accesses) >= self._accesses.flush_every:
            await self._accesses.flush_quietly()
        return value

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found."""
        names = [self._values + key for key in keys]
        replies = await run_together([command(list, "MGET", *chunk) for chunk in split_chunks(names, _MGET_CHUNK)])
        add_access = self._accesses.buffer.add
        values = {}
        for key, raw in zip(keys, chain.from_iterable(replies), strict=True):
            generation = None
            if raw is not None:
                try:
                    generation, values[key], _, _ = decode_entry(raw, self._decode)
                except CorruptDataError:
                    await self._corrupt.discard(key, raw)
            add_access(key, generation)
        await self._accesses.flush_if_due()
        return values

    async def get_with_ttl(self, key: str) -> FoundEntry | None:
        """Return the entry ``key`` with its TTL, or None."""
        [stored] = await self._scripts.get_with_ttl([key])
        decoded = await self._corrupt.decode(key, stored.raw)
        self._accesses.buffer.add(key, None if decoded is None else decoded[0])
        await self._accesses.flush_if_due()
        return None if decoded is None else FoundEntry(decoded[1], stored.ttl, *decoded[2:])


class ExactReader:
    """Reads by a script that counts each access in Redis at once."""

    def __init__(
        self,
        scripts: Scripts,
        idempotency: IdempotencyKeys,
        corrupt: CorruptEntries,
        decode: Callable[[bytes], Any],
    ) -> None:
        self._scripts = scripts
        self._idempotency = idempotency
        self._corrupt = corrupt
        self._decode = decode

    async def get(self, key: str, default: Any) -> Any:
        """Return the value of ``key``, or ``default``."""
        return (await self.get_many([key])).get(key, default)

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found."""
        replies = await run_in_chunks(keys, self._scripts.get_counted, self._idempotency)
        found = {}
        for key, raw in zip(keys, chain.from_iterable(replies), strict=True):
            if raw is None:
                continue
            try:
                found[key] = decode_entry(raw, self._decode)[1]
            except CorruptDataError:
                await self._corrupt.discard(key, raw, was_counted=True)
        return found

    async def get_with_ttl(self, key: str) -> FoundEntry | None:
        """Return the entry ``key`` with its TTL, or None."""
        if await self.get(key, MISSING) is MISSING:
            return None
        [stored] = await self._scripts.get_with_ttl([key])
        decoded = await self._corrupt.decode(key, stored.raw)
        return None if decoded is None else FoundEntry(decoded[1], stored.ttl, *decoded[2:])
