"""What is written in the cloud itself: the rules of ``lua/update.lua``, for stores that decide in Python."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from edge_redis._sync import change, clock, merge
from edge_redis._sync.change import Change
from edge_redis._sync.limits import NONE, Limits
from edge_redis._sync.merging import fields_of
from edge_redis._sync.origin import CLOUD_ORIGIN
from edge_redis._sync.resolution import ALWAYS, MAX_VERSION, Decision, Document, Seen
from edge_redis.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Floor:
    """Version and clock of the newest delete that was forgotten: a scope that is created begins above them."""

    version: int
    clock: str


GROUND: Final = Floor(0, "")
"""The floor of a store that has forgotten nothing."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a write in the cloud finds."""

    document: Document | None
    origin: str
    """Of what is written: the cloud's name, and which life of it this is (``state.origin``)."""
    seen: Seen | None
    """What is known of that origin's own states."""
    now: int
    """The store's time in microseconds since 1970."""
    floor: Floor = GROUND

    @property
    def present(self) -> Change | None:
        """The present state."""
        return None if self.document is None else self.document.state

    @property
    def is_merged(self) -> bool:
        """Whether the present state is made of fields."""
        return self.present is not None and merge.is_merged(self.present.body)

    @property
    def moment(self) -> str:
        """The clock of a write: after everything seen."""
        return clock.after(0, self.now, self.floor.clock if self.document is None else self.document.tick)

    @property
    def data(self) -> dict[str, Any]:
        """The data that a delta is merged into."""
        return {} if self.present is None else change.shown(self._whole) or {}

    @property
    def fields(self) -> merge.Fields:
        """The fields that a change is merged into."""
        assert self.present is not None
        return fields_of(replace(self.present, body=self._whole))

    @property
    def _whole(self) -> bytes:
        """The body, whole, or damaged data would go on under a checksum of their own."""
        assert self.present is not None
        return change.whole(self.present.body, self.present.checksum, "the present state")

    def written(self, body: bytes, moment: str) -> Decision:
        """Return the next version with this body."""
        version, base = self.floor.version + 1, ""
        if self.present is not None:
            before = self.present
            if before.version >= MAX_VERSION:
                raise InvalidArgumentError("the scope is at the last version there is")
            version, base = before.version + 1, before.base if before.origin == self.origin else before.stamp
        checksum = hashlib.sha256(body).hexdigest()
        state = Change(version, moment, self.origin, checksum, base, body)
        life = ALWAYS if self.seen is None else self.seen.life
        if self.document is None:
            after = Document(state, moment)
        else:
            after = replace(self.document, state=state, tick=max(moment, self.document.tick))
        return Decision(after, seen={self.origin: Seen.of(state, life)})


def updated(
    found: Situation,
    data: dict[str, Any],
    *,
    is_delta: bool = False,
    without: Sequence[str] = (),
    limits: Limits = NONE,
) -> Decision:
    """Write a scope's next version in the cloud.

    A delta is merged into the top level of the present data; of these the fields named by ``without`` are left out.

    Raises:
        InvalidArgumentError: there is no later version.
        ValueTooLargeError, TooManyFieldsError: the data, or what the delta makes, are over the limits.
        ChecksumMismatchError, CorruptDataError: the state that a delta is made of is damaged.

    """
    given = change.encoded(data, limits)
    moment = found.moment
    # What takes fields away is no larger than what is there, and is how one comes back within the limits.
    after = NONE if without else limits
    if found.is_merged:
        fields = merge.changed(found.fields, data, (moment, CLOUD_ORIGIN), is_delta=is_delta, without=without)
        after.counted([name for name, each in fields.fields.items() if each.value is not None])
        return found.written(after.sized(merge.pack(fields)), moment)
    if is_delta:
        data = {key: value for key, value in {**found.data, **data}.items() if key not in without}
        given = after.encoded(data)
    return found.written(given, moment)


def deleted(found: Situation) -> Decision | None:
    """Delete a scope, as its next version; None where there is nothing to delete."""
    if found.present is None or change.shown(found.present.body) is None:
        return None
    if found.is_merged:
        moment = clock.after(0, found.now, found.present.clock)
        return found.written(merge.pack(merge.Fields(deleted=(moment, CLOUD_ORIGIN))), moment)
    return found.written(change.TOMBSTONE, found.moment)
