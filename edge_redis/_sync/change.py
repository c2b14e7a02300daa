"""A change: a state of a scope as an edge and the cloud exchange it, its data still encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from edge_redis._core import codec, validation
from edge_redis._sync import clock, fields
from edge_redis._sync.limits import MAX_GIVEN_VERSION, UNLIMITED, WriteLimits
from edge_redis._sync.origin import check_given_origin, name_of
from edge_redis.errors import ChecksumMismatchError, CorruptDataError
from edge_redis.models import ConflictStrategy, SyncState

_MAX_NAME_CHARS: Final = validation.MAX_KEY_BYTES // 4  # within which no name has too many bytes

TOMBSTONE: Final = b""
"""The body of a deleted scope: the encoding of data is never empty."""

Outcome: TypeAlias = Literal["accepted", "duplicate", "rejected"]
"""The result of applying a change: it won; it, or a later state of its origin, was there already; or it lost."""


@dataclass(frozen=True, slots=True)
class Change:
    """One state of a scope: its full data, and the fields that order it among all states of the scope.

    ``body`` is the canonical encoding of the data, empty for a deleted scope, and ``checksum`` its SHA-256. ``clock``
    is its hybrid logical clock, ``origin`` its writer's name and incarnation (``origin.py``). ``ancestor`` is the stamp
    of the state of another origin that this one was made of; after ``+`` follows the clock up to which this store's
    states under earlier origins are ancestors too (``lua/include/ancestry.lua``). ``signature`` proves the writer
    (``signing.py``) and is "" for an unsigned change. ``deleted`` has clock and origin, with a space between, of the
    newest delete before a plain state of the cloud, "" where there is none; it stays in the store.
    """

    version: int
    clock: str
    origin: str
    checksum: str
    ancestor: str
    body: bytes
    is_delta: bool = False
    signature: str = ""
    deleted: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """The data, decoded."""
        return decode_data(self.body)

    @property
    def state(self) -> SyncState:
        """This change as users see it."""
        body, checksum = self.body, self.checksum
        if body[:1] == fields.ARRAY_OF_TWO:
            # The checksum on the way is that of the fields with their stamps; users see that of the data.
            data = fields.unpack(body).data
            checksum = hashlib.sha256(codec.canonical(data, limit=fields.MAX_MERGED_BYTES)).hexdigest()
        else:
            data = codec.decode(body)
            if not isinstance(data, dict):
                raise _not_a_dict(data)
        return SyncState(self.version, data, checksum, clock.to_datetime(self.clock), name_of(self.origin))

    @property
    def name(self) -> str:
        """The name of the origin, as users see it."""
        return name_of(self.origin)

    @property
    def stamp(self) -> str:
        """The identity of this state: two origins that write the same data at one clock write one state."""
        return f"{self.clock}-{self.checksum[:16]}"

    def verify(self) -> None:
        """Check the body against the checksum, and the format of the clock.

        Raises:
            ChecksumMismatchError: the checksum was made of another body.
            CorruptDataError: the clock is damaged. It might sort above all clocks that can ever follow.

        """
        clock.verify(self.clock)
        if hashlib.sha256(self.body).hexdigest() != self.checksum:
            raise ChecksumMismatchError(f"version {self.version} of {self.name or 'an unnamed origin'} is damaged")


def check_changes(changes: object, strategy: object) -> None:
    """Check the types of what a cloud store is asked to apply."""
    if not isinstance(changes, Sequence) or isinstance(changes, (str, bytes)):
        raise validation.type_error("changes", changes, "a list of changes")
    for each in changes:
        if not isinstance(each, Change):
            raise validation.type_error("a change", each, "a Change")
    if not isinstance(strategy, ConflictStrategy):
        raise validation.type_error("strategy", strategy, "a ConflictStrategy")


def check_body(body: bytes, checksum: str, name: str) -> bytes:
    """Return a body that a store has kept, checked against its checksum or the first characters of it.

    Raises:
        CorruptDataError: the body does not decode.
        ChecksumMismatchError: the checksum was made of another body.

    """
    if not hashlib.sha256(body).hexdigest().startswith(checksum):
        visible_data(body)
        raise ChecksumMismatchError(f"{name} is damaged: its checksum was made of other data")
    return body


def visible_data(body: bytes) -> dict[str, Any] | None:
    """Return the data that users see, None for a deleted scope."""
    if fields.is_merged(body):
        found = fields.unpack(body)
        return None if found.is_deleted else found.data
    return None if body == TOMBSTONE else decode_data(body)


def decode_data(body: bytes) -> dict[str, Any]:
    """Return the data that ``body`` encodes."""
    if fields.is_merged(body):
        return fields.unpack(body).data
    data = codec.decode(body)
    if not isinstance(data, dict):
        raise _not_a_dict(data)
    return data


def _not_a_dict(data: object) -> CorruptDataError:
    return CorruptDataError(f"bytes do not decode to a dict but to {type(data).__name__}")


def from_state(state: SyncState, limits: WriteLimits = UNLIMITED) -> Change:
    """Return the change that carries ``state``, its arguments checked.

    Raises:
        ValueTooLargeError, TooManyFieldsError: the state is over the limits.
        ChecksumMismatchError: the state does not match its own checksum.

    """
    version = validation.check_integer("version", state.version, least=0, most=MAX_GIVEN_VERSION)
    body = encode_data(state.data, limits)
    origin = check_given_origin("origin", state.origin)
    moment = clock.from_datetime(validation.check_instance("updated_at", state.updated_at, datetime))
    checksum = validation.check_text("checksum", state.checksum)
    change = Change(version, moment, origin, checksum, "", body)
    change.verify()
    return change


def encode_data(data: dict[str, Any], limits: WriteLimits = UNLIMITED) -> bytes:
    """Return the canonical encoding of a scope's data: a dict with str keys.

    Raises what ``WriteLimits.encode`` raises, InvalidTypeError for any other value, and InvalidKeyError for
    a key that is too long.
    """
    if type(data) is not dict:
        raise validation.type_error("data", data, "a dict")
    for key in data:
        if not isinstance(key, str):
            raise validation.type_error("a key of data", key, "a str")
        if len(key) > _MAX_NAME_CHARS:
            validation.check_identifier("a key of data", key)
    return limits.encode(data)
