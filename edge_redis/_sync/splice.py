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

MAX_RUNS: Final = 32
"""Runs of a splice at most; what differs beyond is one run."""

_ANCHOR_BYTES: Final = 24
"""Bytes that base and result must have in common for a run to be split. A run costs about as many."""


class _Run(NamedTuple):
    """A part that differs: from ``start`` to ``end`` of the base, and the same of the result."""

    start: int
    end: int
    result_start: int
    result_end: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return self.start == self.end and self.result_start == self.result_end


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
    """Return the parts that differ, in order.

    A part is split where a block of its base, from the middle or a quarter, is found in its result: at the same
    distance from the beginning or the end of the part, or anywhere.
    """
    whole = _trim(base, result, _Run(0, len(base), 0, len(result)))
    done: list[_Run] = []
    waiting = [whole]
    while waiting:
        run = waiting.pop()
        halves = _split(base, result, run) if len(done) + len(waiting) + 2 <= MAX_RUNS else None
        if halves is None:
            done.append(run)
        else:
            waiting += [half for half in reversed(halves) if not half.is_empty]
    return [run for run in done if not run.is_empty]


def _trim(base: bytes, result: bytes, run: _Run) -> _Run:
    """Return a run without what its base and its result have in common at both ends."""
    most = min(run.end - run.start, run.result_end - run.result_start)
    ahead = _common_after(base, run.start, result, run.result_start, most)
    behind = _common_before(base, run.end, result, run.result_end, most - ahead)
    return _Run(run.start + ahead, run.end - behind, run.result_start + ahead, run.result_end - behind)


def _split(base: bytes, result: bytes, run: _Run) -> tuple[_Run, _Run] | None:
    """Return what differs before and after a block that both have, None where none is found."""
    length, result_length = run.end - run.start, run.result_end - run.result_start
    if min(length, result_length) < _ANCHOR_BYTES:
        return None
    for quarter in (2, 1, 3):
        at = run.start + (length - _ANCHOR_BYTES) * quarter // 4
        found = _find_block(base, at, result, run)
        if found < 0:
            continue
        behind = _common_before(base, at, result, found, min(at - run.start, found - run.result_start))
        ahead = _common_after(base, at, result, found, min(run.end - at, run.result_end - found))
        return (
            _Run(run.start, at - behind, run.result_start, found - behind),
            _Run(at + ahead, run.end, found + ahead, run.result_end),
        )
    return None


def _find_block(base: bytes, at: int, result: bytes, run: _Run) -> int:
    """Return where the block at ``at`` of the base is in the run's result, -1 where it is not."""
    block = base[at : at + _ANCHOR_BYTES]
    for place in (run.result_start + at - run.start, run.result_end - (run.end - at)):
        if run.result_start <= place <= run.result_end - _ANCHOR_BYTES and result.startswith(block, place):
            return place
    return result.find(block, run.result_start, run.result_end)


def _common_after(base: bytes, at: int, result: bytes, result_at: int, most: int) -> int:
    """Return how many bytes, ``most`` at most, are the same from the two positions on."""
    known, high = 0, most
    while known < high:
        length = (known + high + 1) // 2
        if base[at + known : at + length] == result[result_at + known : result_at + length]:
            known = length
        else:
            high = length - 1
    return known


def _common_before(base: bytes, at: int, result: bytes, result_at: int, most: int) -> int:
    """Return how many bytes, ``most`` at most, are the same before the two positions."""
    known, high = 0, most
    while known < high:
        length = (known + high + 1) // 2
        if base[at - length : at - known] == result[result_at - length : result_at - known]:
            known = length
        else:
            high = length - 1
    return known
