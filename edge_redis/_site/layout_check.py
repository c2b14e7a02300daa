"""Checks the layout version of every shard of a namespace's components. Writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from edge_redis._cache import keys as cache_keys
from edge_redis._core.keys import KeySpace
from edge_redis._core.layout import find_record, layout_key
from edge_redis._core.operation import Batch, Operation, command
from edge_redis._core.shard_record import ShardRecord, parse
from edge_redis._core.shards import name_shards
from edge_redis._health import keys as health_keys
from edge_redis._io.doctor_finding import Finding
from edge_redis._metrics import keys as metrics_keys
from edge_redis._sync import keys as sync_keys

_LAYOUTS: Final = {
    "cache": cache_keys.LAYOUT_VERSION,
    "health": health_keys.LAYOUT_VERSION,
    "metrics": metrics_keys.LAYOUT_VERSION,
    "sync": sync_keys.LAYOUT_VERSION,
    "cloud": sync_keys.LAYOUT_VERSION,
}
_CACHE_SHARDS: Final = re.compile(rb"shards=(\d+)")


class _Layout(NamedTuple):
    """What a component has: its record at shard 0, its number of shards, and the records of these."""

    component: str
    record: bytes | None
    shards: str
    """The number of shards, as the record has it."""
    records: list[bytes | None]

    @property
    def is_used(self) -> bool:
        return any(record is not None for record in (self.record, *self.records))

    def list_others(self) -> Iterator[bytes]:
        """Yield the records that this release would not write."""
        version = str(_LAYOUTS[self.component])
        home = None if self.record is None else parse(self.record)
        if self.record is not None and (home is None or home.version != version):
            yield self.record
        yield from dict.fromkeys(record for record in self.records if record not in (None, version.encode()))


async def check_layout(namespace: str) -> Finding:
    """Return the finding on the layout versions of a namespace."""
    found = await _read_layouts(namespace)
    others = [
        f"{each.component} has {record.decode(errors='replace')}" for each in found for record in each.list_others()
    ]
    if others:
        return Finding("fail", "layout", f"{', '.join(others)}: written by another release, which this one must match")
    used = [each.component if each.shards == "1" else f"{each.component} ({each.shards} shards)" for each in found]
    used = [name for name, each in zip(used, found, strict=True) if each.is_used]
    return Finding("ok", "layout", f"in use: {', '.join(used)}" if used else "nothing was written yet")


async def _read_layouts(namespace: str) -> list[_Layout]:
    *records, config = await Batch(
        [
            *(_read_record(KeySpace(namespace, name).tag) for name in _LAYOUTS),
            command(_bytes_or_none, "HGET", cache_keys.CacheKeys(namespace).stats, "config"),
        ]
    )
    return [await _read_shards(namespace, *each, config) for each in zip(_LAYOUTS, records, strict=True)]


async def _read_shards(namespace: str, component: str, record: bytes | None, config: bytes | None) -> _Layout:
    if component == "cache":  # its number of shards is in its stats, not in the record
        matched = _CACHE_SHARDS.search(config or b"")
        shards = matched[1].decode() if matched else "1"
        names = [*cache_keys.name_shards(namespace, int(shards))]
    else:
        known = find_record(record) or ShardRecord("")
        shards = str(replace(known, version="")).removeprefix("/") or "1"
        names = [
            name_shards(namespace, component, place.shards, place.generation)[place.number]
            for place in known.list_places()
        ]
    home = KeySpace(namespace, component).tag
    tags = [tag for name in names if (tag := KeySpace(namespace, component, name).tag) != home]
    records = await Batch([_read_record(tag) for tag in tags]) if tags else []
    return _Layout(component, record, shards, records)


def _read_record(tag: str) -> Operation[bytes | None]:
    return command(_bytes_or_none, "GET", layout_key(tag))


def _bytes_or_none(reply: Any) -> bytes | None:
    return reply if isinstance(reply, bytes) else None
