"""Names of keys. Each shard of a component has one hash tag, so that all keys of a script are in one slot.

    er:{<namespace>:<component><shard>}:<kind>[:<name>]

The layout version is not part of a name: it has its own key (``layout.py``).
"""

from __future__ import annotations

from typing import Final

from edge_redis._core import validation

PREFIX: Final = "er"
MAX_NAMESPACE_BYTES: Final = 256


def check_namespace(namespace: object) -> str:
    """Return ``namespace`` where it is valid.

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
        self.tag = f"{PREFIX}:{{{check_namespace(namespace)}:{component}{shard}}}"

    def key(self, kind: str, name: str | None = None) -> str:
        """Return the key of a kind, such as ``stats``; with ``name``, that of one of several, such as of one entry."""
        return f"{self.tag}:{kind}" if name is None else f"{self.tag}:{kind}:{name}"


def is_of_namespace(key: bytes, namespace: str) -> bool:
    """Return whether a component of ``namespace`` writes this key.

    A namespace may contain colons, so the last colon of the hash tag separates it from the component.
    """
    prefix, _, rest = key.partition(b"{")
    tag, _, name = rest.partition(b"}:")
    return prefix == f"{PREFIX}:".encode() and bool(name) and tag.rpartition(b":")[0] == namespace.encode()


def is_of_component(key: bytes, component: str) -> bool:
    """Return whether a key of a namespace is one of this component, in any of its shards."""
    shard = key.partition(b"}")[0].rpartition(b":")[2]
    return shard.rstrip(b"0123456789.") == component.encode()
