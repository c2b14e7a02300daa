"""Which shards a runner has found to have the layout version of this release."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edge_redis._core.layout import check_layout
from edge_redis._core.operation import Operation


class LayoutChecks:
    """Remembers the shards whose layout version was checked, by their hash tag."""

    __slots__ = ("_checked",)

    def __init__(self) -> None:
        self._checked: set[str] = set()

    def is_due(self, operation: Operation[Any]) -> bool:
        """Return whether ``operation`` writes to a shard that was not checked yet."""
        script = operation.script
        return (
            script is not None
            and script.layout_version != 0
            and str(operation.args[3]).partition("}")[0] not in self._checked
        )

    def find_due(self, operations: Sequence[Operation[Any]]) -> Iterator[tuple[str, Operation[bool]]]:
        """Yield each shard that is to be checked before ``operations``, and the check."""
        for operation in operations:
            script = operation.script
            if script is not None and self.is_due(operation):
                shard = str(operation.args[3]).partition("}")[0]
                yield shard, check_layout(f"{shard}}}", script)

    def add(self, shard: str) -> None:
        """Remember that a shard has the layout version of this release."""
        self._checked.add(shard)

    def clear(self) -> None:
        """Check every shard again: the server may have lost its data."""
        self._checked.clear()
