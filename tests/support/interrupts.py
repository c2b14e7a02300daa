"""Exceptions raised at a chosen bytecode, as a signal handler can raise them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType
from typing import Any, Self

import edge_redis

PACKAGE = str(Path(edge_redis.__file__).parent)


class Interrupted(Exception):  # noqa: N818 -- named for what it is
    """Raised by a test between two bytecodes."""


class InterruptAt:
    """A context in which the ``nth`` bytecode of some files of the package raises Interrupted, or calls ``action``.

    ``files`` are paths below the package that the traced files begin with.
    """

    def __init__(self, nth: int, files: Collection[str], action: Callable[[], object] | None = None) -> None:
        self._left = nth
        self._files = tuple(f"{PACKAGE}/{name}" for name in files)
        self._action = action
        self.has_fired = False

    def __enter__(self) -> Self:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(self._files):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode" and not self.has_fired:
            self._left -= 1
            if self._left < 0:
                self._fire()
        return self._trace

    def _fire(self) -> None:
        self.has_fired = True
        if self._action is None:
            sys.settrace(None)
            raise Interrupted
        sys.settrace(None)
        self._action()
