"""The leases of one worker on the outboxes of its edge: taken, renewed, confirmed, and given back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import zip_longest
from operator import methodcaller
from typing import Final

from edge_redis._core.operation import Batch, Operation, Renewal, T, command
from edge_redis._sync import scripts
from edge_redis._sync.config import WorkerConfig
from edge_redis._sync.echoes import Echoes
from edge_redis._sync.edge_shards import Edge
from edge_redis._sync.failures import perform_each
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.replies import OutboxLease
from edge_redis._sync.transfer import TransferSize
from edge_redis._sync.wire import LeasedEntry
from edge_redis.errors import EdgeRedisError

_log = logging.getLogger("edge_redis")

LEASE_BYTES: Final = 8 * 1024 * 1024
"""Bytes of all leases of a page of scopes together; each lease may have one entry whatever its size."""

CALL_BYTES: Final = 1024 * 1024
"""The same, where one call takes them to the cloud while the next ones are leased."""

MAX_SCOPE_BYTES: Final = 1024 * 1024
"""Bytes of one lease; it may have one entry whatever its size."""

_LEAST_SCOPE_BYTES: Final = 1024
"""Bytes that a scope may have in any case. Where little is transferred at once, fewer scopes are leased instead: each
lease costs the edge about as much as ten small changes."""

MIN_RENEWED_MS: Final = 500
"""Shorter claim times are not renewed: a renewal would come too late."""

_URGENT_MS: Final = 10**13
"""By so much the score of an urgent scope in ``work`` is less, as in ``lua/include/outbox.lua``."""

_FIRST_SCOPES: Final = 8
_MOST_SCOPES: Final = 1000

_TO_NAME: Final = methodcaller("decode", "utf-8", "replace")


class OutboxLeases:
    """Leases entries of outboxes to one worker, and ends the leases."""

    def __init__(self, edge: Edge, config: WorkerConfig, transfer: TransferSize, echoes: Echoes) -> None:
        self._edge = edge
        self._config = config
        self._transfer = transfer
        self._echoes = echoes
        self._scopes_at_once = _FIRST_SCOPES
        self.taken_bytes = 0
        """Bytes of the changes of the leases that were taken last."""
        self.unhandled: dict[str, OutboxLease] = {}
        """The leases that are not handled yet, by their scopes: these are renewed."""
        seconds = config.claim_idle_ms / 3000
        self.renewal = Renewal(seconds, self._renew) if config.claim_idle_ms >= MIN_RENEWED_MS else None
        """The renewal to be performed while a cloud applies changes, which may take longer than the claim time."""

    def _renew(self) -> Batch[int]:
        config = self._config
        return Batch(
            [
                scripts.renew_lease(self._edge.of(scope), scope, config.group, config.consumer, config.batch_size)
                for scope in self.unhandled.copy()
            ],
            return_exceptions=True,
        )

    def read_waiting(self, passed: Mapping[str, int], count: int) -> Awaitable[list[str]]:
        """Read the names of scopes with changes in their outbox, the one that waits longest first.

        Of each shard as many are passed over as ``passed`` has for its keys' tag. Shards take turns in the names.
        """
        only = self._edge.only
        if only is not None:
            start = passed.get(only.keys.tag, 0)
            return command(decode_names, "ZRANGE", only.keys.work, start, start + count - 1)
        return self._read_waiting_in_turn(passed, count)

    async def _read_waiting_in_turn(self, passed: Mapping[str, int], count: int) -> list[str]:
        shards = [each.replica.keys for each in self._edge.present]
        size = -(-count // len(shards))
        starts = [passed.get(keys.tag, 0) for keys in shards]
        found = await Batch(
            [
                command(decode_names, "ZRANGE", keys.work, start, start + size - 1)
                for keys, start in zip(shards, starts, strict=True)
            ]
        )
        return take_turns(self._select_own(found))

    def pass_over(self, passed: dict[str, int], scopes: Sequence[str]) -> None:
        """Count these scopes in ``passed``."""
        for scope in scopes:
            tag = self._edge.of(scope).keys.tag
            passed[tag] = passed.get(tag, 0) + 1

    async def read_urgent(self, count: int) -> list[str]:
        """Read the names of urgent scopes with changes in their outbox, the one that waits longest first."""
        found = await self._read_each(
            lambda keys: command(decode_names, "ZRANGEBYSCORE", keys.work, "-inf", "(0", "LIMIT", 0, count)
        )
        return take_turns(self._select_own(found))[:count]

    def _select_own(self, found: Sequence[list[str]]) -> Sequence[list[str]]:
        """Return for each present shard the scopes that are in it: it may have copies of others, which are moved."""
        edge = self._edge
        if not edge.shards or edge.shards.record.target is None:
            return found
        return [
            [scope for scope in scopes if edge.shard_of(scope) is shard]
            for shard, scopes in zip(edge.present, found, strict=True)
        ]

    async def count_waiting(self) -> int:
        """Read how many scopes have changes in their outbox."""
        return sum(await self._read_each(lambda keys: command(int, "ZCARD", keys.work)))

    async def _read_each(self, read: Callable[[SyncKeys], Operation[T]]) -> list[T]:
        """Perform an operation on each shard."""
        operations = [read(each.replica.keys) for each in self._edge.present]
        return [(await operations[0])] if len(operations) == 1 else await Batch(operations)

    async def take(self, scopes: Sequence[str]) -> tuple[dict[str, OutboxLease], int]:
        """Lease a batch of each scope until the leases have enough bytes.

        Return the leases that have entries, and how many scopes were asked for them. The size of an entry is not known
        before it is read: where the last ones were large, few scopes are asked at once.
        """
        leases: dict[str, OutboxLease] = {}
        most = min(LEASE_BYTES, self._transfer.size)
        most_of_scope = max(_LEAST_SCOPE_BYTES, most // max(1, len(scopes)))
        tried = total = 0
        while tried < len(scopes) and total < most:
            part = scopes[tried : tried + self._scopes_at_once]
            found = await perform_each([self._take(scope, most_of_scope) for scope in part])
            size = 0
            for scope, lease in zip(part, found, strict=True):
                if lease and lease.entries:
                    leases[scope] = lease
                    for entry in lease.entries:
                        size += len(entry.head) + len(entry.body)
            self._scopes_at_once = _adapt(self._scopes_at_once, size, most)
            tried, total = tried + len(part), total + size
        self.taken_bytes = total
        return leases, tried

    def _take(self, scope: str, max_bytes: int) -> Operation[OutboxLease]:
        config, most = self._config, min(MAX_SCOPE_BYTES, max_bytes)
        replica = self._edge.only or self._edge.of(scope)
        return scripts.lease_entries(
            replica, scope, config.group, config.consumer, config.batch_size, config.claim_idle_ms, most
        )

    async def confirm(self, delivered: Mapping[str, Sequence[LeasedEntry]]) -> int:
        """Confirm entries of several scopes in one batch; return how many were confirmed."""
        removed = await perform_each([self._confirm(scope, entries) for scope, entries in delivered.items()])
        confirmed = {
            scope: entries
            for (scope, entries), count in zip(delivered.items(), removed, strict=True)
            if count is not None
        }
        self._echoes.add(confirmed)
        return sum(map(len, confirmed.values()))

    def _confirm(self, scope: str, entries: Sequence[LeasedEntry]) -> Operation[int]:
        replica = self._edge.only or self._edge.of(scope)
        return scripts.confirm(replica, scope, entries[-1].version, group=self._config.group, entries=entries)

    async def dead_letter(self, scope: str, entry: LeasedEntry, deliveries: int, text: str) -> None:
        """Move a change to the dead letters. Later ones go on: each is a full state and does not need it."""
        _log.error(
            "change %r of %r goes to the dead letters after %d deliveries: %s", entry.id, scope, deliveries, text
        )
        await scripts.dead_letter(self._edge.of(scope), scope, self._config.group, entry.id, deliveries, text)

    async def set_deliveries(
        self, scope: str, entries: Sequence[LeasedEntry], *, change: int = 0, idle_ms: int = 0
    ) -> int:
        """Set the delivery counts of entries to what they were when leased, plus ``change``.

        Return how many entries are still this worker's.
        """
        counts = [(entry.id, entry.deliveries + change) for entry in entries]
        config = self._config
        edge = self._edge.of(scope)
        return await scripts.set_deliveries(edge, scope, config.group, config.consumer, idle_ms, counts)

    async def give_back(self, scope: str, lease: OutboxLease) -> None:
        """Give a lease to any worker at once. The next worker adds one to the counts, so this lowers them by one."""
        try:
            await self.set_deliveries(scope, lease.entries, change=-1, idle_ms=self._config.claim_idle_ms)
        except EdgeRedisError as error:  # the edge is unavailable too: the lease ends after the claim time
            _log.warning("changes of %r stay claimed for %d ms: %s", scope, self._config.claim_idle_ms, error)


def take_turns(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return the first of each list, then the second of each, and so on."""
    return [name for names in zip_longest(*lists) for name in names if name is not None]


def waiting_since(score: float) -> float:
    """Return since when a scope waits, in ms, by its score in ``work``."""
    return score + _URGENT_MS if score < 0 else score


def _adapt(scopes: int, size: int, most: int) -> int:
    """Return of how many scopes to read entries at once, after so many had entries of this size."""
    if size <= most // 2:
        return min(2 * scopes, _MOST_SCOPES)
    return max(1, scopes * most // (2 * size))


def decode_names(found: list[bytes]) -> list[str]:
    """Return names of scopes."""
    # A name that does not decode was not written by this package, and has no outbox.
    return [*map(_TO_NAME, found)]
