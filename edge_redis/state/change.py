"""States on their way between the ends, with their data still encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from edge_redis.core import check, codec
from edge_redis.errors import ChecksumMismatchError, CorruptDataError
from edge_redis.models import SyncState
from edge_redis.state import clock, merge

ENTRY_FIELDS: Final = (b"clock", b"origin", b"checksum", b"base", b"data", b"is_delta")

MAX_VERSION: Final = 2**52
"""Of a state given by a user. Versions are counted in Lua, whose numbers are doubles: as many again come after it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One state of a scope: a full after-image and what orders it among all others.

    ``body`` is the canonical encoding of the data and ``checksum`` its SHA-256. ``base`` is the
    stamp of the foreign state that it was made of, ``clock`` its hybrid logical clock.
    """

    version: int
    clock: str
    origin: str
    checksum: str
    base: str
    body: bytes
    is_delta: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """The data, decoded."""
        return decoded(self.body)

    @property
    def state(self) -> SyncState:
        """The state that this is."""
        data = self.data
        # Of merged fields the checksum on the way is that of all their stamps; users see that of the data.
        checksum = codec.checksum(data) if merge.is_merged(self.body) else self.checksum
        return SyncState(self.version, data, checksum, clock.to_datetime(self.clock.encode()), self.origin)

    @property
    def stamp(self) -> str:
        """What tells this state of a scope from every other."""
        return f"{self.clock}-{self.checksum[:16]}"

    @property
    def head(self) -> str:
        """All but the body, as the scripts read it."""
        return f"{self.version} {self.clock} {self.checksum} {self.base} {self.origin}"

    def verify(self) -> None:
        """Raise ChecksumMismatchError where the body is not what the checksum was made of."""
        if hashlib.sha256(self.body).hexdigest() != self.checksum:
            raise ChecksumMismatchError(f"version {self.version} of {self.origin or 'an unnamed origin'} is damaged")


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of what changed in the cloud, each scope at its present state, and the place after it.

    ``restarted`` says that the place asked for is not one of this store any more, so that the page
    is the first: the store came back empty, older, or as another one. ``strategies`` are those that
    edges have told the store, by scope: an edge where nobody has written decides by them.
    """

    cursor: str
    changes: list[tuple[str, Change]]
    restarted: bool = False
    strategies: Mapping[str, str] = field(default_factory=dict)


TOMBSTONE: Final = b""
"""The body of a scope that was deleted: no data encode to it."""


def shown(body: bytes) -> dict[str, Any] | None:
    """Return the data that users see, None of a deleted scope."""
    if merge.is_merged(body):
        fields = merge.unpack(body)
        return None if fields.is_deleted else fields.data
    return None if body == TOMBSTONE else decoded(body)


def decoded(body: bytes) -> dict[str, Any]:
    """Return the data that ``body`` encodes."""
    if merge.is_merged(body):
        return merge.unpack(body).data
    data = codec.decode(body)
    if not isinstance(data, dict):
        raise CorruptDataError(f"bytes do not decode to a dict but to {type(data).__name__}")
    return data


def from_entry(entry_id: bytes, values: Sequence[bytes]) -> Change:
    """Return the change of an outbox entry's clock, origin, checksum, base, data and is_delta."""
    try:
        moment, origin, checksum, base = (value.decode() for value in values[:4])
        return Change(int(entry_id.partition(b"-")[0]), moment, origin, checksum, base, values[4], values[5] == b"1")
    except ValueError as error:
        raise CorruptDataError(f"entry {entry_id!r} of an outbox is damaged: {error!r}") from error


def from_fields(found: list[bytes]) -> Change:
    """Return the change of a document's fields: version, clock, origin, checksum, base, data."""
    try:
        version, moment, origin, checksum, base = (field.decode() for field in found[:5])
        return Change(int(version), moment, origin, checksum, base, found[5])
    except (AttributeError, ValueError) as error:
        raise CorruptDataError(f"a document is damaged: {error!r}") from error


def from_state(state: SyncState) -> Change:
    """Return the change that carries ``state``, its arguments checked.

    Raises:
        ChecksumMismatchError: the state does not match its own checksum.

    """
    version = check.integer("version", state.version, least=0, most=MAX_VERSION)
    body = encoded(state.data)
    origin = check.text("origin", state.origin)
    moment = clock.from_datetime(check.instance("updated_at", state.updated_at, datetime))
    checksum = check.text("checksum", state.checksum)
    change = Change(version, moment, origin, checksum, "", body)
    change.verify()
    return change


def encoded(data: dict[str, Any]) -> bytes:
    """Return the canonical encoding of a scope's data: a dict with str keys.

    Raises what ``codec.encode`` raises, and InvalidTypeError for anything but such a dict.
    """
    if type(data) is not dict:
        raise check.type_error("data", data, "a dict")
    for key in data:
        if not isinstance(key, str):
            raise check.type_error("a key of data", key, "a str")
    return codec.canonical(data)
