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
``idempotent``, or ``remembered`` (by idempotency key), followed by any detail. ``Reply`` is a
shape, a colon and what it means::

    shapes   = shape { "|" shape }          any of these
    shape    = "integer" | "string" | "number" | "nil" | "any" | literal | array
    literal  = "'" text "'"                 exactly this string; "*" at its end stands for any text
    array    = "[" [ item { "," item } ] "]"
    item     = shapes [ "..." ]             with dots, as the last item: zero or more of these

A ``string`` is bytes, a ``number`` is bytes that spell a decimal number, ``nil`` is Lua's false or
nil. A long line continues in lines that begin with ``--`` and three spaces. A line ``-- include: NAME`` is replaced by
``lua/include/NAME.lua`` of the package where there is one, else by ``_core/lua/NAME.lua``; an
include says in ``-- Needs:`` which names it takes from the script around it.
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

_PARAMETER: Final = re.compile(r"^-- (KEYS|ARGV)\[(\d+)(\.\.)?\]", re.MULTILINE)
_INCLUDE: Final = re.compile(r"^-- include: (\w+)$", re.MULTILINE)
_UNCHECKED: Final = re.compile(r"^-- Layout: unchecked", re.MULTILINE)
_NOT_CREATED: Final = re.compile(r"^-- Layout: not created", re.MULTILINE)
_COMMAND: Final = re.compile(r"redis\.p?call\('(?:(XGROUP|XINFO)', '([A-Z]+)'|([A-Z]+)')")
_OPTIONAL: Final = frozenset({"PUBLISH"})
"""Commands that scripts try with ``pcall``: a user without the right to them writes all the same."""
_CALL: Final = re.compile(r"redis\.p?call\('([A-Z]+)'")
# fmt: off
_READS: Final = frozenset(
    {
        "EXISTS", "GET", "GETRANGE", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HSCAN",
        "HSTRLEN", "HVALS", "LLEN", "LRANGE", "MGET", "PTTL", "PUBLISH", "SCARD", "SISMEMBER", "SMEMBERS",
        "SMISMEMBER", "SSCAN", "STRLEN", "TIME", "TTL", "TYPE", "XINFO", "XLEN", "XPENDING", "XRANGE",
        "XREVRANGE", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZRANK", "ZREVRANGE", "ZREVRANGEBYSCORE",
        "ZSCAN", "ZSCORE",
    }
)
# fmt: on
"""Commands of scripts that change no key."""


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
    """Layout version of the keys that the script writes; 0 for a script that is not checked, as one that only reads."""
    creates_layout: bool = False
    """Whether the check creates the layout version where there is none."""
    commands: tuple[str, ...] = ()
    """The commands that the script needs; of a container command, with the subcommand (XGROUP CREATE)."""

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
    found = [(int(index), bool(dots)) for what, index, dots in _PARAMETER.findall(header) if what == kind]
    is_open = any(dots for _, dots in found)
    return range(len(found) - 1, sys.maxsize) if is_open else range(len(found), len(found) + 1)


@cache
def _included(package: str, name: str) -> str:
    own = resources.files(package).joinpath("lua", "include", f"{name}.lua")
    shared = resources.files("edge_redis._core").joinpath("lua", f"{name}.lua")
    return (own if own.is_file() else shared).read_text("utf-8")


def load(package: str, name: str) -> Script:
    """Return the script ``lua/<name>.lua`` of ``package``."""
    text = resources.files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")
    source = _INCLUDE.sub(lambda match: _included(package, match[1]), text)
    # Not for security: EVALSHA names a script by its SHA1.
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    is_checked = _is_write(source) and not _UNCHECKED.search(text)
    return Script(
        f"{package.rpartition('.')[2].removeprefix('_')}/{name}",
        source,
        sha,
        _count_range(text, "KEYS"),
        _count_range(text, "ARGV"),
        _layout_version(package) if is_checked else 0,
        creates_layout=not _NOT_CREATED.search(text),
        commands=tuple(each for each in _find_commands(source) if each not in _OPTIONAL),
    )


def _find_commands(source: str) -> tuple[str, ...]:
    return tuple(sorted({" ".join(filter(None, words)) for words in _COMMAND.findall(source)}))


def find_all_commands() -> tuple[str, ...]:
    """Return the commands that any script of any component runs."""
    packages = [each for each in resources.files("edge_redis").iterdir() if each.joinpath("lua").is_dir()]
    return tuple(sorted({command for each in packages for command in find_package_commands(f"edge_redis.{each.name}")}))


@cache
def find_package_commands(package: str) -> tuple[str, ...]:
    """Return the commands that the scripts of a package run."""
    lua = resources.files(package).joinpath("lua")
    folders = [folder for folder in (lua, lua.joinpath("include")) if folder.is_dir()]
    files = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".lua")]
    return _find_commands("\n".join(file.read_text("utf-8") for file in files))


def is_read(command: str) -> bool:
    """Return whether a command, given with its subcommand, changes no key."""
    return command.partition(" ")[0] in _READS


def _is_write(source: str) -> bool:
    return not _READS.issuperset(_CALL.findall(source))


@cache
def _layout_version(package: str) -> int:
    """Return ``LAYOUT_VERSION`` of the package's keys; 0 for a package without keys of its own."""
    if not resources.files(package).joinpath("keys.py").is_file():
        return 0
    return int(getattr(import_module(f"{package}.keys"), "LAYOUT_VERSION", 0))
