"""Reads append-only files: every write of a server that ever took effect, in order, each script as one block.

With ``appendfsync always`` nothing was answered that is not in there, and with rewriting off
nothing leaves it. So it tells what no reply could, of a writer that was killed for instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

Command = list[bytes]
Block = list[Command]


def _commands(data: bytes, at: int) -> Iterator[tuple[Command, int]]:
    """Yield the whole commands of ``data`` from a place on, and the place after each."""
    end = len(data)
    while at < end:
        line = data.find(b"\r\n", at)
        if line < 0 or data[at : at + 1] != b"*":
            return
        count, at = int(data[at + 1 : line]), line + 2
        words: Command = []
        for _ in range(count):
            line = data.find(b"\r\n", at)
            if line < 0:
                return
            size, start = int(data[at + 1 : line]), line + 2
            if start + size + 2 > end:
                return
            words.append(data[start : start + size])
            at = start + size + 2
        yield words, at


class Tail:
    """Follows a server's files, block by block, from where it was the last time."""

    def __init__(self) -> None:
        self._places: dict[Path, int] = {}

    def new_blocks(self, files: list[Path]) -> Iterator[Block]:
        """Yield the blocks that are new, while the server does nothing: one write, or all those of one script."""
        for path in files:
            start = self._places.get(path, 0)
            with path.open("rb") as file:
                file.seek(start)
                data = file.read()
            block: Block | None = None
            for words, after in _commands(data, 0):
                name = words[0].upper()
                if name == b"MULTI":
                    block = []
                elif name == b"EXEC":
                    yield block or []
                    block = None
                elif block is not None:
                    block.append(words)
                else:
                    yield [words]
                if block is None:
                    self._places[path] = start + after
