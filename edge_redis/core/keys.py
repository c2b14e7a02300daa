"""Names of keys: one hash tag a room and shard, so that whatever one script touches is in one slot.

    er:{<namespace>:<room><shard>}:<what>[:<id>]

The layout's version is in the prefix: a later, incompatible layout takes another one.
"""

from __future__ import annotations

from typing import Final

from edge_redis.core import check

PREFIX: Final = "er"
MAX_NAMESPACE_BYTES: Final = 256


def namespace_name(namespace: object) -> str:
    """Return a valid namespace.

    Raises:
        InvalidKeyError: empty, too long, or with a brace, which would move the hash tag.
        InvalidTypeError: not a str.

    """
    name = check.identifier("namespace", namespace, limit=MAX_NAMESPACE_BYTES)
    if "{" in name or "}" in name:
        raise check.key_error("namespace", name, "must not contain braces")
    return name


class Room:
    """The keys of one room and shard in one namespace."""

    __slots__ = ("tag",)

    def __init__(self, namespace: str, room: str, shard: int | str = 0) -> None:
        self.tag = f"{PREFIX}:{{{namespace_name(namespace)}:{room}{shard}}}"

    def key(self, what: str, name: str | None = None) -> str:
        """Return the key of ``what``, of ``name`` where there are many."""
        return f"{self.tag}:{what}" if name is None else f"{self.tag}:{what}:{name}"
