"""The checks before a script's first write: the layout version of the component's keys, and the user's rights.

Every shard of a component has one key ``<tag>:layout`` that holds the layout version under which
its keys were written (``LAYOUT_VERSION`` in the component's ``keys.py``). A service checks the key
before its first write to a shard, and again when the server has lost its scripts, as after a
restart or a failover. A missing key is created; another version is refused before anything is
written. Later writes are not checked. The policy for changing a layout is in docs/decisions.

The same check asks whether this user may run every command of the script: a command that is
refused in the middle of a script would leave half a change.
"""

from __future__ import annotations

from typing import Final

from edge_redis._core.operation import Operation
from edge_redis._core.script import Script, load
from edge_redis.errors import LayoutVersionError

_CHECK: Final = load("edge_redis._core", "layout_version")


def layout_key(tag: str) -> str:
    """Return the key that holds the layout version of the shard with this hash tag."""
    return f"{tag}:layout"


def check_layout(tag: str, script: Script) -> Operation[bool]:
    """Return the operation that checks a shard's layout version and the user's rights to run ``script``.

    Its result is whether the shard has a layout version now: a script that only changes existing keys
    (``-- Layout: not created``) does not create one.

    Raises:
        LayoutVersionError: by the operation, if the shard has another version.

    """
    expected = script.layout_version

    def decode(reply: bytes | None) -> bool:
        if reply is not None and reply != str(expected).encode():
            raise LayoutVersionError(
                f"the keys of {tag} have layout version {reply.decode(errors='replace')}, and this release of"
                f" edge_redis writes version {expected}: use one release for all processes of a namespace"
            )
        return reply is not None

    return _CHECK([layout_key(tag)], [expected, int(script.creates_layout), *script.commands], decode)
