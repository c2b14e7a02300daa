"""Every key of a shard of the metrics of a namespace. One hash tag, so that one script may touch them all.

| key                                   | type   | expiry    | contents                                    |
|---------------------------------------|--------|-----------|---------------------------------------------|
| er:{<ns>:metrics0}:epoch              | string | none      | the current epoch; absent means 0           |
| er:{<ns>:metrics0}:since              | string | none      | time of the last reset or forget, in ms     |
| er:{<ns>:metrics0}:retired            | set    | none      | past epochs whose keys are to be removed    |
| er:{<ns>:metrics0}:earlier             | string | none      | of shards of an earlier number: look, while |
|                                       |        |           | another one begins, then closed             |
| er:{<ns>:metrics0}:flushes:<time>     | hash   | 24 hours  | the last flush of each writer, by half days |
| er:{<ns>:metrics0}:repeats:<time>     | hash   | 2 hours   | the last reset of each client id, by hours  |
| er:{<ns>:metrics0}:e:<epoch>:s:<series> | hash | none      | n, e, w: invocations, failures and slow     |
|                                       |        |           | successes; ms, ns: the sum of durations,    |
|                                       |        |           | whole ms and the rest; <g>: the counts of   |
|                                       |        |           | buckets 4 g to 4 g + 3 (``sketch``). Of a   |
|                                       |        |           | pair also b: when its counts began, in ms;  |
|                                       |        |           | x: the longest duration in ms               |
| er:{<ns>:metrics0}:e:<epoch>:t<h>:<series> | hash | timeline_minutes | <minute>n, e, w, ms, ns as      |
|                                       |        | after it  | above, for the minutes of hour h since 1970 |
| er:{<ns>:metrics0}:e:<epoch>:pairs    | set    | none      | the pairs that have a series, as            |
|                                       |        |           | <bytes of function>:<function><node>        |
| er:{<ns>:metrics0}:e:<epoch>:unlisted | set    | none      | series of functions and nodes some of whose |
|                                       |        |           | pairs were forgotten: a reset removes them  |
| er:{<ns>:metrics0}:e:<epoch>:writers  | set    | none      | the writers with a write-ahead log          |
| er:{<ns>:metrics0}:e:<epoch>:wal:<writer>:<n> | list | none | write-ahead log n (0 to 5) of a writer:    |
|                                       |        |           | bodies (``totals``) not yet added, about 30 |
|                                       |        |           | at most                                     |
| er:{<ns>:metrics0}:e:<epoch>:recent   | stream | none      | c, r: how many records, and the records     |
| er:{<ns>:metrics0}:e:<epoch>:errors   | stream | none      | the same, of those that failed              |
| er:{<ns>:metrics0}:e:<epoch>:meta     | hash   | none      | recent, errors: records in the streams;     |
|                                       |        |           | overflow: records counted under ``_other``; |
|                                       |        |           | extra: pairs above an equal share of        |
|                                       |        |           | ``max_series``, since it began with so many |

With several shards (``_core/shards.py``) a pair is in one of them, by a hash of its name, with all that is
made of its records: each shard has the series, records and logs of its own pairs, and its own epoch. Where their number
was changed, the shards of earlier numbers keep what they have, and those of the present one list their pairs too.

A series is ``all``, ``f:<function>``, ``n:<node>`` or ``p:<pair>``, the pair as above: the
length in front distinguishes ("a", "bc") from ("ab", "c"). What precedes a series has one length
within a family, so no two names collide.

The epoch in the names makes ``reset`` one step: every script looks it up first, so a flush that
arrives late writes to the new epoch and cannot bring the old counts back.

Redis keeps a hash compactly up to 512 fields of 64 bytes. That of a series has at most 433, of
63 bytes; a hash with one field a bucket would exceed that, and cost more to search at every flush.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edge_redis._core import validation
from edge_redis._core.keys import KeySpace
from edge_redis._core.shard_record import ShardRecord

LAYOUT_VERSION: Final = 1
"""Raised whenever a release writes these keys in a way that an earlier release would misread."""

OTHER: Final = "_other"
"""The function and the node under which invocations are counted once there are ``max_series`` pairs."""


class MetricsKeys:
    """The keys of one shard of the metrics of a namespace."""

    __slots__ = ("earlier", "epoch", "flushes", "repeats", "retired", "root", "since")

    def __init__(self, namespace: str, shard: int | str = 0) -> None:
        space = KeySpace(namespace, "metrics", shard)
        self.epoch = space.key("epoch")
        self.earlier = space.key("earlier")
        self.since = space.key("since")
        self.retired = space.key("retired")
        self.flushes = space.key("flushes")
        self.repeats = space.key("repeats")
        self.root = space.key("e")


def pair_name(function_id: str, node_id: str) -> str:
    """Return the name of a (function, node) pair."""
    return f"{len(function_id.encode())}:{function_id}{node_id}"


OTHER_PAIR: Final = pair_name(OTHER, OTHER)


def find_shards(series: str, record: ShardRecord) -> Sequence[int]:
    """Return the indexes, in ``list_places``, of the shards that may have a series.

    That is one of each number for a pair, and all for the others and ``_other``.
    """
    if not series.startswith("p:") or series == f"p:{OTHER_PAIR}":
        return range(record.shards + sum(record.earlier))
    return record.find(series[2:])


def parse_pair(name: bytes) -> tuple[str, str]:
    """Return the (function, node) pair that has this name."""
    length, _, rest = name.partition(b":")
    return rest[: int(length)].decode(), rest[int(length) :].decode()


def series_name(function_id: str | None, node_id: str | None) -> str:
    """Return the name of the series that these filters select; None selects all."""
    function = None if function_id is None else validation.check_identifier("function_id", function_id)
    node = None if node_id is None else validation.check_identifier("node_id", node_id)
    if function is None:
        return "all" if node is None else f"n:{node}"
    return f"f:{function}" if node is None else f"p:{pair_name(function, node)}"
