"""What is written in the cloud itself: the rules of ``lua/update.lua``, for stores that decide in Python."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge_redis.errors import InvalidArgumentError
from edge_redis.state import change, clock, merge
from edge_redis.state.change import Change
from edge_redis.state.deciding import ALWAYS, MAX_VERSION, Decision, Document, Seen
from edge_redis.state.merging import fields_of
from edge_redis.state.settings import CLOUD_ORIGIN


def updated(
    document: Document | None,
    seen: Mapping[str, Seen],
    data: dict[str, Any],
    now: int,
    *,
    is_delta: bool = False,
    without: Sequence[str] = (),
) -> Decision:
    """Write a scope's next version in the cloud; ``now`` is the store's time in microseconds since 1970.

    A delta is merged into the top level of the present data; of these the fields named by ``without`` are left out.

    Raises:
        InvalidArgumentError: there is no later version, or the data are too large.

    """
    present = None if document is None else document.state
    if present is not None and merge.is_merged(present.body):
        moment = clock.after(0, now, present.clock)
        fields = fields_of(present)
        fields = merge.changed(fields, data, (moment, CLOUD_ORIGIN), is_delta=is_delta, without=without)
        return _written(document, seen, merge.pack(fields), moment)
    if is_delta:
        base = change.shown(present.body) if present is not None else None
        data = {key: value for key, value in {**(base or {}), **data}.items() if key not in without}
    return _written(document, seen, change.encoded(data), _after(document, now))


def deleted(document: Document | None, seen: Mapping[str, Seen], now: int) -> Decision | None:
    """Delete a scope, as its next version; None where there is nothing to delete."""
    if document is None or change.shown(document.state.body) is None:
        return None
    if merge.is_merged(document.state.body):
        moment = clock.after(0, now, document.state.clock)
        return _written(document, seen, merge.pack(merge.Fields(deleted=(moment, CLOUD_ORIGIN))), moment)
    return _written(document, seen, change.TOMBSTONE, _after(document, now))


def _after(document: Document | None, now: int) -> str:
    return clock.after(0, now, "" if document is None else document.tick)


def _written(document: Document | None, seen: Mapping[str, Seen], body: bytes, moment: str) -> Decision:
    version, base = 1, ""
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
