"""Lets a cloud apply leased changes, those of several scopes in one call where its store can."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from edge_redis._core.operation import Invoke, InvokeAll, Overlap, Renewal
from edge_redis._sync.change import Change
from edge_redis._sync.cloud_health import CloudHealth
from edge_redis._sync.cloud_store import AnyCloudStore
from edge_redis._sync.cloud_store_calls import check_results, find_apply_many
from edge_redis._sync.config import strategy_of
from edge_redis._sync.replies import OutboxLease
from edge_redis._sync.signing import Keyring
from edge_redis._sync.wire import LeasedEntry
from edge_redis.errors import EdgeRedisError
from edge_redis.models import ConflictStrategy

T = TypeVar("T")

Outcomes: TypeAlias = dict[str, Exception | None]
"""For each scope the error of its changes, None where they were applied."""


@dataclass(frozen=True, slots=True)
class LeasedBatch:
    """Leases to be applied together; their changes are decoded already where that takes one call."""

    leases: Mapping[str, OutboxLease]
    decoded: dict[str, tuple[Sequence[Change], ConflictStrategy]] = field(default_factory=dict)
    damaged: Outcomes = field(default_factory=dict)


class CloudCalls:
    """The calls of one worker that let its cloud apply changes."""

    def __init__(
        self, cloud: AnyCloudStore, keyring: Keyring | None, health: CloudHealth, renewal: Renewal | None
    ) -> None:
        self._cloud = cloud
        self._keyring = keyring
        self._health = health
        self._renewal = renewal
        self._scopes_at_once: int = getattr(cloud, "scopes_at_once", 1)
        self._apply_many = find_apply_many(cloud)
        self.are_of_many = self._apply_many is not None
        """Whether one call applies the changes of many scopes."""

    def prepare(self, leases: Mapping[str, OutboxLease]) -> LeasedBatch:
        """Return leases as ``apply`` takes them."""
        batch = LeasedBatch(leases)
        if self._apply_many is not None:
            for scope, lease in leases.items():
                try:
                    batch.decoded[scope] = self._decode(scope, lease.entries), strategy_of(lease.settings)
                except EdgeRedisError as error:
                    batch.damaged[scope] = error
        return batch

    async def apply(self, batch: LeasedBatch) -> Outcomes:
        """Let the cloud apply a batch."""
        if self._apply_many is None:
            return await self._apply_each(batch.leases)
        if not batch.decoded:
            return batch.damaged
        found: Mapping[Any, object]
        try:
            if len(batch.decoded) == 1:
                [(scope, (changes, strategy))] = batch.decoded.items()
                found = {scope: await Invoke(self._cloud.apply, scope, changes, strategy, renewal=self._renewal)}
            else:
                found = check_results(await Invoke(self._apply_many, batch.decoded, renewal=self._renewal))
        except Exception as error:  # noqa: BLE001 -- as of a single scope: the tries that follow decide
            found = dict.fromkeys(batch.decoded, error)
        return self._read_results(batch, found)

    async def apply_during(self, batch: LeasedBatch, meanwhile: Callable[[], Awaitable[T]]) -> tuple[Outcomes, T]:
        """Let the cloud apply a batch in one call, and do something else meanwhile; return the result of that too."""
        assert self._apply_many is not None
        call = Invoke(self._apply_many, batch.decoded, renewal=self._renewal)
        found, result = await Overlap(call, meanwhile)
        results: Mapping[Any, object]
        try:
            results = dict.fromkeys(batch.decoded, found) if isinstance(found, Exception) else check_results(found)
        except EdgeRedisError as error:
            results = dict.fromkeys(batch.decoded, error)
        return self._read_results(batch, results), result

    def call_one(self, scope: str, settings: str, entries: Sequence[LeasedEntry]) -> Invoke[object]:
        """Return the call that applies changes of one scope."""
        if self._keyring:  # a keyring may call the user's function: on this thread only, one call at a time
            changes = self._decode(scope, entries)
            return Invoke(self._cloud.apply, scope, changes, strategy_of(settings))
        return Invoke(self._decode_and_apply, scope, settings, entries)

    async def try_one(self, scope: str, settings: str, entry: LeasedEntry) -> None:
        """Let the cloud apply one change; raise its error."""
        call = self.call_one(scope, settings, [entry])
        call.renewal = self._renewal
        await call
        self._health.add_success(scope)

    async def _apply_each(self, leases: Mapping[str, OutboxLease]) -> Outcomes:
        outcomes: Outcomes = {}
        calls: dict[str, Invoke[object]] = {}
        for scope, lease in leases.items():
            try:
                calls[scope] = self.call_one(scope, lease.settings, lease.entries)
            except EdgeRedisError as error:
                outcomes[scope] = error
        results = await _invoke([*calls.values()], self._scopes_at_once, self._renewal)
        for scope, result in zip(calls, results, strict=True):
            outcomes[scope] = self._read_result(scope, result)
        return outcomes

    def _read_results(self, batch: LeasedBatch, results: Mapping[Any, object]) -> Outcomes:
        outcomes = batch.damaged
        for scope in batch.decoded:
            outcomes[scope] = self._read_result(scope, results.get(scope))
        return outcomes

    def _read_result(self, scope: str, result: Any) -> Exception | None:
        if isinstance(result, Exception):
            return result
        self._health.add_success(scope)
        return None

    def _decode_and_apply(self, scope: str, settings: str, entries: Sequence[LeasedEntry]) -> object:
        """Decode entries and let the cloud apply them: on a thread, while the cloud works on other scopes."""
        return self._cloud.apply(scope, self._decode(scope, entries), strategy_of(settings))

    def _decode(self, scope: str, entries: Sequence[LeasedEntry]) -> list[Change]:
        changes = []
        for entry in entries:
            change = entry.change()
            change.verify()
            if self._keyring:
                self._keyring.check_change(scope, change)
            changes.append(change)
        return changes


async def _invoke(calls: Sequence[Invoke[object]], max_concurrency: int, renewal: Renewal | None) -> Sequence[object]:
    """Make calls concurrently; return the result of each, or the error that it raised."""
    if len(calls) != 1:
        return (await InvokeAll(calls, max_concurrency, renewal)) if calls else ()
    calls[0].renewal = renewal
    try:
        return [(await calls[0])]
    except Exception as error:  # noqa: BLE001 -- as InvokeAll does
        return [error]
