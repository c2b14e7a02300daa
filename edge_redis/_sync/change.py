"""States on their way between the ends, with their data still encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from edge_redis._core import codec, validation
from edge_redis._sync import clock, merge
from edge_redis._sync.limits import NONE, Limits
from edge_redis._sync.origin import checked_text, name_of
from edge_redis.errors import ChecksumMismatchError, CorruptDataError
from edge_redis.models import SyncState

ENTRY_FIELDS: Final = (b"clock", b"origin", b"checksum", b"base", b"data", b"is_delta", b"signature")

_MAX_NAME_CHARS: Final = validation.MAX_KEY_BYTES // 4  # within which no name has too many bytes

MAX_VERSION: Final = 2**52
"""Of a state given by a user. Versions are counted in Lua, whose numbers are doubles: as many again come after it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One state of a scope: a full after-image and what orders it among all others.

    ``body`` is the canonical encoding of the data and ``checksum`` its SHA-256. ``base`` is the
    stamp of the foreign state that it was made of, ``clock`` its hybrid logical clock, ``origin`` who wrote it, and
    in which life (``state.origin``). ``signature``
    says who wrote it (``state.signing``), "" where nobody does; a store keeps it with the rest.
    """

    version: int
    clock: str
    origin: str
    checksum: str
    base: str
    body: bytes
    is_delta: bool = False
    signature: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """The data, decoded."""
        return decoded(self.body)

    @property
    def state(self) -> SyncState:
        """The state that this is."""
        data = self.data
        checksum = self.checksum
        if merge.is_merged(self.body):
            # Of merged fields the checksum on the way is that of all their stamps; users see that of the data.
            checksum = hashlib.sha256(codec.canonical(data, limit=merge.MAX_JOINED_BYTES)).hexdigest()
        return SyncState(self.version, data, checksum, clock.to_datetime(self.clock.encode()), self.name)

    @property
    def name(self) -> str:
        """The name of the origin, as users know it."""
        return name_of(self.origin)

    @property
    def stamp(self) -> str:
        """What tells this state of a scope from every other: two origins that write the same at one clock write one."""
        return f"{self.clock}-{self.checksum[:16]}"

    @property
    def head(self) -> str:
        """All but the body, as the scripts read it."""
        return f"{self.version} {self.clock} {self.checksum} {self.base} {self.signature} {self.origin}"

    @property
    def packed(self) -> bytes:
        """The whole as one word for the scripts: few words are few microseconds, at both ends of the line."""
        head = self.head.encode()
        return b"%d:%b%b" % (len(head), head, self.body)

    def verify(self) -> None:
        """Raise where the state is damaged.

        Raises:
            ChecksumMismatchError: the body is not what the checksum was made of.
            CorruptDataError: the clock is none, which would stand above all others for ever.

        """
        clock.verify(self.clock)
        if hashlib.sha256(self.body).hexdigest() != self.checksum:
            raise ChecksumMismatchError(f"version {self.version} of {self.name or 'an unnamed origin'} is damaged")


@dataclass(frozen=True, slots=True)
class Feed:
    """A page of what changed in the cloud, each scope at its present state, and the place after it.

    ``restarted`` says that the place asked for is not one of this store any more, so that the page
    is the first: the store came back empty, older, or as another one. ``strategies`` are those that
    edges have told the store, by scope: an edge where nobody has written decides by them. ``damaged``
    names the scopes of the page whose state cannot be read, and says why: they are passed over until
    they are written anew.
    """

    cursor: str
    changes: list[tuple[str, Change]]
    restarted: bool = False
    strategies: dict[str, str] = field(default_factory=dict)
    damaged: list[tuple[str, str]] = field(default_factory=list)


TOMBSTONE: Final = b""
"""The body of a scope that was deleted: no data encode to it."""


def whole(body: bytes, checksum: str, name: str) -> bytes:
    """Return a body read back from Redis, where it is what its checksum, or the beginning of it, was made of.

    Raises:
        CorruptDataError: it is not, and does not even decode.
        ChecksumMismatchError: it is not.

    """
    if not hashlib.sha256(body).hexdigest().startswith(checksum):
        shown(body)
        raise ChecksumMismatchError(f"{name} is damaged: its data are not what its checksum was made of")
    return body


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
    """Return the change of an outbox entry, given the values of ENTRY_FIELDS."""
    try:
        moment, origin, checksum, base, body, is_delta, signature = values
        return Change(
            int(entry_id.partition(b"-")[0]), moment.decode(), origin.decode(), checksum.decode(), base.decode(),
            body, is_delta == b"1", signature.decode(),
        )  # fmt: skip
    except ValueError as error:
        raise CorruptDataError(f"entry {entry_id!r} of an outbox is damaged: {error!r}") from error


def from_fields(found: Sequence[bytes]) -> Change:
    """Return the change of a document's fields: version, clock, origin, checksum, base, data, signature."""
    if None in found[:-1]:
        raise CorruptDataError("a document is damaged: a part of it is gone")
    try:
        *words, body, signature = found
        version, moment, origin, checksum, base = (word.decode() for word in words)
        return Change(int(version), moment, origin, checksum, base, body, signature=(signature or b"").decode())
    except ValueError as error:
        raise CorruptDataError(f"a document is damaged: {error!r}") from error


def from_state(state: SyncState, limits: Limits = NONE) -> Change:
    """Return the change that carries ``state``, its arguments checked.

    Raises:
        ValueTooLargeError, TooManyFieldsError: the state is over the limits.
        ChecksumMismatchError: the state does not match its own checksum.

    """
    version = validation.integer("version", state.version, least=0, most=MAX_VERSION)
    body = encoded(state.data, limits)
    origin = checked_text("origin", state.origin)
    moment = clock.from_datetime(validation.instance("updated_at", state.updated_at, datetime))
    checksum = validation.text("checksum", state.checksum)
    change = Change(version, moment, origin, checksum, "", body)
    change.verify()
    return change


def encoded(data: dict[str, Any], limits: Limits = NONE) -> bytes:
    """Return the canonical encoding of a scope's data: a dict with str keys.

    Raises what ``Limits.encoded`` raises, InvalidTypeError for anything but such a dict, and
    InvalidKeyError for a key that is too long.
    """
    if type(data) is not dict:
        raise validation.type_error("data", data, "a dict")
    for key in data:
        if not isinstance(key, str):
            raise validation.type_error("a key of data", key, "a str")
        if len(key) > _MAX_NAME_CHARS:
            validation.identifier("a key of data", key)
    return limits.encoded(data)
