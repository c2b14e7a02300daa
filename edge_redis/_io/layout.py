"""The checks before a script's first write (``_core/layout.py``) that a runner has made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edge_redis._core.layout import check_layout, check_shard_count
from edge_redis._core.operation import Operation


def _shard_tag(operation: Operation[Any]) -> str:
    """Return the hash tag of a script's keys, as in ``er:{<namespace>:cache0}``."""
    return str(operation.args[3]).partition("}")[0] + "}"


class LayoutChecks:
    """Remembers which scripts were checked on which shards."""

    __slots__ = ("_checked", "_counted")

    def __init__(self) -> None:
        self._checked: dict[str, set[str]] = {}
        self._counted: set[str] = set()
        """The records of shard 0 that were checked for shards other than it."""

    def is_due(self, operation: Operation[Any]) -> bool:
        """Return whether ``operation`` is a script that writes to a shard for the first time."""
        script = operation.script
        if script is None or not script.layout_version:
            return False
        checked = self._checked.get(script.sha)
        return checked is None or _shard_tag(operation) not in checked

    def find_due(self, operations: Sequence[Operation[Any]]) -> Iterator[tuple[Operation[Any], Operation[bool]]]:
        """Yield each of ``operations`` that must be checked before it is sent, with its check."""
        for operation in operations:
            script = operation.script
            if script is not None and self.is_due(operation):
                tag = _shard_tag(operation)
                count = check_shard_count(tag, script)
                if count is not None and count.args[3] not in self._counted:
                    yield operation, count
                    if script.creates_layout:  # the check was made, and has found or made the record
                        self._counted.add(str(count.args[3]))
                yield operation, check_layout(tag, script)

    def add(self, operation: Operation[Any]) -> None:
        """Remember that the script of ``operation`` was checked on its shard."""
        assert operation.script is not None
        self._checked.setdefault(operation.script.sha, set()).add(_shard_tag(operation))

    def clear(self) -> None:
        """Forget all checks, so that they are made again: the server may have lost its data."""
        self._checked.clear()
        self._counted.clear()
