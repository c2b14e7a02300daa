"""MERGE: a scope as a map of fields, each of which goes to its later change.

A last-writer-wins map (Shapiro, Preguica, Baquero, Zawirski, "A comprehensive study of convergent and
commutative replicated data types", 2011, section 3.2): every field has the stamp of its last change, a deleted
field keeps its stamp without a value, and a deleted scope has a stamp of its own, which removes all earlier fields.
``join`` takes the later change of each: in any order, and however often, the result is the same.

A *plain* state, of another strategy, is a scope's whole data: the cloud writes plain states until an edge has pushed
with MERGE. Its fields are lifted with its clock. A field that a later plain state of the same origin and incarnation
left out was deleted by that state, although no field says so: so the clock of each origin's latest plain state is kept.
States that users pass on have no incarnation, and may be of any replica: they delete no fields.

In Redis and on the wire it is one body, an array, where the other strategies' bodies are maps:
``[scope's stamp, {name: [clock, origin, value]}]``, without a value where the field was deleted. Where plain
states were met, the scope's stamp has a third part, ``{origin: clock}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from edge_redis._core import codec
from edge_redis._sync.clock import verify as verify_clock
from edge_redis._sync.origin import incarnation_of
from edge_redis.errors import CorruptDataError

ARRAY_OF_TWO: Final = b"\x92"
"""The first byte of a body of merged fields, and of no other body."""

MAX_MERGED_BYTES: Final = 512 * 1024 * 1024
"""Most bytes of a merged body: Redis' own limit. Writers' limits do not apply, or the ends would stay different."""

Stamp: TypeAlias = tuple[str, str]
"""A clock and the name of the writer."""

NO_STAMP: Final[Stamp] = ("", "")

_LIFTED: Final = "\x01"
"""Prefix of the name in the stamp of a plain state's field; no writer's name has it (``origin.py``)."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field's last change; ``value`` is encoded, None of a deleted field."""

    stamp: Stamp
    value: bytes | None

    @property
    def rank(self) -> tuple[Stamp, bytes]:
        """The order of two changes of a field; the value decides only between equal stamps."""
        return self.stamp, self.value or b""


@dataclass(frozen=True, slots=True)
class Fields:
    """All fields of a scope, the stamp of its delete, and the clock of each origin's latest plain state."""

    fields: Mapping[str, Field] = field(default_factory=dict)
    deleted: Stamp = NO_STAMP
    plain: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, Any]:
        """The values of the fields that are not deleted."""
        return {name: codec.decode(each.value) for name, each in self.fields.items() if each.value is not None}

    def has_same_changes(self, other: Fields) -> bool:
        """Return whether ``other`` holds the same changes of fields and of the scope."""
        return self.fields == other.fields and self.deleted == other.deleted

    @property
    def is_deleted(self) -> bool:
        """Whether the scope was deleted and no field written since."""
        return self.deleted != NO_STAMP and all(each.value is None for each in self.fields.values())


def is_merged(body: bytes) -> bool:
    """Return whether a body is one of merged fields."""
    return body[:1] == ARRAY_OF_TWO


def unpack(body: bytes) -> Fields:
    """Return the fields in a body of merged fields.

    Raises:
        CorruptDataError: the body does not decode to fields.

    """
    try:
        (moment, writer, *plain), fields = codec.decode(body)
        found = {
            name: Field((clock, origin), codec.canonical(value[0]) if value else None)
            for name, (clock, origin, *value) in fields.items()
        }
        clocks = plain[0] if plain else {}
        texts = [moment, writer, *found, *clocks, *clocks.values(), *(t for each in found.values() for t in each.stamp)]
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptDataError(f"fields to merge do not decode: {error!r}") from error
    if not all(type(text) is str for text in texts):
        raise CorruptDataError("fields to merge do not decode: a name or a stamp is not text")
    return Fields(found, (moment, writer), clocks)


def lift(clock: str, origin: str, data: Mapping[str, Any] | None) -> Fields:
    """Return the fields of a plain state, all changed at its clock. ``data`` is None for a deleted scope."""
    stamp = (clock, _LIFTED + origin)
    if data is None:
        return Fields(deleted=stamp)
    fields = {name: Field(stamp, codec.canonical(value)) for name, value in data.items()}
    return Fields(fields, plain={origin: clock} if incarnation_of(origin) else {})


def lift_delete(text: str) -> Fields:
    """Return the delete that a plain state came after, given its clock and origin with a space between.

    Raises:
        CorruptDataError: the text has no clock.

    """
    moment, _, origin = text.partition(" ")
    verify_clock(moment)
    return lift(moment, origin, None)


def pack(fields: Fields) -> bytes:
    """Return the body that holds fields: equal fields give equal bytes."""
    entries = {
        name: [*each.stamp, *(() if each.value is None else (codec.decode(each.value),))]
        for name, each in fields.fields.items()
    }
    scope = [*fields.deleted, *((fields.plain,) if fields.plain else ())]
    return codec.canonical([scope, entries], limit=MAX_MERGED_BYTES)


def join(one: Fields, other: Fields) -> Fields:
    """Return the later change of every field."""
    deleted = max(one.deleted, other.deleted)
    clocks = {
        origin: max(side.plain[origin] for side in (one, other) if origin in side.plain)
        for origin in {**one.plain, **other.plain}
    }
    plain = {origin: clock for origin, clock in clocks.items() if clock > deleted[0]}
    names = {**one.fields, **other.fields}
    later = {
        name: max((side.fields[name] for side in (one, other) if name in side.fields), key=lambda each: each.rank)
        for name in names
    }
    return Fields(
        {name: _unless_left_out(each, plain) for name, each in later.items() if each.stamp > deleted}, deleted, plain
    )


def _unless_left_out(each: Field, plain: Mapping[str, str]) -> Field:
    """Return a field; without its value if a later plain state of its origin left it out."""
    clock, name = each.stamp
    is_left_out = name.startswith(_LIFTED) and clock < plain.get(name.removeprefix(_LIFTED), "")
    return Field(each.stamp, None) if is_left_out else each


def edit(
    present: Fields, data: Mapping[str, Any], stamp: Stamp, *, is_delta: bool, without: Sequence[str] = ()
) -> Fields:
    """Return the fields after an update: a field with an unchanged value keeps its stamp."""
    fields = dict(present.fields)
    gone = set(without) if is_delta else {name for name in fields if name not in data}
    for name in gone:
        if name in fields and fields[name].value is not None:
            fields[name] = Field(stamp, None)
    for name, value in data.items():
        body = codec.canonical(value)
        if is_delta or name not in fields or fields[name].value != body:
            fields[name] = Field(stamp, body)
    return Fields(fields, present.deleted, present.plain)
