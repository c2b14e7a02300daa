"""The cloud's side in Redis: a document for each scope, written here or pushed by edges, and the feed of changes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Final, TypeAlias, TypeVar

from edge_redis._core import validation
from edge_redis._core.chunks import split_by_bytes
from edge_redis._core.component import Component
from edge_redis._core.gather import gather_each
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.shards import ShardCount, check_shards
from edge_redis._sync import scripts
from edge_redis._sync.accepted import Accepted
from edge_redis._sync.change import Change, Outcome, check_changes
from edge_redis._sync.cloud_shards import CloudShard, FeedOfShards, keep_position, make_shards
from edge_redis._sync.cloud_store import FeedReader
from edge_redis._sync.config import MAX_KEPT, EndConfig
from edge_redis._sync.failures import MOVED, OUTAGE
from edge_redis._sync.feed import Feed
from edge_redis._sync.hints import Hints, cloud_hints
from edge_redis._sync.keys import LAYOUT_VERSION, SyncKeys
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.limits import MAX_BYTES, MAX_FIELDS, WriteLimits
from edge_redis._sync.link import LinkCounters
from edge_redis._sync.patterns import ALL, check_patterns
from edge_redis._sync.relocation import read_where_it_is, wait_for_new_shard
from edge_redis._sync.replica import Replica
from edge_redis._sync.scripts import NOTHING_GIVEN
from edge_redis._sync.tombstones import TOMBSTONE_SECONDS, purge
from edge_redis._sync.version_guard import check_if_version
from edge_redis._sync.writer import check_field_names
from edge_redis.errors import EdgeRedisError
from edge_redis.models import ConflictStrategy, SyncEvent, SyncState

MAX_PAGE: Final = 1000
_EVERY: Final = (ALL,)
SCOPES_AT_ONCE: Final = 8
_CHANGES_A_CALL: Final = 200
_BYTES_A_CALL: Final = 4 * 1024 * 1024
_BYTES_A_ROUND_TRIP: Final = 1024 * 1024
"""Bytes of the bodies of several scopes that are sent together, or one scope's changes of more."""

T = TypeVar("T")

Batched: TypeAlias = tuple[Sequence[Change], ConflictStrategy]
"""The changes of a scope and the strategy of their edge."""


class Cloud(Component):
    """The methods of RedisCloudStore, as coroutines. ``RedisCloudStore`` documents each of them in full."""

    def __init__(
        self,
        *,
        namespace: str,
        max_history: int,
        max_conflicts: int,
        max_bytes: int = MAX_BYTES,
        max_fields: int = MAX_FIELDS,
        shards: int | None = None,
        new_mutex: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._config = EndConfig.of_cloud(max_history, max_conflicts)
        self._namespace = namespace
        self._known = KnownStates(new_mutex=new_mutex)
        self.link = LinkCounters(new_mutex)
        count = ShardCount(namespace, "cloud", LAYOUT_VERSION, check_shards(shards), 1)
        limits = WriteLimits(max_bytes, max_fields)
        self.shards = make_shards(count, namespace, self._config, limits, self._known, self.link, self._relocate)
        self._feed = FeedOfShards(self.shards)
        self._idempotency = IdempotencyKeys()
        self.accepted = Accepted(SyncKeys(namespace, "cloud"), self._find_keys)

    async def _read(self, scope: str, read: Callable[[CloudShard], Awaitable[T]]) -> T:
        """Return what ``read`` finds in the shard of a scope; where it finds nothing, see whether that was moved."""
        shards = await self.shards.find()
        shard = shards.choose(validation.check_identifier("scope", scope))
        found = await read(shard)
        return found or await read_where_it_is(self.shards, scope, read, found, shard)

    async def _settle(self, scope: str) -> CloudShard:
        """Return the shard of a scope, for a call that writes."""
        shards = await self.shards.settle()
        return shards.choose(validation.check_identifier("scope", scope))

    async def _relocate(self, scope: str, replica: Replica) -> Replica:
        """Return the shard that a scope was moved to, as soon as it is there."""
        return (await wait_for_new_shard(self.shards, scope, replica.keys)).replica

    async def _find_keys(self) -> list[SyncKeys]:
        return [shard.replica.keys for shard in await self.shards.settle()]

    async def get(self, scope: str) -> SyncState | None:
        """Return the present state of a scope, None where there is none."""
        return await self._read(scope, lambda shard: shard.replica.read_state(scope))

    async def update(
        self,
        scope: str,
        data: dict[str, Any],
        is_delta: bool = False,  # noqa: FBT001, FBT002 -- the signature that docs/reference promises
        *,
        if_version: int | None = None,
    ) -> SyncState:
        """Write a scope's next version in the cloud; return it."""
        if type(is_delta) is not bool:
            raise validation.type_error("is_delta", is_delta, "a bool")
        if if_version is not None:
            check_if_version(if_version)
        writer = (await self._settle(scope)).writer
        return await writer.write(scope, data, is_delta=is_delta, if_version=if_version)

    async def delete_fields(self, scope: str, *names: str) -> SyncState:
        """Write a scope's next version without these top-level fields; return it."""
        without = check_field_names(names)
        return await (await self._settle(scope)).writer.write(scope, {}, is_delta=True, without=without)

    async def delete(self, scope: str) -> bool:
        """Delete a scope as its next version; return whether it had a state."""
        present = await self._read(scope, lambda shard: shard.replica.read_document(scope))
        return present is not None and await (await self._settle(scope)).writer.delete(scope, present)

    async def apply(self, scope: str, changes: Sequence[Change], strategy: ConflictStrategy) -> list[Outcome]:
        """Apply an edge's changes by its strategy, in their order; return the outcome of each."""
        validation.check_identifier("scope", scope)
        if type(strategy) is not ConflictStrategy or type(changes) is not list or {*map(type, changes)} != {Change}:
            check_changes(changes, strategy)  # only then: it would be a frame of each call
        for each in changes:
            each.verify()
        shards = self.shards.known or await self.shards.settle()
        shard = shards[0] if len(shards) == 1 else shards.choose(scope)
        shard.downlink.note_sent(changes)
        settings = f"{strategy.value} 0 - {self._config.origin}"
        parts = [changes] if strategy is ConflictStrategy.MERGE else _split_changes(changes)
        outcomes: list[Outcome] = []
        while parts:
            try:
                found = None
                if strategy is not ConflictStrategy.MERGE:
                    found = await shard.uplink.apply(scope, parts[0], settings)
                outcomes += found or await shard.uplink.merge(scope, parts[0])
            except MOVED:
                shard = await wait_for_new_shard(self.shards, scope, shard)
            else:
                del parts[0]
        return outcomes

    async def apply_many(self, batches: Mapping[str, Batched]) -> dict[str, list[Outcome] | EdgeRedisError]:
        """Apply changes of several scopes together; return the outcomes, or the error, of each scope."""
        for scope, batch in validation.check_instance("batches", batches, Mapping).items():
            validation.check_identifier("scope", scope)
            if not isinstance(batch, tuple) or len(batch) != 2:  # noqa: PLR2004 -- changes and strategy
                raise validation.type_error("a batch", batch, "a tuple of changes and strategy")
            check_changes(*batch)
        if not self.shards.known:
            await self.shards.settle()
        sizes = [sum(len(each.body) for each in changes) for changes, _ in batches.values()]
        results: dict[str, list[Outcome] | EdgeRedisError] = {}
        for part in split_by_bytes([*batches.items()], sizes, _BYTES_A_ROUND_TRIP):
            found = await gather_each([self.apply(scope, *batch) for scope, batch in part], self.link.add_batch)
            results |= zip([scope for scope, _ in part], found, strict=True)
            if all(isinstance(each, OUTAGE) for each in found):
                return dict.fromkeys(batches, found[0]) | results  # the others would wait for it as long
        return results

    def after_fork(self) -> None:
        """Forget, in a forked child, what was known of the cloud."""
        self._known.after_fork()
        self.link.after_fork()

    async def changes_since(
        self,
        cursor: str = "",
        limit: int = 100,
        patterns: Sequence[str] = _EVERY,
        given: Mapping[str, Change] = NOTHING_GIVEN,
    ) -> Feed:
        """Return up to ``limit`` scopes changed after ``cursor`` and the cursor after them; "" is the beginning."""
        text = validation.check_text("cursor", cursor)
        most = validation.check_integer("limit", limit, least=1, most=MAX_PAGE)
        wanted = () if patterns == _EVERY else check_patterns("patterns", patterns)
        wanted = () if wanted == _EVERY else wanted
        if given is not NOTHING_GIVEN:
            for scope, state in validation.check_instance("given", given, Mapping).items():
                validation.check_identifier("scope", scope)
                validation.check_instance("a given state", state, Change)
        shards = self.shards.known or await self.shards.find()
        if len(shards) == 1 and "," not in text:
            with suppress(*MOVED):
                page = await shards[0].downlink.read(text, most, wanted, given)
                return keep_position(text, page) if text and page.has_more else page
        return await self._feed.read(text, most, wanted, given)

    def hints(self, reader: FeedReader) -> Hints:
        """Return the hints of changes for one worker."""
        return cloud_hints(SyncKeys(self._namespace, "cloud"), reader, self._read_hint)

    def _read_hint(self, position: str, text: bytes) -> Feed | None:
        """Return the page of the one state that a hint carries; None where there are several feeds."""
        shards = self.shards.known
        return shards[0].downlink.read_hint(position, text) if len(shards) == 1 else None

    async def release_authority(self, scope: str) -> bool:
        """Let another edge become the scope's LOCAL_WINS; return whether there was one."""
        shard = (await self.shards.find()).choose(validation.check_identifier("scope", scope))
        with self._idempotency.acquire() as key:
            while True:
                try:
                    return bool(await scripts.release_authority(shard.replica, scope, key))
                except MOVED:
                    shard = await wait_for_new_shard(self.shards, scope, shard)

    async def purge_tombstones(self, older_than_seconds: float = TOMBSTONE_SECONDS) -> int:
        """Remove scopes that were deleted longer ago than this, with their history; return how many."""
        seconds = validation.check_non_negative("older_than_seconds", older_than_seconds)
        purged, done = 0, set[str]()
        while True:
            waiting = [shard for shard in await self.shards.find() if shard.tag not in done]
            if not waiting:
                return purged
            done.add(waiting[0].tag)
            try:
                purged += await purge(waiting[0].replica, seconds)
            except MOVED:  # the rest of its scopes are, or will be, in other shards
                await self.shards.refresh()

    async def sync_history(self, scope: str, limit: int = 20) -> list[SyncEvent]:
        """Return the newest ``limit`` changes that edges pushed to a scope, oldest first."""
        most = validation.check_integer("limit", limit, least=1, most=MAX_KEPT)
        return await self._read(scope, lambda shard: shard.replica.read_history(scope, most))

    async def conflicts(self, scope: str, limit: int = 20) -> list[dict[str, Any]]:
        """Return the losing sides of a scope's newest ``limit`` conflicts in the cloud, oldest first."""
        most = validation.check_integer("limit", limit, least=1, most=MAX_KEPT)
        return await self._read(scope, lambda shard: shard.replica.read_conflicts(scope, most))


def _split_changes(changes: Sequence[Change]) -> list[list[Change]]:
    """Return the changes in parts that are small enough for one call of a script."""
    parts: list[list[Change]] = []
    size = 0
    for each in changes:
        size += len(each.body)
        if not parts or len(parts[-1]) == _CHANGES_A_CALL or size > _BYTES_A_CALL:
            parts.append([])
            size = len(each.body)
        parts[-1].append(each)
    return parts
