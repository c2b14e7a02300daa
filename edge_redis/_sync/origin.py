r"""Who wrote a state: the name of its origin and, behind it, which life of that origin.

A store is named at random when it is first written to (``lua/include/site.lua``). That name is one *life* of
whoever writes there: a store that was wiped has another, and so has a cloud that was put back to a backup, once
an edge has asked it. What is written under a name travels as
``<name>\x01<life>``, and without a name as the life alone, so versions that a later life gives out again are
those of another origin. It must not rest on clocks alone: those of the later life may be behind.

Users see the name, keys and the authority of LOCAL_WINS are a name's, and so is the cloud's right to win.
"""

from __future__ import annotations

from typing import Final

from edge_redis._core import validation

CLOUD_ORIGIN: Final = "cloud"
"""The origin of what is written in the cloud. At equal versions it wins over every other."""

MAX_NAME_BYTES: Final = 256

MAX_ORIGIN_BYTES: Final = 1024
"""Of a name with its life, as stores should take it."""

_BETWEEN: Final = "\x01"
"""Below all that a name may contain, so origins sort by their names first."""


def checked_name(name: str, value: object) -> str:
    """Return a name for an origin.

    Raises:
        InvalidTypeError, InvalidKeyError: it is none.

    """
    return _whole(name, validation.identifier(name, value, limit=MAX_NAME_BYTES))


def checked_text(name: str, value: object) -> str:
    """Return the name in a state given by a user; it may be empty."""
    return _whole(name, validation.text(name, value))


def _whole(name: str, value: str) -> str:
    if min(value, default=" ") <= _BETWEEN:
        raise validation.key_error(name, value, "must not contain the characters U+0000 and U+0001")
    return value


def lived(name: str, life: str) -> str:
    """Return the origin of what is written under a name in one life."""
    return f"{name}{_BETWEEN}{life}" if name else life


def name_of(origin: str) -> str:
    """Return the name of an origin; of one that was given none the life."""
    return origin.partition(_BETWEEN)[0]


def life_of(origin: str) -> str:
    """Return the life behind an origin's name; "" of a name alone."""
    return origin.partition(_BETWEEN)[2]
