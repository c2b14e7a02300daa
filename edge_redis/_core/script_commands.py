"""The server's commands that Lua scripts run, found in their source."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Final

_CALL: Final = re.compile(r"redis\.p?call\('([A-Z]+)'")
_COMMAND: Final = re.compile(r"redis\.p?call\('(?:(XGROUP|XINFO)', '([A-Z]+)'|([A-Z]+)')")
"""A call, with the subcommand of those container commands whose subcommands differ in their rights."""

_OPTIONAL: Final = frozenset({"PUBLISH"})
"""Commands that scripts call by ``pcall`` and can do without: a user may lack the right to them."""

_OF_OPERATORS: Final = frozenset({"RESTORE"})
"""Commands of scripts that nothing but a change of the number of shards runs, which is for operators."""

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
"""The commands, among those of scripts, that change no key."""


def has_write(source: str) -> bool:
    """Return whether a script changes a key."""
    return not _READS.issuperset(_CALL.findall(source))


def find_commands(source: str) -> tuple[str, ...]:
    """Return the commands of a script, in order, each with its subcommand (XGROUP CREATE)."""
    return tuple(sorted({" ".join(filter(None, words)) for words in _COMMAND.findall(source)}))


def find_required_commands(source: str) -> tuple[str, ...]:
    """Return the commands that a script cannot do without."""
    return tuple(each for each in find_commands(source) if each not in _OPTIONAL)


def find_all_commands() -> tuple[str, ...]:
    """Return the commands that any script of any component runs."""
    packages = [each for each in resources.files("edge_redis").iterdir() if each.joinpath("lua").is_dir()]
    return tuple(sorted({command for each in packages for command in find_package_commands(f"edge_redis.{each.name}")}))


@cache
def find_package_commands(package: str) -> tuple[str, ...]:
    """Return the commands that the scripts of a package run, those for operators aside."""
    lua = resources.files(package).joinpath("lua")
    folders = [folder for folder in (lua, lua.joinpath("include")) if folder.is_dir()]
    files = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".lua")]
    found = find_commands("\n".join(file.read_text("utf-8") for file in files))
    return tuple(each for each in found if each not in _OF_OPERATORS)


def is_read(command: str) -> bool:
    """Return whether a command, given with its subcommand, changes no key."""
    return command.partition(" ")[0] in _READS
