"""MERGE: a scope as a map of fields, each of which goes to its later change.

A last-writer-wins map (Shapiro, Preguica, Baquero, Zawirski, "A comprehensive study of convergent and
commutative replicated data types", 2011, section 3.2): every field has the stamp of its last change, a field
that was deleted keeps its stamp without a value, and a deleted scope has a stamp of its own, before which no
field lives. ``join`` takes the later of each: in any order, and however often, the same comes out.

A *plain* state, of another strategy, is a scope's whole data: the cloud writes such until an edge has told it
that fields are to be merged. Its fields are lifted with its clock. One that a later plain state of the same
origin and life left out was deleted by it, though no field says so: so the clock of each one's latest is kept.
States that users pass on have no life, and may be of any replica: they take nothing away.

In Redis and on the way it is one body, an array, where the other strategies' bodies are maps:
``[scope's stamp, {name: [clock, origin, value]}]``, without a value where the field was deleted. Where plain
states were met, the scope's stamp has a third part, ``{origin: clock}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from edge_redis._core import codec
from edge_redis._sync.origin import life_of
from edge_redis.errors import CorruptDataError

ARRAY_OF_TWO: Final = b"\x92"
"""How a body of this strategy begins, and none of another."""

MAX_JOINED_BYTES: Final = 512 * 1024 * 1024
"""Of what merging makes: Redis takes no more. The limits of writers do not bind it, or the ends would stay apart."""

Stamp: TypeAlias = tuple[str, str]
"""A clock and the name of whoever wrote then."""

NEVER: Final[Stamp] = ("", "")

_LIFTED: Final = "\x01"
"""Begins the name in a stamp of a plain state's field; no writer's begins so (``state.origin``)."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field's last change; ``value`` is encoded, None of a deleted field."""

    stamp: Stamp
    value: bytes | None

    @property
    def rank(self) -> tuple[Stamp, bytes]:
        """What decides between two changes of a field; a value only between two of one stamp."""
        return self.stamp, self.value or b""


@dataclass(frozen=True, slots=True)
class Fields:
    """All fields of a scope, when it was deleted as a whole, and the clock of each origin's latest plain state."""

    fields: Mapping[str, Field] = field(default_factory=dict)
    deleted: Stamp = NEVER
    plain: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, Any]:
        """The fields that are there."""
        return {name: codec.decode(each.value) for name, each in self.fields.items() if each.value is not None}

    def says(self, other: Fields) -> bool:
        """Whether another has the same changes of fields and of the scope."""
        return self.fields == other.fields and self.deleted == other.deleted

    @property
    def is_deleted(self) -> bool:
        """Whether the scope was deleted, and nothing was written since."""
        return self.deleted != NEVER and all(each.value is None for each in self.fields.values())


def is_merged(body: bytes) -> bool:
    """Whether a body is one of this strategy."""
    return body[:1] == ARRAY_OF_TWO


def unpack(body: bytes) -> Fields:
    """Return the fields in a body of this strategy.

    Raises:
        CorruptDataError: the body is none.

    """
    try:
        (moment, name, *plain), fields = codec.decode(body)
        found = {
            name: Field((clock, origin), codec.canonical(value[0]) if value else None)
            for name, (clock, origin, *value) in fields.items()
        }
        return Fields(found, (moment, name), plain[0] if plain else {})
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptDataError(f"fields to merge do not decode: {error!r}") from error


def lifted(clock: str, origin: str, data: Mapping[str, Any] | None) -> Fields:
    """Return the fields of a plain state: all were changed at its clock. Data are None of a deleted scope."""
    stamp = (clock, _LIFTED + origin)
    if data is None:
        return Fields(deleted=stamp)
    fields = {name: Field(stamp, codec.canonical(value)) for name, value in data.items()}
    return Fields(fields, plain={origin: clock} if life_of(origin) else {})


def pack(fields: Fields) -> bytes:
    """Return the body of fields: equal fields give equal bytes."""
    entries = {
        name: [*each.stamp, *(() if each.value is None else (codec.decode(each.value),))]
        for name, each in fields.fields.items()
    }
    scope = [*fields.deleted, *((fields.plain,) if fields.plain else ())]
    return codec.canonical([scope, entries], limit=MAX_JOINED_BYTES)


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
    """Return a field, without its value where it is of a plain state and a later one of that origin has it not."""
    clock, name = each.stamp
    is_left_out = name.startswith(_LIFTED) and clock < plain.get(name.removeprefix(_LIFTED), "")
    return Field(each.stamp, None) if is_left_out else each


def changed(
    present: Fields, data: Mapping[str, Any], stamp: Stamp, *, is_delta: bool, without: Sequence[str] = ()
) -> Fields:
    """Return the fields after an update: what it leaves as it was keeps its stamp."""
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
