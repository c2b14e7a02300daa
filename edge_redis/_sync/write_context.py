"""Writes in the cloud itself: the rules of ``lua/update_cloud.lua``, for stores that decide in Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from edge_redis._sync import clock, fields
from edge_redis._sync.change import TOMBSTONE, Change, check_body, encode_data, visible_data
from edge_redis._sync.decision import NEVER_RESTORED, Decision, ScopeDocument, Seen
from edge_redis._sync.limits import MAX_VERSION, UNLIMITED, WriteLimits
from edge_redis._sync.merge import deleted_before, fields_of
from edge_redis._sync.origin import CLOUD_ORIGIN
from edge_redis._sync.version_guard import NO_STATE, check_version
from edge_redis.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class GcWatermark:
    """Version and clock of the newest delete that was purged: a scope that is created begins above them."""

    version: int
    clock: str


NOTHING_PURGED: Final = GcWatermark(0, "")
"""The watermark of a store that has purged nothing."""


@dataclass(frozen=True, slots=True)
class WriteContext:
    """The input of a write in the cloud."""

    document: ScopeDocument | None
    origin: str
    """The origin of the written state: the cloud's name and incarnation (``origin.py``)."""
    seen: Seen | None
    """The newest state seen of that origin."""
    now: int
    """The store's time in microseconds since 1970."""
    gc_watermark: GcWatermark = NOTHING_PURGED

    @property
    def present(self) -> Change | None:
        """The present state."""
        return None if self.document is None else self.document.state

    @property
    def is_merged(self) -> bool:
        """Whether the present state holds merged fields."""
        return self.present is not None and fields.is_merged(self.present.body)

    @property
    def moment(self) -> str:
        """The clock of a write: after the latest clock seen."""
        return clock.after(
            0, self.now, self.gc_watermark.clock if self.document is None else self.document.latest_clock
        )

    @property
    def data(self) -> dict[str, Any]:
        """The data that a delta is merged into."""
        return {} if self.present is None else visible_data(self._body) or {}

    @property
    def fields(self) -> fields.Fields:
        """The fields that a change is merged into."""
        assert self.present is not None
        return fields_of(replace(self.present, body=self._body))

    @property
    def _body(self) -> bytes:
        """The body, checked: else damaged data would get a valid checksum."""
        assert self.present is not None
        return check_body(self.present.body, self.present.checksum, "the present state")

    def write(self, body: bytes, moment: str) -> Decision:
        """Return the next version with this body."""
        version, ancestor = self.gc_watermark.version + 1, ""
        if self.present is not None:
            before = self.present
            if before.version >= MAX_VERSION:
                raise InvalidArgumentError("the scope is at the last version there is")
            version, ancestor = before.version + 1, before.ancestor if before.origin == self.origin else before.stamp
        checksum = hashlib.sha256(body).hexdigest()
        state = Change(version, moment, self.origin, checksum, ancestor, body)
        state = replace(state, deleted=deleted_before(self.present, state))
        restored_at = NEVER_RESTORED if self.seen is None else self.seen.restored_at
        if self.document is None:
            after = ScopeDocument(state, moment)
        else:
            after = replace(self.document, state=state, latest_clock=max(moment, self.document.latest_clock))
        return Decision(after, seen={self.origin: Seen.of(state, restored_at)})


def write_update(
    context: WriteContext,
    data: dict[str, Any],
    *,
    is_delta: bool = False,
    without: Sequence[str] = (),
    limits: WriteLimits = UNLIMITED,
    if_version: int | None = None,
) -> Decision:
    """Write a scope's next version in the cloud.

    A delta is merged into the top level of the present data; of these the fields named by ``without`` are left out.
    With ``if_version`` it is written only where the scope is at that version, 0 where it must have no state.

    Raises:
        VersionMismatchError: the scope is not at ``if_version``.
        InvalidArgumentError: there is no later version.
        ValueTooLargeError, TooManyFieldsError: the data, or the result of the delta, are over the limits.
        ChecksumMismatchError, CorruptDataError: the state that a delta is made of is damaged.

    """
    body = encode_data(data, limits)
    present = context.present
    check_version(if_version, present.version if present else NO_STATE, present.body if present else TOMBSTONE)
    moment = context.moment
    # Deleting fields makes a state smaller: it is how a state over the limits gets back within them.
    after = UNLIMITED if without else limits
    if context.is_merged:
        merged = fields.edit(context.fields, data, (moment, CLOUD_ORIGIN), is_delta=is_delta, without=without)
        after.check_count([name for name, each in merged.fields.items() if each.value is not None])
        return context.write(after.check_size(fields.pack(merged)), moment)
    if is_delta:
        data = {key: value for key, value in {**context.data, **data}.items() if key not in without}
        body = after.encode(data)
    return context.write(body, moment)


def write_delete(context: WriteContext) -> Decision | None:
    """Delete a scope, as its next version; None where there is nothing to delete."""
    if context.present is None or visible_data(context.present.body) is None:
        return None
    if context.is_merged:
        moment = clock.after(0, context.now, context.present.clock)
        return context.write(fields.pack(fields.Fields(deleted=(moment, CLOUD_ORIGIN))), moment)
    return context.write(TOMBSTONE, context.moment)
