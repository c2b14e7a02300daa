"""Lists of strings that a script replies as one string, by ``packing.lua``: replies are parsed string by string."""

from __future__ import annotations

from itertools import accumulate, pairwise


def unpack_strings(packed: bytes) -> list[bytes]:
    """Return the strings that ``pack_strings`` has put into one."""
    lengths, _, body = packed.partition(b"\n")
    ends = accumulate(map(int, lengths.split()), initial=0)
    return [body[start:end] for start, end in pairwise(ends)]


def unpack_rows(packed: bytes, columns: int) -> list[list[bytes]]:
    """Return the rows whose strings ``pack_strings`` has put into one, so many columns each."""
    words = unpack_strings(packed)
    return [words[at : at + columns] for at in range(0, len(words), columns)]
