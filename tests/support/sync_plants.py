"""Mistakes that are easily made in a protocol of this kind, planted into the scripts.

The deterministic simulation (``support.sync_world``) and the history checker (``support.history``)
plant the same ones. What finds nothing shows nothing unless it finds what is there.

``Runner`` also lets the clock of a server run ahead or behind: every reading of it that decides
anything passes through it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from edge_redis._core.operation import Batch, Operation
from edge_redis._core.script import Script
from edge_redis._io.blocking_runner import BlockingRunner

Rewrites = tuple[tuple[str, str], ...]


@lru_cache(1000)
def rewritten(script: Script, rewrites: Rewrites) -> Script:
    """Return a script with some of its text replaced."""
    source = script.source
    for old, new in rewrites:
        source = source.replace(old, new)
    return replace(script, source=source, sha=hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def skewed(seconds: int) -> Rewrites:
    """Return what makes a server's clock run ahead by so many seconds, or behind."""
    shifted = f"(function() local t = redis.call('TIME') return {{t[1] + {seconds}, t[2]}} end)()"
    return (("redis.call('TIME')", shifted),) if seconds else ()


class Runner(BlockingRunner):
    """Runs the scripts with some of their text replaced, on a server whose clock is off by ``skew()`` seconds."""

    def __init__(self, client: Any, rewrites: Rewrites, skew: Callable[[], int] = lambda: 0) -> None:
        super().__init__(client)
        self._rewrites = rewrites
        self._skew = skew

    def _mine(self, operation: Operation[Any]) -> Operation[Any]:
        skew = self._skew()
        if operation.script is None:
            if operation.args == ("TIME",) and skew:
                return Operation(operation.args, lambda reply: operation.decode([reply[0] + skew, reply[1]]))
            return operation
        rewrites = (*self._rewrites, *skewed(skew))
        if not rewrites:
            return operation
        script = rewritten(operation.script, rewrites)
        return Operation(("EVALSHA", script.sha, *operation.args[2:]), operation.decode, script)

    def perform_operation(self, operation: Operation[Any]) -> Any:
        return super().perform_operation(self._mine(operation))

    def perform_batch(self, batch: Batch[Any]) -> list[Any]:
        mine = Batch(
            [*map(self._mine, batch.operations)], ordered=batch.ordered, return_exceptions=batch.return_exceptions
        )
        return super().perform_batch(mine)


@dataclass(frozen=True)
class Plant:
    """A mistake: text of the scripts replaced."""

    rewrites: Rewrites = ()


_COALESCED = "redis.call('XACK', pending, group, entry[1])"
_ADD = "  reply[#reply + 1] = format_entry(pending, entry, tries[entry.id] or 1, checksum_before)\n"
_LAST_PAGE = "  if #entries < page then return reply end\n"
_FULL_PAGE = "  left = left - page\nend\nreturn reply\n"
_REMOVE_IF_EMPTY = "if #reply == 1 then redis.call('ZREM', work, scope) end"
_LEFT = "local left = entry_from(pending, integer(up_to + 1))"
_TRIM = "redis.call('XTRIM', pending, 'MINID', integer(up_to + 1) .. '-0')"

ACKNOWLEDGE_FIRST: Rewrites = ((_ADD, f"""{_ADD}
  redis.call('XACK', pending, group, entry.id) -- whatever a worker is given counts as done
  redis.call('XDEL', pending, entry.id)
"""),)  # fmt: skip

TRIM_BY_DELIVERED: Rewrites = ((_LEFT, """local given = up_to -- what any worker was given goes too
for _, info in ipairs(redis.call('XLEN', pending) > 0 and redis.call('XINFO', 'GROUPS', pending) or {}) do
  for i = 1, #info, 2 do
    if info[i] == 'last-delivered-id' then given = tonumber(string.match(info[i + 1], '^%d+')) end
  end
end
local left = entry_from(pending, integer(given + 1))"""), (_TRIM, _TRIM.replace("up_to", "given")))  # fmt: skip

NO_TIE_BREAK: Rewrites = (
    (
        "if state.version ~= current.version then return state.version > current.version end",
        "if true then return state.version > current.version end",
    ),
)

WALL_CLOCKS: Rewrites = (("  if earlier(latest, now) then return now end\n", "  if true then return now end\n"),)

STOP_ON_AN_EMPTY_PAGE: Rewrites = (
    (_COALESCED, ""),
    (_LAST_PAGE, f"  if #entries < page then {_REMOVE_IF_EMPTY} return reply end\n"),
    (_FULL_PAGE, f"  left = left - page\nend\n{_REMOVE_IF_EMPTY}\nreturn reply\n"),
)

BY_SEQUENCE: Rewrites = (
    ("name == '' and replica_id or name .. SEPARATOR .. replica_id", "name == '' and replica_id or name"),
    (
        "  if is_the_seen(state, seen) then return true end\n",
        "  if state.version <= seen.version then return true end\n",
    ),
    ("  if not seen or is_the_seen(state, seen) or not earlier(seen.clock, state.clock) then", "  if true then"),
    ("  if (state.version < current.version) ~= earlier(state.clock, current.clock) then", "  if false then"),
)

RUNS: Rewrites = (
    ("redis.pcall('LASTSAVE')", "tonumber(redis.call('GET', '{run}'))"),
    ("redis.pcall('INFO', 'server')", "'run_id:' .. redis.call('GET', '{run}')"),
)
"""No mistake: a simulated server tells its run, the number in a key."""

PLANTS: dict[str, Plant] = {
    "acknowledge before apply": Plant(ACKNOWLEDGE_FIRST),
    "no tie-break": Plant(NO_TIE_BREAK),
    "wall clocks": Plant(WALL_CLOCKS),
    "trim by delivered id": Plant(TRIM_BY_DELIVERED),
    "stop on an empty claim page": Plant(STOP_ON_AN_EMPTY_PAGE),
    "deduplicate by sequence after a wipe": Plant(BY_SEQUENCE),
}

SPLICE_PLANTS: dict[str, Rewrites] = {
    "the base is not compared": (("current and current.checksum == state.base and redis", "current and redis"),),
    "the document for the change before": (
        ("then return before end", "then return redis.call('HGET', doc, 'data') end"),
    ),
    "a byte of the base is left out": (
        (
            "parts[#parts + 1] = string.sub(base, position + 1)\n",
            "parts[#parts + 1] = string.sub(base, position + 2)\n",
        ),
    ),
    "runs count from the beginning": (("local start, size = position + numbers[i]", "local start, size = numbers[i]"),),
}
"""Mistakes in how a script rebuilds a body."""
