"""The cloud's stream of accepted changes, for programs that are not edges. ``lua/include/accepted.lua`` writes it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from edge_redis._core import validation
from edge_redis._core.idempotency import IdempotencyKeys
from edge_redis._core.operation import Argument, command
from edge_redis._core.polling import Polling
from edge_redis._core.script import load
from edge_redis._sync import clock
from edge_redis._sync.change import check_body, visible_data
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.limits import MAX_BYTES
from edge_redis._sync.origin import name_of
from edge_redis._sync.records import STREAM_ID
from edge_redis._sync.replies import from_count
from edge_redis.errors import CorruptDataError, EdgeRedisError, StoreRefusedError
from edge_redis.models import AcceptedChange, from_timestamp

_log = logging.getLogger("edge_redis")

READ_ACCEPTED: Final = load(__package__, "read_accepted")
ACCEPTED_STATUS: Final = load(__package__, "accepted_status")
ACK_ACCEPTED: Final = load(__package__, "ack_accepted")
DROP_ACCEPTED: Final = load(__package__, "drop_accepted")

KEPT_CHANGES: Final = 100_000
KEPT_BODY_BYTES: Final = 65_536
CLAIM_IDLE_SECONDS: Final = 60.0
MAX_CHANGES: Final = 100_000_000
MAX_READ: Final = 1000
_PAGE_BYTES: Final = 4 * 1024 * 1024
_OFF: Final = b"OFF"


class Accepted:
    """The accepted changes of one cloud."""

    def __init__(self, keys: SyncKeys, find_keys: Callable[[], Awaitable[Sequence[SyncKeys]]]) -> None:
        """``keys`` are those of a cloud whose shards were never changed; ``find_keys`` finds the present ones."""
        self._keys = keys
        self._find_keys = find_keys
        self._idempotency = IdempotencyKeys()

    async def keep(self, max_length: int, max_age_seconds: float | None, max_body_bytes: int) -> None:
        """Have every writer of this cloud keep accepted changes from now on, so many and so long."""
        count = validation.check_integer("max_length", max_length, least=1, most=MAX_CHANGES)
        size = validation.check_integer("max_body_bytes", max_body_bytes, least=0, most=MAX_BYTES)
        age_ms = 0
        if max_age_seconds is not None:
            age_ms = validation.to_milliseconds(validation.check_positive("max_age_seconds", max_age_seconds))
        tags = [keys.tag for keys in await self._find_keys()]
        if len(tags) > 1:
            raise StoreRefusedError("a cloud with several shards keeps no accepted changes, which have one order")
        if tags != [self._keys.tag]:
            raise StoreRefusedError("a cloud whose number of shards was changed keeps no accepted changes")
        await command(lambda _: None, "SET", self._keys.accepted_keep, f"{count} {age_ms} {size}")

    async def drop(self) -> bool:
        """Keep accepted changes no more, and remove all, with their groups; return whether there was anything."""
        with self._idempotency.acquire() as key:
            return bool(await DROP_ACCEPTED([self._keys.repeats, *self._keys.of_accepted], key, from_count))

    async def read(
        self, group: str, consumer: str, limit: int, claim_idle_seconds: float, *, from_oldest: bool
    ) -> list[AcceptedChange]:
        """Return the next changes of a group for one consumer; damaged ones are logged and acknowledged."""
        validation.check_identifier("group", group)
        args: list[Argument] = [
            group,
            validation.check_identifier("consumer", consumer),
            validation.check_integer("limit", limit, least=1, most=MAX_READ),
            validation.to_milliseconds(validation.check_positive("claim_idle_seconds", claim_idle_seconds)),
            _PAGE_BYTES,
            "0" if from_oldest else "$",
        ]
        lost, *entries = await READ_ACCEPTED([self._keys.accepted], args, _check_kept)
        if lost:
            _log.warning(
                "group %s has lost %d accepted changes: they were removed before they were read or acknowledged",
                group,
                lost,
            )
        changes, damaged = [], []
        for entry_id, words in entries:
            try:
                changes.append(_from_entry(entry_id, dict(zip(words[::2], words[1::2], strict=False))))
            except (EdgeRedisError, KeyError, ValueError, OverflowError) as error:
                _log.error("accepted change %r is left out: it is damaged: %r", entry_id, error)
                damaged.append(entry_id.decode())
        if damaged:
            await self.acknowledge(group, damaged)
        return changes

    async def acknowledge(self, group: str, ids: Sequence[str]) -> int:
        """Mark changes as processed by a group; return how many were not yet."""
        validation.check_identifier("group", group)
        if isinstance(ids, (str, bytes)) or not isinstance(ids, Sequence):
            raise validation.type_error("ids", ids, "a list of ids")
        for each in ids:
            if STREAM_ID.fullmatch(validation.check_identifier("an id", each)) is None:
                raise validation.value_error("an id", each, "must be the id of an accepted change")
        done = 0
        for at in range(0, len(ids), MAX_READ):
            with self._idempotency.acquire() as key:
                names = [self._keys.accepted, self._keys.accepted_repeats]
                done += await ACK_ACCEPTED(names, [group, *key, *ids[at : at + MAX_READ]], from_count)
        return done

    async def status(self) -> dict[str, Any] | None:
        """Return how long changes are kept, how many there are and how far each group is; None where none are kept."""
        return await ACCEPTED_STATUS([self._keys.accepted], [], _describe)


class AcceptedReader:
    """Reads accepted changes again and again; a step acknowledges those of the step before."""

    def __init__(
        self,
        accepted: Accepted,
        group: str,
        consumer: str | None,
        *,
        limit: int,
        claim_idle_seconds: float,
        from_oldest: bool,
        timeout: float | None,
        poll_seconds: float,
    ) -> None:
        self._accepted = accepted
        self._group = group
        self._consumer = f"consumer-{secrets.token_hex(6)}" if consumer is None else consumer
        self._limit = limit
        self._claim_idle_seconds = claim_idle_seconds
        self._from_oldest = from_oldest
        self._polling = Polling(timeout, poll_seconds)
        self._given: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether no change came within the timeout."""
        return self._polling.is_over

    async def step(self) -> list[AcceptedChange]:
        """Acknowledge what the step before has returned, and return the next changes; pause where there are none."""
        if self._given:
            await self._accepted.acknowledge(self._group, self._given)
            self._given = []
        changes = await self._accepted.read(
            self._group, self._consumer, self._limit, self._claim_idle_seconds, from_oldest=self._from_oldest
        )
        self._given = [each.id for each in changes]
        if changes:
            self._polling.reset()
        else:
            await self._polling.pause()
        return changes


def _check_kept(reply: Any) -> Any:
    if reply == _OFF:
        raise StoreRefusedError(
            "the cloud keeps no accepted changes: call keep_accepted(), or run `edge-redis cloud keep-changes`"
        )
    return reply


def _from_entry(entry_id: bytes, found: dict[bytes, bytes]) -> AcceptedChange:
    checksum, body = found[b"checksum"].decode(), found.get(b"data")
    data = None
    if body is not None:
        data = visible_data(check_body(body, checksum, "the state"))
    elif b"size" not in found:
        raise CorruptDataError("it has neither data nor size")
    return AcceptedChange(
        entry_id.decode(),
        int(found[b"number"]),
        found[b"scope"].decode(),
        int(found[b"version"]),
        data,
        is_deleted=body is not None and data is None,
        is_complete=body is not None,
        origin=name_of(found[b"origin"].decode()),
        checksum=checksum,
        updated_at=clock.to_datetime(found[b"clock"]),
        accepted_at=_time_of(entry_id),
    )


def _time_of(entry_id: bytes) -> Any:
    return from_timestamp(int(entry_id.partition(b"-")[0]) / 1000)


def _describe(reply: Any) -> dict[str, Any] | None:
    if reply == _OFF:
        return None
    keep, length, newest, oldest, *groups = reply
    try:
        most, age_ms, body_bytes = map(int, keep.split()) if keep else (0, 0, 0)
    except ValueError as error:
        raise CorruptDataError(f"the cloud's setting of accepted changes is damaged: {keep!r}") from error
    return {
        "is_kept": bool(keep),
        "max_length": most,
        "max_age_seconds": age_ms / 1000 if age_ms else None,
        "max_body_bytes": body_bytes,
        "length": length,
        "accepted_total": int(newest),
        "oldest_at": _time_of(oldest) if oldest else None,
        "groups": [
            {
                "group": name.decode(errors="replace"),
                "consumers": consumers,
                "pending": pending,
                "lag": int(lag),
                "lost": int(lost),
            }
            for name, consumers, pending, lag, lost in groups
        ],
    }
