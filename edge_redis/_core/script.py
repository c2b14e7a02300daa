"""Lua scripts: read from a room's ``lua/`` folder, with their header parsed and enforced.

A script file starts with comment lines that are its contract::

    -- Store a value, evicting where the cache is full.
    -- KEYS[1] value       string  the entry
    -- KEYS[2..] victims   string  every further key has this meaning
    -- ARGV[1] ttl_ms      integer
    -- Reply: integer, entries evicted
    -- Invariant: live entries never exceed max_size
    -- Repeat: idempotent

``Repeat`` says what happens when the server runs it twice because a reply was lost:
``idempotent``, or ``remembered`` (by operation id), followed by any detail. A line
``-- include: NAME`` is replaced by ``lua/include/NAME.lua`` of the room where it has one,
else by ``core/lua/NAME.lua``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from edge_redis._core.operation import Argument, Operation, T

_PARAMETER: Final = re.compile(r"^-- (KEYS|ARGV)\[(\d+)(\.\.)?\]", re.MULTILINE)
_INCLUDE: Final = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Arity:
    """How many KEYS or ARGV a script takes: exactly ``count``, or at least that where ``open``."""

    count: int
    open: bool

    def admits(self, given: int) -> bool:
        """Whether this many were declared."""
        return given >= self.count if self.open else given == self.count


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A Lua script and its SHA1, by which the server knows it."""

    name: str
    source: str
    sha: str
    keys: Arity
    args: Arity

    def __call__(
        self,
        keys: Sequence[str],
        args: Sequence[Argument],
        decode: Callable[[Any], T],
    ) -> Operation[T]:
        """Return the operation that runs this script, its arity checked against the header."""
        if not (self.keys.admits(len(keys)) and self.args.admits(len(args))):
            msg = f"{self.name}: called with {len(keys)} keys and {len(args)} arguments, against its header"
            raise AssertionError(msg)
        return Operation(("EVALSHA", self.sha, len(keys), *keys, *args), decode, self)


def _arity(header: str, kind: str) -> Arity:
    found = [(int(index), bool(dots)) for what, index, dots in _PARAMETER.findall(header) if what == kind]
    is_open = any(dots for _, dots in found)
    return Arity(len(found) - is_open, is_open)


@cache
def _included(package: str, name: str) -> str:
    own = resources.files(package).joinpath("lua", "include", f"{name}.lua")
    shared = resources.files("edge_redis._core").joinpath("lua", f"{name}.lua")
    return (own if own.is_file() else shared).read_text("utf-8")


def load(package: str, name: str) -> Script:
    """Return the script ``lua/<name>.lua`` of ``package``."""
    text = resources.files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")
    source = _INCLUDE.sub(lambda match: _included(package, match[1]), text)
    # Not for security: this is the name under which the server files a script.
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(
        f"{package.rpartition('.')[2].removeprefix('_')}/{name}",
        source,
        sha,
        _arity(text, "KEYS"),
        _arity(text, "ARGV"),
    )
