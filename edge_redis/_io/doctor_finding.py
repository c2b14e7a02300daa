"""The result of one check of a server or a namespace."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """The result of one check. ``fail``: change it before use; ``warn``: a risk."""

    level: Level
    topic: str
    text: str
    node: str | None = None
    """Address of the server, where there are several."""
