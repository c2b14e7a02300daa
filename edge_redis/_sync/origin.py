r"""Origins: the name of a state's writer, and the incarnation of the store that it was written in.

A store gets a random replica id when it is first written to (``lua/include/replica_id.lua``). The id names one
*incarnation* of the store: after it was wiped it has another id, and so has a cloud that was restored from a backup,
once an edge has read its feed. The origin of a state is ``<name>\x01<replica id>``, and without a name the replica id
alone. So version numbers that a later incarnation uses again belong to another origin. Clocks alone could not tell the
incarnations apart, since the clock of the later one may be behind.

Another run of an edge's server is another incarnation too, for each copy of a disk image is run by a server of its own:
an edge's id ends with ``\x02`` and the suffix of the run, which the next write or pull replaces
(``lua/include/server_run.lua``). The rest of such origins, their *lineage*, is the same. So a clone and its original
never write under one origin.

Users see the name. Signing keys, the authority of LOCAL_WINS and the cloud's right to win belong to a name.
"""

from __future__ import annotations

import re
from typing import Final

from edge_redis._core import validation

CLOUD_ORIGIN: Final = "cloud"
"""The origin of states that are written in the cloud. At equal versions it wins over every other."""

MAX_NAME_BYTES: Final = 256

MAX_ORIGIN_BYTES: Final = 1024
"""Most bytes of a name with its incarnation, which a store must be able to keep."""

_SEPARATOR: Final = "\x01"
"""Below all that a name may contain, so origins sort by their names first."""

RUN: Final = "\x02"
"""Between the id of a store and the suffix of a run of its server."""

_BEGAN: Final = re.compile(r"-(\d{1,18})\x02?$", re.ASCII)


def check_origin_name(name: str, value: object) -> str:
    """Return the name of an origin.

    Raises:
        InvalidTypeError, InvalidKeyError: it cannot be one.

    """
    return _check_characters(name, validation.check_identifier(name, value, limit=MAX_NAME_BYTES))


def check_given_origin(name: str, value: object) -> str:
    """Return the origin in a state given by a user; it may be empty."""
    return _check_characters(name, validation.check_text(name, value))


def _check_characters(name: str, value: str) -> str:
    if min(value, default=" ") <= RUN:
        raise validation.key_error(name, value, "must not contain the characters U+0000 to U+0002")
    return value


def qualified_origin(name: str, incarnation: str) -> str:
    """Return the origin of states that are written under a name in one incarnation of a store."""
    return f"{name}{_SEPARATOR}{incarnation}" if name else incarnation


def name_of(origin: str) -> str:
    """Return the name of an origin; without a name the id of the store."""
    return origin.partition(_SEPARATOR)[0].partition(RUN)[0]


def incarnation_of(origin: str) -> str:
    """Return the incarnation behind an origin's name; "" of a name alone."""
    return origin.partition(_SEPARATOR)[2]


def store_of(origin: str) -> str:
    """Return the id of the store in an origin, with the suffix of the run; "" of a name alone."""
    name, separator, incarnation = origin.partition(_SEPARATOR)
    return incarnation if separator else name


def lineage_of(origin: str) -> str:
    """Return the name and the store of an origin, without the run of the store's server."""
    return origin.partition(RUN)[0]


def began_at(origin: str) -> str:
    """Return the clock of the moment when the incarnation in an origin began; as long ago as can be without one."""
    found = _BEGAN.search(origin)
    return (found[1] if found else "").rjust(18, "0")
