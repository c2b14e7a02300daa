"""The shards of a cache. All Redis keys of a shard are in one slot; an entry's key decides its shard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from edge_redis._cache.access_buffer import AccessBuffer
from edge_redis._cache.accesses import Accesses
from edge_redis._cache.bulk_remover import BulkRemover
from edge_redis._cache.computation import Computation
from edge_redis._cache.config import CacheConfig
from edge_redis._cache.corrupt import CorruptEntries
from edge_redis._cache.entry_readers import EntryReader, ExactReader, PlainReader
from edge_redis._cache.entry_writer import EntryWriter
from edge_redis._cache.flights import Flights, SimpleFuture
from edge_redis._cache.inspector import Inspector
from edge_redis._cache.key_pages import KeyPage, PagePosition
from edge_redis._cache.keys import CacheKeys, name_shards
from edge_redis._cache.near_cache_group import NearCacheGroup
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_reader import NearReader
from edge_redis._cache.process_copies import ProcessCopies
from edge_redis._cache.script_requests import EncodedEntry, PutOptions
from edge_redis._cache.scripts import Scripts
from edge_redis._core.gather import gather
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.replication import Replication
from edge_redis._core.shard_record import choose_shard


class ProcessState:
    """The state that all caches of one namespace share within a process."""

    def __init__(
        self,
        buffer_of: Callable[[str], AccessBuffer] = lambda _prefix: AccessBuffer(),
        near_caches: NearCacheGroup | None = None,
        flights_of: Callable[[str], Flights] = lambda _prefix: Flights(SimpleFuture),
    ) -> None:
        self.flights_of = flights_of
        """Returns the computations under way of a shard, named by the prefix of its keys."""
        self.buffer_of = buffer_of
        """Returns the access buffer of a shard, named by the prefix of its keys."""
        self.near_caches = NearCacheGroup() if near_caches is None else near_caches


class Shard:
    """One shard: its scripts, and the objects that read, write and compute its entries."""

    def __init__(
        self,
        config: CacheConfig,
        number: int,
        scripts: Scripts,
        config_scripts: Scripts,
        state: ProcessState,
        near: NearEntries | None,
        clock: Callable[[], float],
    ) -> None:
        idempotency, decode = IdempotencyKeys(), config.codec.decode
        flights = state.flights_of(scripts.keys.prefix)
        corrupt = CorruptEntries(scripts, idempotency, decode)
        self.scripts = scripts
        self.accesses = Accesses(scripts, state.buffer_of(scripts.keys.prefix), config.flush_every)
        self.reader: EntryReader
        if config.is_exact:
            self.reader = ExactReader(scripts, idempotency, corrupt, decode)
        elif near is not None:
            self.reader = NearReader(scripts, self.accesses, corrupt, near, clock)
        else:
            self.reader = PlainReader(scripts, self.accesses, corrupt, decode)
        self.inspector = Inspector(scripts, self.accesses, corrupt, near)
        self.copies = ProcessCopies(state.near_caches, flights)
        self.remover = BulkRemover(scripts, self.accesses, idempotency, self.copies, config.fingerprint)
        self.writer = EntryWriter(
            config,
            config.shard_bounds(number),
            scripts,
            config_scripts,
            self.accesses,
            idempotency,
            self.copies,
            self.remover,
        )
        self.computation = Computation(scripts, self.reader, self.inspector, self.writer, flights, near, clock, decode)

    async def pop(self, key: str, default: Any) -> Any:
        """Remove ``key`` and return its value, or ``default``."""
        decoded = await self.inspector.decode(key, await self.writer.pop(key), was_removed=True)
        return default if decoded is None else decoded[1]

    def after_fork(self) -> None:
        """Reset state in a forked child: drop the accesses and computations, which are the parent's."""
        self.accesses.buffer.reset()
        self.computation.flights.clear()


class Shards:
    """All shards of the cache of one namespace.

    The options that all caches of a namespace must share are stored under the keys of a single shard, also
    where there are several, so that caches with different numbers of shards notice each other.
    """

    def __init__(
        self,
        namespace: str,
        config: CacheConfig,
        state: ProcessState,
        near: NearEntries | None,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self.state = state
        self._config_scripts = Scripts(CacheKeys(namespace))
        self.all = [
            Shard(config, number, Scripts(CacheKeys(namespace, name)), self._config_scripts, state, near, clock)
            for number, name in enumerate(name_shards(namespace, config.shards))
        ]

    def of(self, key: str) -> Shard:
        """Return the shard of ``key``."""
        shards = self.all
        return shards[0] if len(shards) == 1 else shards[choose_shard(key, len(shards))]

    def split(self, keys: Iterable[str]) -> list[tuple[Shard, list[str]]]:
        """Return the shards of ``keys``, each with its keys in their order."""
        if len(self.all) == 1:
            return [(self.all[0], list(keys))]
        parts: defaultdict[Shard, list[str]] = defaultdict(list)
        for key in keys:
            parts[self.of(key)].append(key)
        return list(parts.items())

    async def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those ``keys`` that are found, in the order of ``keys``."""
        parts = await gather([shard.reader.get_many(part) for shard, part in self.split(keys)])
        if len(parts) == 1:
            return parts[0]
        found = {key: value for part in parts for key, value in part.items()}
        return {key: found[key] for key in keys if key in found}

    async def page(self, position: PagePosition) -> KeyPage:
        """Return some keys of live entries."""
        page = await self.all[position.shard].inspector.page(position.cursor)
        if page.cursor:
            return KeyPage(page.keys, position._replace(cursor=page.cursor))
        following = position.shard + 1
        return KeyPage(page.keys, PagePosition(following) if following < len(self.all) else None)

    async def put_many(
        self, parts: Sequence[tuple[Shard, Sequence[EncodedEntry], PutOptions]], replication: Replication | None
    ) -> None:
        """Store the entries of each shard."""
        await gather([shard.writer.put_many(entries, options, replication) for shard, entries, options in parts])

    async def delete(self, keys: Sequence[str]) -> int:
        """Remove these keys; return how many existed."""
        return sum(await gather([shard.writer.delete(part) for shard, part in self.split(keys)]))

    async def invalidate_tag(self, tag: str) -> int:
        """Remove every entry that carries ``tag``; return how many were live."""
        return sum(await gather([shard.remover.invalidate_tag(tag) for shard in self.all]))

    async def invalidate_prefix(self, prefix: str) -> int:
        """Remove every entry whose key begins with ``prefix``; return how many were live."""
        return sum(await gather([shard.remover.invalidate_prefix(prefix) for shard in self.all]))

    async def purge_expired(self) -> int:
        """Remove expired entries, and repair the indexes; return how many had expired."""
        return sum(await gather([shard.remover.purge_expired() for shard in self.all]))

    async def clear(self) -> int:
        """Remove every entry; return how many were live."""
        if len(self.all) == 1:
            return await self.all[0].remover.clear()
        await self._config_scripts.verify_config(self._config.fingerprint)
        removed = sum(await gather([shard.remover.clear() for shard in self.all]))
        await self._config_scripts.forget_config()
        return removed

    async def stats(self, fields: list[str]) -> list[int]:
        """Return the numbers of live and expired entries of all shards, then these statistics."""
        counts = await gather([shard.inspector.stats(fields) for shard in self.all])
        return [sum(column) for column in zip(*counts, strict=True)]

    async def flush(self) -> None:
        """Deliver the accesses made so far by all caches of this process and namespace."""
        await gather([shard.accesses.flush() for shard in self.all])
