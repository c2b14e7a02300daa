"""Names of keys: one hash tag a component and shard, so that all keys of one script are in one slot.

    er:{<namespace>:<component><shard>}:<what>[:<id>]

The version of the layout is not part of a name: it has a key of its own (``layout.py``).
"""

from __future__ import annotations

from typing import Final

from edge_redis._core import validation

PREFIX: Final = "er"
MAX_NAMESPACE_BYTES: Final = 256


def namespace_name(namespace: object) -> str:
    """Return a valid namespace.

    Raises:
        InvalidKeyError: empty, too long, or with a brace, which would move the hash tag.
        InvalidTypeError: not a str.

    """
    name = validation.check_identifier("namespace", namespace, limit=MAX_NAMESPACE_BYTES)
    if "{" in name or "}" in name:
        raise validation.key_error("namespace", name, "must not contain braces")
    return name


class KeySpace:
    """The keys of one component and shard in one namespace."""

    __slots__ = ("tag",)

    def __init__(self, namespace: str, component: str, shard: int | str = 0) -> None:
        self.tag = f"{PREFIX}:{{{namespace_name(namespace)}:{component}{shard}}}"

    def key(self, what: str, name: str | None = None) -> str:
        """Return the key of ``what``, of ``name`` where there are many."""
        return f"{self.tag}:{what}" if name is None else f"{self.tag}:{what}:{name}"


def is_of_namespace(key: bytes, namespace: str) -> bool:
    """Return whether a key is one that a component writes for ``namespace``.

    A namespace may contain colons, so the last colon of the hash tag separates it from the component.
    """
    prefix, _, rest = key.partition(b"{")
    tag, _, what = rest.partition(b"}:")
    return prefix == f"{PREFIX}:".encode() and bool(what) and tag.rpartition(b":")[0] == namespace.encode()
