"""What is written in the cloud itself: the rules of ``lua/update.lua``, for stores that decide in Python."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from edge_redis.errors import InvalidArgumentError
from edge_redis.state import change, clock, merge
from edge_redis.state.change import Change
from edge_redis.state.deciding import ALWAYS, MAX_VERSION, Decision, Document, Seen
from edge_redis.state.limits import NONE, Limits
from edge_redis.state.merging import fields_of
from edge_redis.state.settings import CLOUD_ORIGIN


@dataclass(frozen=True, slots=True)
class Floor:
    """Version and clock of the newest delete that was forgotten: a scope that is created begins above them."""

    version: int
    clock: str


GROUND: Final = Floor(0, "")
"""The floor of a store that has forgotten nothing."""


def updated(
    document: Document | None,
    seen: Mapping[str, Seen],
    data: dict[str, Any],
    now: int,
    *,
    is_delta: bool = False,
    without: Sequence[str] = (),
    limits: Limits = NONE,
    floor: Floor = GROUND,
) -> Decision:
    """Write a scope's next version in the cloud; ``now`` is the store's time in microseconds since 1970.

    A delta is merged into the top level of the present data; of these the fields named by ``without`` are left out.

    Raises:
        InvalidArgumentError: there is no later version.
        ValueTooLargeError, TooManyFieldsError: the data, or what the delta makes, are over the limits.
        ChecksumMismatchError, CorruptDataError: the state that a delta is made of is damaged.

    """
    given = change.encoded(data, limits)
    present = None if document is None else document.state
    moment = _after(document, now, floor)
    # What takes fields away is no larger than what is there, and is how one comes back within the limits.
    after = NONE if without else limits
    if present is not None and merge.is_merged(present.body):
        fields = merge.changed(_fields(present), data, (moment, CLOUD_ORIGIN), is_delta=is_delta, without=without)
        after.counted([name for name, each in fields.fields.items() if each.value is not None])
        return _written(document, seen, after.sized(merge.pack(fields)), moment, floor)
    if is_delta:
        data = {key: value for key, value in {**_data(present), **data}.items() if key not in without}
        given = after.encoded(data)
    return _written(document, seen, given, moment, floor)


def _data(present: Change | None) -> dict[str, Any]:
    """Return the data that a delta is merged into: whole, or they would go on under a checksum of their own."""
    if present is None:
        return {}
    return change.shown(change.whole(present.body, present.checksum, "the present state")) or {}


def _fields(present: Change) -> merge.Fields:
    change.whole(present.body, present.checksum, "the present state")
    return fields_of(present)


def deleted(document: Document | None, seen: Mapping[str, Seen], now: int) -> Decision | None:
    """Delete a scope, as its next version; None where there is nothing to delete."""
    if document is None or change.shown(document.state.body) is None:
        return None
    if merge.is_merged(document.state.body):
        moment = clock.after(0, now, document.state.clock)
        return _written(document, seen, merge.pack(merge.Fields(deleted=(moment, CLOUD_ORIGIN))), moment, GROUND)
    return _written(document, seen, change.TOMBSTONE, _after(document, now, GROUND), GROUND)


def _after(document: Document | None, now: int, floor: Floor) -> str:
    return clock.after(0, now, floor.clock if document is None else document.tick)


def _written(document: Document | None, seen: Mapping[str, Seen], body: bytes, moment: str, floor: Floor) -> Decision:
    version, base = floor.version + 1, ""
    if document is not None:
        before = document.state
        if before.version >= MAX_VERSION:
            raise InvalidArgumentError("the scope is at the last version there is")
        version, base = before.version + 1, before.base if before.origin == CLOUD_ORIGIN else before.stamp
    checksum = hashlib.sha256(body).hexdigest()
    state = Change(version, moment, CLOUD_ORIGIN, checksum, base, body)
    life = seen[CLOUD_ORIGIN].life if CLOUD_ORIGIN in seen else ALWAYS
    if document is None:
        after = Document(state, moment)
    else:
        after = replace(document, state=state, tick=max(moment, document.tick))
    return Decision(after, seen={CLOUD_ORIGIN: Seen.of(state, life)})
