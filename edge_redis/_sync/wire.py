"""The format of a change on the wire, in an outbox and in a document, as in ``lua/include/wire.lua``.

change    <length of head>:<head><data>
spliced   ~<length of head>:<head><base><splice>, where base is the checksum of the state that the splice was made of,
          or PREVIOUS for the change before in the same call
head      version clock checksum ancestor signature origin, a space between each
leased    a change whose head begins with: id deliveries is_delta; or ``~`` and the same with a splice in place of data,
          which makes it of the data of the entry before
outbox    a stream entry ``<version>-0`` of OUTBOX_FIELDS and position; signature only where the change is signed. In
          place of data it may have: splice, base (the checksum of the entry before), size (of its body) and chain (how
          many splices there are since the last body, their runs and bytes)
document  a hash with DOCUMENT_FIELDS, see ``keys.py`` for its other fields
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edge_redis._sync.change import Change
from edge_redis._sync.splice import apply_splice
from edge_redis.errors import CorruptDataError

OUTBOX_FIELDS: Final = ("data", "checksum", "clock", "origin", "ancestor", "is_delta", "signature")
"""The fields that a dead letter has too; an entry of an outbox has a ``position`` (``keys.py``) besides."""

DOCUMENT_FIELDS: Final = ("version", "clock", "origin", "checksum", "ancestor", "data", "signature", "deleted")

NONE: Final = "-"
"""In the arguments of scripts: no state, no clock, no signature."""


PREVIOUS: Final = "-"
"""The base of a spliced change: the change before in the same call."""


@dataclass(frozen=True, slots=True)
class LeasedEntry:
    """An entry of an outbox that was leased to a worker, not decoded yet."""

    id: bytes
    deliveries: int
    """The number of the try that comes next."""
    head: bytes
    body: bytes

    @property
    def version(self) -> int:
        """The version of the change."""
        return int(self.id.partition(b"-")[0])

    @property
    def clock(self) -> bytes:
        """The clock of the change."""
        return self.head.split(b" ", 3)[2]

    @property
    def checksum(self) -> str:
        """The checksum of the change's body."""
        return self.head.split(b" ", 4)[3].decode(errors="replace")

    def change(self) -> Change:
        """Decode the change.

        Raises:
            CorruptDataError: the entry is damaged.

        """
        try:
            is_delta, version, clock, checksum, ancestor, signature, origin = self.head.decode().split(" ", 6)
            return Change(int(version), clock, origin, checksum, ancestor, self.body, is_delta == "1", signature)
        except ValueError as error:
            raise CorruptDataError(f"entry {self.id!r} of an outbox is damaged: {error!r}") from error


def format_head(change: Change) -> str:
    """Return all of a change but its data."""
    return f"{change.version} {change.clock} {change.checksum} {change.ancestor} {change.signature} {change.origin}"


def format_change(change: Change) -> bytes:
    """Return a change as one argument of a script: few arguments cost few microseconds at both ends."""
    head = format_head(change).encode()
    return b"%d:%b%b" % (len(head), head, change.body)


def format_spliced(change: Change, base: str, splice: bytes) -> bytes:
    """Return a change as one argument, with the splice that makes its body of that of ``base`` in place of its body."""
    head = format_head(change).encode()
    return b"~%d:%b%b%b" % (len(head), head, base.encode(), splice)


def parse_leased(text: bytes, before: bytes = b"") -> LeasedEntry:
    """Return a leased entry; its change is decoded where it is needed. ``before`` is the body of the entry before.

    An entry whose splice is damaged has an empty body, which no spliced entry has: its checksum then shows that.
    """
    begin = text.index(b":") + 1
    is_spliced = text.startswith(b"~")
    end = begin + int(text[is_spliced : begin - 1])
    entry_id, deliveries, head = text[begin:end].split(b" ", 2)
    body = text[end:]
    if is_spliced:
        try:
            body = apply_splice(before, body)
        except CorruptDataError:
            body = b""
    return LeasedEntry(entry_id, int(deliveries), head, body)


def from_outbox(version: bytes, fields: Mapping[bytes, bytes]) -> Change:
    """Return the change in the stream fields of an outbox, as a dead letter keeps them; a missing one is empty."""
    try:
        found = [fields.get(name.encode(), b"") for name in OUTBOX_FIELDS]
        body, (checksum, clock, origin, ancestor, is_delta, signature) = found[0], [each.decode() for each in found[1:]]
        return Change(_version(version), clock, origin, checksum, ancestor, body, is_delta == "1", signature)
    except ValueError as error:
        raise CorruptDataError(f"version {version!r} in an outbox is damaged: {error!r}") from error


def from_document(values: Sequence[bytes | None]) -> Change:
    """Return the present state of a document, given the values of DOCUMENT_FIELDS.

    Raises:
        CorruptDataError: a field is missing or damaged.

    """
    version, clock, origin, checksum, ancestor, body, signature, deleted = values
    if version is None or clock is None or origin is None or checksum is None or ancestor is None or body is None:
        raise CorruptDataError("a document is damaged: a field is missing")
    if b" " in b"".join((clock, checksum, ancestor, signature or b"")):  # a space separates the words of a head
        raise CorruptDataError("a document is damaged: a field has a space")
    try:
        return Change(
            _version(version), clock.decode(), origin.decode(), checksum.decode(), ancestor.decode(), body,
            signature=(signature or b"").decode(), deleted=(deleted or b"").decode(),
        )  # fmt: skip
    except ValueError as error:
        raise CorruptDataError(f"a document is damaged: {error!r}") from error


def _version(text: bytes) -> int:
    if not text.isdigit():
        raise ValueError(f"{text!r} is no version")
    return int(text)
