"""The checks before a script's first write: the layout version of the component's keys, and the user's rights.

Every shard of a component has one key ``<tag>:layout`` that holds the layout version under which
its keys were written (``LAYOUT_VERSION`` in the component's ``keys.py``). A service checks the key
before its first write to a shard, and again when the server has lost its scripts, as after a
restart or a failover. A missing key is created; another version is refused before anything is
written. Later writes are not checked. The policy for changing a layout is in docs/decisions.

A component with several shards (``shards.py``) has their number behind the version in the record of
shard 0, as in ``1/16`` (``shard_record.py``), also where shard 0 holds nothing else: so processes that would spread
keys over other numbers of shards refuse each other. It is checked with each shard's own record.

The same check asks whether this user may run every command of the script: a command that is
refused in the middle of a script would leave half a change.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from edge_redis._core.operation import Operation
from edge_redis._core.script import Script, load
from edge_redis._core.shard_record import ShardRecord, parse
from edge_redis._core.slots import count_in_part
from edge_redis.errors import InvalidArgumentError, LayoutVersionError

_SHARD: Final = re.compile(r"([^{]*\{)(.*?:\D+)(\d+)\.(\d+)\.(\d+)\}", re.DOTALL)
"""The hash tag of one of several shards: namespace and component, the number of shards, its own, and the attempt."""

_CHECK: Final = load("edge_redis._core", "layout_version")
_REPLACE: Final = load("edge_redis._core", "replace_record")


class OtherShardsError(InvalidArgumentError):
    """A script was to write to a shard of a number that the component does not have. Nothing was written."""


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
    expected = str(script.layout_version)

    def decode(reply: bytes | None) -> bool:
        if reply is not None and reply != expected.encode() and not _is_listed(reply, expected, 1):
            _refuse(tag, reply, expected)
        return reply is not None

    return _CHECK([layout_key(tag)], [expected, int(script.creates_layout), *script.commands], decode)


def check_shard_count(tag: str, script: Script) -> Operation[bool] | None:
    """Return the operation that checks the record of shard 0 for a shard with this hash tag; None where it is that.

    Its result is always false: the shard itself is still to be checked.

    A restart without data takes this record too: a script that creates its shard's record creates this one.

    Raises:
        InvalidArgumentError: by the operation, if the component has another number of shards.
        LayoutVersionError: by the operation, if shard 0 has another version.

    """
    found = _SHARD.fullmatch(tag)
    if found is None:
        return None
    home, version, shards = f"{found[1]}{found[2]}0}}", str(script.layout_version), int(found[3])
    passed = count_in_part(found[2], f"{shards}.{found[4]}.", int(found[4]), shards, int(found[5]))

    def decode(reply: bytes | None) -> bool:
        if reply is not None and not _is_listed(reply, version, shards):
            _refuse(home, reply, version, shards)
        return False

    return _CHECK(
        [layout_key(home)], [str(ShardRecord(version, shards, generation=passed)), int(script.creates_layout)], decode
    )


def _is_listed(reply: bytes, version: str, shards: int) -> bool:
    """Return whether a record has this layout version, and some shards of this number of them are written to."""
    record = parse(reply)
    return record is not None and record.version == version and shards in record.numbers


def store_record(tag: str, record: ShardRecord) -> Operation[ShardRecord]:
    """Store the record of a component's shards, by the tag of shard 0, where none is stored; return the stored one.

    Raises:
        LayoutVersionError: by the operation, if the shard has another version.

    """

    def decode(reply: bytes) -> ShardRecord:
        stored = parse(reply)
        if stored is None or stored.version != record.version:
            _refuse(tag, reply, record.version, record.shards)
        return stored

    return _CHECK([layout_key(tag)], [str(record), 1], decode)


def replace_record(tag: str, old: ShardRecord, new: ShardRecord) -> Operation[ShardRecord | None]:
    """Replace the record by the tag of shard 0, where it is still ``old``; return the one that is stored then."""
    return _REPLACE([layout_key(tag)], [str(old), str(new)], find_record)


def find_record(reply: bytes | None) -> ShardRecord | None:
    """Return the record that a reply has, None where there is none; a damaged one counts as one shard."""
    return None if reply is None else parse(reply) or ShardRecord(reply.decode(errors="replace"))


def _refuse(tag: str, found: bytes, version: str, shards: int = 1) -> NoReturn:
    stored = parse(found)
    if stored is not None and stored.version == version:
        raise OtherShardsError(
            f"the keys of {tag} are in {stored.shards} shards, and this process was to use {shards}:"
            " nothing was written"
        )
    raise LayoutVersionError(
        f"the keys of {tag} have layout version {found.decode(errors='replace')}, and this release of"
        f" edge_redis writes version {version}: use one release for all processes of a namespace"
    )
