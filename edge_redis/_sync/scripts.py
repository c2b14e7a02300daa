"""The Lua scripts, one function each. The headers of ``lua/*.lua`` document them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_redis._core.error_text import encodable
from edge_redis._core.operation import Argument, Operation
from edge_redis._core.script import load
from edge_redis._sync import feed_cursor, feed_wire, replies, wire
from edge_redis._sync.change import Change, Outcome
from edge_redis._sync.feed_wire import FeedPage, FeedState
from edge_redis._sync.replies import CurrentState, OtherState, OutboxLease, PendingPage, Written
from edge_redis._sync.wire import LeasedEntry
from edge_redis.errors import CorruptDataError, EdgeRedisError
from edge_redis.models import SyncEvent

if TYPE_CHECKING:
    from edge_redis._sync.keys import SyncKeys
    from edge_redis._sync.replica import Replica
    from edge_redis.types import ScopeSummary

ANY: Final = "*"
"""``expected`` of an update: whatever the present state is."""

CallKey = tuple[str, int]
"""An idempotency key: client id and call number."""

NO_KEY: Final[CallKey] = ("", 0)

ALL_BODIES: Final = "all"
"""``has`` of a reader that has nothing of which a body could be made."""

NOTHING_GIVEN: Final[Mapping[str, Change]] = MappingProxyType({})
"""The states that a reader was given by hints, where there are none."""

_NO_STORE: Final = "?"
"""The store of a cursor that is no position of any: neither this store, nor the beginning."""

FEED_BYTES: Final = 4 * 1024 * 1024
"""A page of the feed has about as many bytes at most, but one state at least."""

_CLOCK: Final = attrgetter("clock")
_ENTRY_ID: Final = attrgetter("id")

UPDATE: Final = load(__package__, "update")
UPDATE_CLOUD: Final = load(__package__, "update_cloud")
APPLY: Final = load(__package__, "apply")
COMMIT_MERGE: Final = load(__package__, "commit_merge")
CONFIRM: Final = load(__package__, "confirm")
ADD_TOTALS: Final = load(__package__, "add_totals")
LEASE_ENTRIES: Final = load(__package__, "lease_entries")
READ_PENDING: Final = load(__package__, "read_pending")
RENEW_LEASE: Final = load(__package__, "renew_lease")
SET_DELIVERIES: Final = load(__package__, "set_deliveries")
DEAD_LETTER: Final = load(__package__, "dead_letter")
READ_FEED: Final = load(__package__, "read_feed")
READ_STATES: Final = load(__package__, "read_states")
READ_CURSOR: Final = load(__package__, "read_cursor")
REGISTER_PATTERNS: Final = load(__package__, "register_patterns")
SORT_OUTBOXES: Final = load(__package__, "sort_outboxes")
SET_REOFFER: Final = load(__package__, "set_reoffer")
DISCARD_LETTERS: Final = load(__package__, "discard_letters")
SAVE_CURSOR: Final = load(__package__, "save_cursor")
COUNTS: Final = load(__package__, "counts")
LIST_SCOPES: Final = load(__package__, "list_scopes")
RECORD_EVENT: Final = load(__package__, "record_event")
PURGE_TOMBSTONE: Final = load(__package__, "purge_tombstone")
NEW_IDENTITY: Final = load(__package__, "new_identity")
SET_SETTINGS: Final = load(__package__, "set_settings")
RELEASE_AUTHORITY: Final = load(__package__, "release_authority")


def update(
    replica: Replica,
    scope: str,
    body: bytes,
    checksum: str,
    *,
    expected: str,
    is_delta: bool,
    key: CallKey,
    clock: str = "",
    signature: str = "",
    conflict_id: str = "",
    if_version: str = wire.NONE,
    splice: bytes = b"",
) -> Operation[Written | CurrentState]:
    """Write a scope's next version, where ``expected`` is the stamp of the present state or ANY.

    ``if_version`` is the version that the scope must be at, "0" where it must have no state, or NONE. ``splice`` makes
    the body of that of a state, whose stamp stands before it.

    A signature names the version and the clock that it was made for: the update takes no other. The conflict that the
    version resolves is removed with it.
    """
    keys, config = [f"{replica.keys.tag}:doc:{scope}"], replica.config
    if config.role == "cloud":
        given = f"{clock or wire.NONE} {signature or wire.NONE} {conflict_id or wire.NONE} {if_version}"
        call = f"{key[0]} {key[1]} {expected or wire.NONE} {checksum} {given}"
        return UPDATE_CLOUD(keys, [config.writer, call, body, splice], replies.from_update)
    conditions = make_conditions(expected, clock, signature, conflict_id, if_version)
    call = f"{key[0]} {key[1]} {is_delta:d} {config.proposed_replica_id}"
    args: list[Argument] = [config.settings, call, conditions, checksum, body, splice]
    return UPDATE(keys, args, replies.from_update)


def make_conditions(
    expected: str, clock: str = "", signature: str = "", conflict_id: str = "", if_version: str = wire.NONE
) -> str:
    """Return the conditions of a scope's write as ``lua/update.lua`` reads them."""
    if expected == ANY and not (clock or signature or conflict_id) and if_version == wire.NONE:
        return ANY
    given = f"{clock or wire.NONE} {signature or wire.NONE} {conflict_id or wire.NONE} {if_version}"
    return f"{expected or wire.NONE} {given}"


class ScopeWrite(NamedTuple):
    """The next version of one of several scopes: whatever its present state is, or by conditions."""

    scope: str
    body: bytes
    checksum: str
    conditions: str = ANY
    splice: bytes = b""


def update_many(
    replica: Replica, writes: Sequence[ScopeWrite], key: CallKey, *, is_delta: bool = False
) -> Operation[list[Written | EdgeRedisError | None]]:
    """Write the next version of several scopes of an edge; return for each the version, or why it was refused.

    None: nothing was written, and a call of its own will write it, or say why not.
    """
    config = replica.config
    args: list[Argument] = [config.settings, f"{key[0]} {key[1]} {is_delta:d} {config.proposed_replica_id}"]
    for write in writes:
        args += (write.conditions, write.checksum, write.body, write.splice)
    docs, count = replica.keys.docs, len(writes)
    return UPDATE([f"{docs}:{each.scope}" for each in writes], args, lambda reply: replies.from_updates(reply, count))


def apply(
    replica: Replica, scope: str, changes: Sequence[Change], settings: str, key: CallKey = NO_KEY
) -> Operation[list[Outcome]]:
    """Apply states of the other end; no outcome of any where the scope's fields are to be merged instead.

    ``settings`` are those of a synchronizer, or ``?`` and a strategy: those of the scope here, by default of that
    strategy.
    """
    call = f"{replica.config.exchange} {key[0] or wire.NONE} {key[1]} {settings}"
    words = [*map(wire.format_change, changes)]
    return APPLY([f"{replica.keys.tag}:doc:{scope}"], [call, *words], replies.from_apply)


def apply_encoded(
    replica: Replica, scope: str, changes: Sequence[bytes], settings: str
) -> Operation[list[Outcome] | OtherState]:
    """Apply states of the other end, some of them as splices, as ``apply`` does, unless another base is there."""
    call = f"{replica.config.exchange} {wire.NONE} 0 {settings}"
    return APPLY([f"{replica.keys.tag}:doc:{scope}"], [call, *changes], replies.from_encoded_apply)


def commit_merge(
    replica: Replica,
    scope: str,
    present: Change | None,
    merged: bytes,
    changes: Sequence[Change],
    outcomes: Sequence[Outcome],
    settings: str,
    key: CallKey = NO_KEY,
) -> Operation[list[Outcome] | OtherState]:
    """Replace the present state by its merge with ``changes``, encoded, unless another state is there by now."""
    earliest = min(each.clock for each in changes)
    call = f"{replica.config.exchange} {key[0] or wire.NONE} {key[1]} {earliest} {settings}"
    expected = wire.NONE
    if present is not None:
        expected = f"{present.stamp} {present.deleted.partition(' ')[0]} {present.origin}"
    tried = " ".join(f"{outcome}:{each.version}" for outcome, each in zip(outcomes, changes, strict=True))
    return COMMIT_MERGE(
        [f"{replica.keys.tag}:doc:{scope}"], [call, expected, tried, merged], replies.from_encoded_apply
    )


def confirm(
    replica: Replica,
    scope: str,
    up_to: int,
    *,
    key: CallKey = NO_KEY,
    group: str = "",
    entries: Sequence[LeasedEntry] = (),
) -> Operation[int]:
    """Remove the changes that the other end has from the outbox; ``entries`` are the leased ones, up to ``up_to``."""
    keys = replica.keys
    doc, pending, history, _ = keys.of_scope(scope)
    names = [doc, pending, history, keys.work, keys.repeats, keys.totals]
    clocks = b" ".join(map(_CLOCK, reversed(entries)))
    args: list[Argument] = [scope, up_to, replica.config.max_history, *key, group, clocks, *map(_ENTRY_ID, entries)]
    return CONFIRM(names, args, replies.from_confirm)


def add_totals(replica: Replica, amounts: Mapping[str, int], key: CallKey) -> Operation[None]:
    """Add to the counters of what was carried."""
    flat = [word for pair in amounts.items() for word in pair]
    return ADD_TOTALS([replica.keys.totals, replica.keys.repeats], [*key, *flat], replies.from_ok)


def lease_entries(
    replica: Replica, scope: str, group: str, consumer: str, count: int, claim_idle_ms: int, max_bytes: int
) -> Operation[OutboxLease]:
    """Lease the oldest entries of an outbox to one worker."""
    keys = replica.keys
    names = [keys.pending(scope), keys.work, keys.scopes]
    return LEASE_ENTRIES(names, [scope, group, consumer, count, claim_idle_ms, max_bytes], replies.from_lease)


def read_pending(replica: Replica, scope: str, last: LeasedEntry | None, count: int) -> Operation[PendingPage]:
    """Read the entries of an outbox after ``last``, with their bodies."""
    after, body = (-1, b"") if last is None else (last.version, last.body)
    known = wire.NONE if last is None else last.checksum
    return READ_PENDING(
        [replica.keys.pending(scope)], [after, known, count], lambda reply: replies.from_pending_page(reply, body)
    )


def renew_lease(replica: Replica, scope: str, group: str, consumer: str, count: int) -> Operation[int]:
    """Renew a worker's lease on a scope; return how many entries it holds."""
    return RENEW_LEASE([replica.keys.pending(scope)], [group, consumer, count], int)


def set_deliveries(
    replica: Replica, scope: str, group: str, consumer: str, idle_ms: int, entries: Sequence[tuple[bytes, int]]
) -> Operation[int]:
    """Set how often entries have been tried; return how many are still this worker's."""
    flat = [word for entry in entries for word in entry]
    return SET_DELIVERIES([replica.keys.pending(scope)], [group, consumer, idle_ms, *flat], int)


def dead_letter(
    replica: Replica, scope: str, group: str, entry_id: bytes, deliveries: int, error: str
) -> Operation[int]:
    """Move an entry to the dead letters."""
    keys = replica.keys
    names = [keys.pending(scope), keys.history(scope), keys.work, keys.dead_letters]
    return DEAD_LETTER(names, [scope, group, entry_id, deliveries, error, replica.config.max_history], int)


def read_feed(
    replica: Replica,
    cursor: str,
    limit: int,
    has: str,
    patterns: Sequence[str] = (),
    given: Mapping[str, Change] = NOTHING_GIVEN,
) -> Operation[FeedPage]:
    """Read the scopes that changed after ``cursor``, of those that match the patterns, where there are any.

    The cursor may have positions in the feeds of other shards as well, whose scopes were moved to this one.
    ``has`` is ALL_BODIES, or the ids of the stores whose states the caller has sent itself, with commas, NONE for none.
    The states that the caller was ``given`` by hints are left out.
    """
    replica_id, _, number = cursor.rpartition(":")
    is_position = number.isascii() and number.isdigit() and len(number) < 17 and replica_id.split() == [replica_id]  # noqa: PLR2004 -- digits of a version
    if not is_position and not feed_cursor.has_several(replica_id, number):
        replica_id, number = (_NO_STORE, "0") if cursor else (wire.NONE, "0")
    call = f"{replica_id} {number} {limit} {FEED_BYTES} {secrets.token_hex(8)} {has} {len(given)}"
    words = [feed_wire.format_given(scope, state) for scope, state in given.items()] if given else ()
    return READ_FEED([replica.keys.feed], [call, *words, *patterns], feed_wire.from_feed)


def read_states(
    replica: Replica, held: Sequence[tuple[str, str]]
) -> Operation[tuple[list[FeedState | CorruptDataError | None], int]]:
    """Read the states of the first of these scopes, each given with the checksum of the state that the caller holds."""
    words = [f"{checksum[: feed_wire.BASE_CHARS]} {scope}" for scope, checksum in held]
    return READ_STATES([replica.keys.feed], [FEED_BYTES, *words], feed_wire.from_states)


def read_cursor(replica: Replica, push: str) -> Operation[tuple[str, bytes, bytes, bool]]:
    """Read this edge's replica id, its cursor in the cloud's feed, and the position of an offer under way.

    The last value says whether the worker that pushes scopes of the patterns ``push`` is to register them.
    """
    keys = replica.keys
    return READ_CURSOR(
        [keys.replica_id, keys.cursor, keys.reoffer, keys.server, keys.patterns],
        [replica.config.proposed_replica_id, push],
        replies.from_cursor,
    )


def register_patterns(replica: Replica, push: str, state: str, urgent: Sequence[str]) -> Operation[bool]:
    """Register what a worker carries; return whether the outboxes are to be sorted. ``state``: as in the script."""
    return REGISTER_PATTERNS([replica.keys.patterns], [push, state, *urgent], bool)


def sort_outboxes(replica: Replica, cursor: int, count: int) -> Operation[tuple[int, bool]]:
    """Sort about ``count`` outboxes by the patterns that are registered.

    Return the next cursor, 0 after the last, and whether the same call is needed once more.
    """
    return SORT_OUTBOXES([replica.keys.pending_bytes], [cursor, count], replies.from_sort)


def save_cursor(replica: Replica, replica_id: str, previous: bytes, cursor: str, sources: int) -> Operation[int]:
    """Save the cursor in the cloud's feed, where this is still that edge at the previous cursor.

    The caller knows of so many shards whose scopes were moved to this one.
    """
    keys = replica.keys
    return SAVE_CURSOR([keys.replica_id, keys.cursor], [replica_id, previous, cursor, sources, keys.digest], int)


def set_reoffer(replica: Replica, position: str) -> Operation[int]:
    """Store how far the scopes were offered again to a cloud that lost data, "" where all were."""
    return SET_REOFFER([replica.keys.reoffer], [position], int)


def discard_letters(keys: SyncKeys, ids: Sequence[str | bytes]) -> Operation[int]:
    """Remove dead letters; return how many there were."""
    return DISCARD_LETTERS([keys.dead_letters], ids, int)


def counts(replica: Replica, scope: str) -> Operation[tuple[int, int, int, int]]:
    """Read version, peer version, pending changes and events of a scope."""
    doc, pending, history, _ = replica.keys.of_scope(scope)
    return COUNTS([doc, pending, history], [], replies.from_counts)


def list_scopes(keys: SyncKeys, cursor: int, count: int) -> Operation[tuple[int, list[ScopeSummary]]]:
    """List some of the scopes of a shard; the result begins with the cursor to go on from, 0 at the end."""
    names = [keys.scopes, keys.doc(""), keys.pending(""), keys.conflicts("")]
    return LIST_SCOPES(names, [cursor, count], replies.from_scopes)


def record_event(replica: Replica, scope: str, event: SyncEvent, key: CallKey) -> Operation[None]:
    """Append an event to the history; its time is the server's."""
    names = [replica.keys.history(scope), replica.keys.repeats]
    args: list[Argument] = [event.direction, event.version, int(event.success), encodable(event.error)]
    return RECORD_EVENT(names, [*args, replica.config.max_history, *key], replies.from_ok)


def purge_tombstone(replica: Replica, scope: str, stamp: str) -> Operation[int]:
    """Remove a scope whose delete has this stamp; return 1, or 0 where it is not there, or has pending changes."""
    keys = replica.keys
    names = [*keys.of_scope(scope), keys.scopes, keys.feed, keys.gc_watermark, keys.purged]
    return PURGE_TOMBSTONE(names, [scope, stamp], replies.from_integer)


def set_settings(replica: Replica, scope: str) -> Operation[None]:
    """Set the settings of a scope at an edge, whatever they were."""
    return SET_SETTINGS([replica.keys.scopes], [scope, replica.config.settings], replies.from_ok)


def release_authority(replica: Replica, scope: str, key: CallKey) -> Operation[int]:
    """Let the next edge that pushes with LOCAL_WINS be the scope's authority; return 1 where there was one, else 0."""
    names = [replica.keys.doc(scope), replica.keys.repeats]
    return RELEASE_AUTHORITY(names, [scope, *key], replies.from_count)


def new_identity(replica: Replica) -> Operation[str]:
    """Give an edge's store another id; return it."""
    keys = replica.keys
    return NEW_IDENTITY([keys.replica_id, keys.clone], [secrets.token_hex(8)], replies.from_id)
