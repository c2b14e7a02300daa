"""Lua scripts: read from a package's ``lua/`` folder, with their header parsed and enforced.

A script file starts with a header of comment lines::

    -- Store a value, evicting where the cache is full.
    -- KEYS[1] value       string  the entry
    -- KEYS[2..] victims   string  every further key has this meaning
    -- ARGV[1] ttl_ms      integer
    -- Reply: integer: entries evicted
    -- Invariant: live entries never exceed max_size
    -- Repeat: idempotent

``Repeat`` says what happens when the server runs it twice because a reply was lost:
``idempotent``, or ``remembered`` (by idempotency key), followed by any detail. A script that writes
may say how its layout version is checked (``layout.py``): ``Layout: unchecked``, or ``Layout: not
created`` where it only changes existing keys. ``Reply`` is a shape, a colon and what it means::

    shapes   = shape { "|" shape }          any of these
    shape    = "integer" | "string" | "number" | "nil" | "any" | literal | array
    literal  = "'" text "'"                 exactly this string; "*" at its end stands for any text
    array    = "[" [ item { "," item } ] "]"
    item     = shapes [ "..." ]             with dots, as the last item: zero or more of these

A ``string`` is bytes, a ``number`` is bytes that spell a decimal number, ``nil`` is Lua's false or
nil. A long line continues in lines that begin with ``--`` and three spaces. A line ``-- include: NAME`` is replaced by
``lua/include/NAME.lua`` of the package where there is one, else by ``_core/lua/NAME.lua``; an
include says in ``-- Needs:`` which names it takes from the script around it.

Scripts that write keys of a component whose shards can be moved (``MOVES_SHARDS`` in its ``keys.py``) begin with
``_core/lua/moved.lua``, behind their header: they refuse a shard that was moved. So do those that only read where
``REFUSES_READS`` says it. ``Moved: allowed`` in the header of a script is for what stays in the shard.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from typing import Any, Final

from edge_redis._core.operation import Argument, Operation, T
from edge_redis._core.script_commands import find_required_commands, has_write

_PARAMETER: Final = re.compile(r"^-- (KEYS|ARGV)\[\d+(\.\.)?\]", re.MULTILINE)
_INCLUDE: Final = re.compile(r"^-- include: (\w+)$", re.MULTILINE)
_UNCHECKED: Final = re.compile(r"^-- Layout: unchecked", re.MULTILINE)
_NOT_CREATED: Final = re.compile(r"^-- Layout: not created", re.MULTILINE)
_IN_MOVED: Final = re.compile(r"^-- Moved: allowed", re.MULTILINE)
_HEADER: Final = re.compile(r"(?:--(?! include: ).*\n)*")


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A Lua script and its SHA1, by which the server knows it."""

    name: str
    source: str
    sha: str
    keys: range
    """How many KEYS the header allows."""
    args: range
    """How many ARGV the header allows."""
    layout_version: int = 0
    """Layout version of the keys that the script writes; 0 where it is not checked, as for a script that only reads."""
    creates_layout: bool = False
    """Whether the check stores the layout version in a shard that has none."""
    commands: tuple[str, ...] = ()
    """The commands that the script cannot do without, each with its subcommand (XGROUP CREATE)."""

    def __call__(
        self,
        keys: Sequence[str],
        args: Sequence[Argument],
        decode: Callable[[Any], T],
    ) -> Operation[T]:
        """Return the operation that runs this script, after checking the numbers of keys and arguments."""
        if len(keys) not in self.keys or len(args) not in self.args:
            msg = f"{self.name}: called with {len(keys)} keys and {len(args)} arguments, against its header"
            raise AssertionError(msg)
        return Operation(("EVALSHA", self.sha, len(keys), *keys, *args), decode, self)


def _count_range(header: str, kind: str) -> range:
    """Return how many KEYS or ARGV a header allows."""
    found = [bool(dots) for declared, dots in _PARAMETER.findall(header) if declared == kind]
    return range(len(found) - 1, sys.maxsize) if any(found) else range(len(found), len(found) + 1)


@cache
def read_include(package: str, name: str) -> str:
    """Return the text of an include: the one of ``package``, or else the shared one of ``_core``."""
    own = resources.files(package).joinpath("lua", "include", f"{name}.lua")
    shared = resources.files("edge_redis._core").joinpath("lua", f"{name}.lua")
    return (own if own.is_file() else shared).read_text("utf-8")


def load(package: str, name: str) -> Script:
    """Return the script ``lua/<name>.lua`` of ``package``."""
    text = resources.files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")
    source = _INCLUDE.sub(lambda match: read_include(package, match[1]), text)
    is_checked = has_write(source) and not _UNCHECKED.search(text)
    is_refused = is_checked if not _find_constant(package, "REFUSES_READS") else not _UNCHECKED.search(text)
    if is_refused and _find_constant(package, "MOVES_SHARDS") and not _IN_MOVED.search(text):
        header = _HEADER.match(text)
        at = header.end() if header else 0
        source = source[:at] + read_include("edge_redis._core", "moved") + source[at:]
    # Not for security: EVALSHA names a script by its SHA1.
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(
        f"{package.rpartition('.')[2].removeprefix('_')}/{name}",
        source,
        sha,
        _count_range(text, "KEYS"),
        _count_range(text, "ARGV"),
        _find_constant(package, "LAYOUT_VERSION") if is_checked else 0,
        creates_layout=not _NOT_CREATED.search(text),
        commands=find_required_commands(source),
    )


@cache
def _find_constant(package: str, name: str) -> int:
    """Return a constant of the package's keys; 0 where it has none, or no keys of its own."""
    if not resources.files(package).joinpath("keys.py").is_file():
        return 0
    return int(getattr(import_module(f"{package}.keys"), name, 0))
