"""Splices: a body as its difference from another body, as in ``lua/include/splice.lua``.

splice    <runs>:<replacements>
runs      offset length size of each run, all separated by spaces
run       ``length`` bytes of the base, ``offset`` bytes after the run before it, are replaced by ``size`` bytes

For example, ``10 2 3 400 8 8:abcdefghijk`` replaces bytes 10 and 11 by ``abc``, and bytes 412 to 419 by ``defghijk``.
The replacements are of the result, in order. Bodies are opaque here, and so every strategy has the same splices.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edge_redis.errors import CorruptDataError

MIN_BODY_BYTES: Final = 512
"""Smaller bodies are not spliced: with its names of base and result, a splice would save little."""

MAX_RUNS: Final = 128
"""Runs of a splice at most; what differs beyond is one run."""

_ANCHOR_BYTES: Final = 24
"""Bytes that base and result must have in common for a run to be split. A run costs about as many."""

_SURE_BYTES: Final = 256
"""A gain after which no other place is looked for: fewer may be a clock, a name and a number, as every field has."""

_NEAR_BYTES: Final = 256
"""Blocks within so many bytes are tried in any case: the best part may be that of a wrong field."""

_STEPS: Final = (0, *(16 << power for power in range(13)))
"""How far behind the beginning of a difference a block of the base is looked for in the result."""

_WINDOW_BYTES: Final = 4096
"""Bytes of the result that are searched for a block, besides twice the step."""

_MIN_SEARCH_BYTES: Final = 1024
"""Each search counts as so many bytes at least: of short ones there may be many."""

_MAX_SEARCHED_BYTES: Final = 512 * 1024
"""Bytes that are searched at most for all runs: a server makes splices too. What differs beyond is one run."""


class _Run(NamedTuple):
    """A part of the base from ``start`` to ``end``, and the part of the result that corresponds to it."""

    start: int
    end: int
    result_start: int
    result_end: int


def make_splice(base: bytes, result: bytes) -> bytes | None:
    """Return the splice that makes ``result`` of ``base``, None where it would be no smaller than half of it."""
    if len(result) < MIN_BODY_BYTES or not base:
        return None
    numbers: list[int] = []
    replacements: list[bytes] = []
    end = size = 0
    for run in _find_runs(base, result):
        replacement = result[run.result_start : run.result_end]
        numbers += (run.start - end, run.end - run.start, len(replacement))
        replacements.append(replacement)
        end, size = run.end, size + len(replacement)
    if 2 * size > len(result):
        return None
    return " ".join(map(str, numbers)).encode() + b":" + b"".join(replacements)


def apply_splice(base: bytes, splice: bytes) -> bytes:
    """Return the result of a splice. The caller compares the checksums of the base and of the result.

    Raises:
        CorruptDataError: the splice is damaged, or was made of another base.

    """
    head, separator, replacements = splice.partition(b":")
    words = head.split(b" ") if head else []
    if not separator or len(words) % 3 or len(words) > 3 * MAX_RUNS:
        raise _damaged("its runs are not complete")
    if not all(word.isdigit() and len(word) < 10 for word in words):  # noqa: PLR2004 -- digits of a length in bytes
        raise _damaged("a number is none")
    parts: list[bytes] = []
    position = taken = 0
    for index in range(0, len(words), 3):
        offset, length, size = map(int, words[index : index + 3])
        start = position + offset
        if start + length > len(base) or taken + size > len(replacements):
            raise _damaged("a run is outside the base")
        parts += (base[position:start], replacements[taken : taken + size])
        position, taken = start + length, taken + size
    if taken != len(replacements):
        raise _damaged("bytes are left over")
    return b"".join((*parts, base[position:]))


def _damaged(reason: str) -> CorruptDataError:
    return CorruptDataError(f"a splice is damaged: {reason}")


def _find_runs(base: bytes, result: bytes) -> list[_Run]:
    """Return the parts that differ, in order: each ends where a block of the base is found again in the result."""
    most = min(len(base), len(result))
    at = result_at = _common_after(base, 0, result, 0, most)
    behind = _common_before(base, len(base), result, len(result), most - at)
    end, result_end = len(base) - behind, len(result) - behind
    runs: list[_Run] = []
    searched = 0
    while at < end or result_at < result_end:
        common = None
        if len(runs) < MAX_RUNS - 1 and searched < _MAX_SEARCHED_BYTES:
            common, count = _find_common(base, result, _Run(at, end, result_at, result_end))
            searched += count
        if common is None:
            runs.append(_Run(at, end, result_at, result_end))
            break
        runs.append(_Run(at, common.start, result_at, common.result_start))
        at, result_at = common.end, common.result_end
    return runs


def _find_common(base: bytes, result: bytes, rest: _Run) -> tuple[_Run | None, int]:
    """Return the next part that both have in common, None where none is found, and how many bytes were searched.

    A part gains its own bytes and costs those of the result before it. The block at a step may be found in a wrong
    field, so blocks are tried up to about twice as far as the best part goes.
    """
    best, gained, searched = None, -len(result), 0
    for step in _STEPS:
        at = rest.start + step
        is_far = best is not None and (gained >= _SURE_BYTES or step > max(_NEAR_BYTES, 2 * (best.end - rest.start)))
        if at + _ANCHOR_BYTES > rest.end or is_far:
            break
        limit = min(rest.result_end, rest.result_start + 2 * step + _WINDOW_BYTES)
        place = result.find(base[at : at + _ANCHOR_BYTES], rest.result_start, limit)
        searched += max(_MIN_SEARCH_BYTES, (limit if place < 0 else place) - rest.result_start)
        if place < 0:
            continue
        behind = _common_before(base, at, result, place, min(step, place - rest.result_start))
        ahead = _common_after(base, at, result, place, min(rest.end - at, rest.result_end - place))
        gain = 2 * behind + ahead - (place - rest.result_start)
        if gain > gained:
            best, gained = _Run(at - behind, at + ahead, place - behind, place + ahead), gain
    return best, searched


def _common_after(base: bytes, at: int, result: bytes, result_at: int, most: int) -> int:
    """Return how many bytes, ``most`` at most, are the same from the two positions on: by doubling, then by halving."""
    known, high, size = 0, most, _ANCHOR_BYTES
    while known < high:
        length = min(known + size, high) if size else (known + high + 1) // 2
        if base[at + known : at + length] == result[result_at + known : result_at + length]:
            known, size = length, 2 * size
        else:
            high, size = length - 1, 0
    return known


def _common_before(base: bytes, at: int, result: bytes, result_at: int, most: int) -> int:
    """Return how many bytes, ``most`` at most, are the same before the two positions."""
    known, high, size = 0, most, _ANCHOR_BYTES
    while known < high:
        length = min(known + size, high) if size else (known + high + 1) // 2
        if base[at - length : at - known] == result[result_at - length : result_at - known]:
            known, size = length, 2 * size
        else:
            high, size = length - 1, 0
    return known
