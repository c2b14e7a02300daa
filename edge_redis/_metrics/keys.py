"""Every key of the metrics of a namespace. One hash tag, so that one script may touch them all.

| key                                   | type   | expiry    | what it holds                               |
|---------------------------------------|--------|-----------|---------------------------------------------|
| er:{<ns>:metrics0}:generation         | string | none      | the generation; absent means 0              |
| er:{<ns>:metrics0}:retired            | set    | none      | generations whose keys are to be removed    |
| er:{<ns>:metrics0}:flushes:<time>     | hash   | 24 hours  | the last batch of each writer, by half days |
| er:{<ns>:metrics0}:repeats:<time>     | hash   | 2 hours   | the last reset of each slot, by the hour    |
| er:{<ns>:metrics0}:g:<gen>:s:<series> | hash   | none      | n, e, w: invocations, those that failed,    |
|                                       |        |           | those that were slow; ms, ns: the sum of    |
|                                       |        |           | durations, whole ms and the rest; <g>: the  |
|                                       |        |           | counts of buckets 4 g to 4 g + 3 (``sketch``) |
| er:{<ns>:metrics0}:g:<gen>:t<h>:<series> | hash | timeline_minutes | <minute>n, e, w, ms, ns as above,  |
|                                       |        | after it  | for the minutes of hour h since 1970        |
| er:{<ns>:metrics0}:g:<gen>:pairs      | set    | none      | the pairs that have a series, as            |
|                                       |        |           | <bytes of function>:<function><node>        |
| er:{<ns>:metrics0}:g:<gen>:logs       | set    | none      | the writers that have left something to add |
| er:{<ns>:metrics0}:g:<gen>:log:<slot> | list   | none      | bodies (``delta``) a writer has left; gone  |
|                                       |        |           | once they are added, at most 16             |
| er:{<ns>:metrics0}:g:<gen>:recent     | stream | none      | c, r: how many records, and the records     |
| er:{<ns>:metrics0}:g:<gen>:errors     | stream | none      | the same, of those that failed              |
| er:{<ns>:metrics0}:g:<gen>:meta       | hash   | none      | recent, errors: records in the streams;     |
|                                       |        |           | overflow: records under ``_other``          |

A series is ``all``, ``f:<function>``, ``n:<node>`` or ``p:<pair>``, the pair as above: the
length in front tells ("a", "bc") from ("ab", "c"), and what precedes a series never varies in
length within a family, so that no two names are one.

The generation in the names makes ``reset`` one step: what reads or writes looks it up first, so
a flush that comes late writes to the new generation and cannot bring the old one back.

Redis keeps a hash compactly up to 512 fields of 64 bytes. That of a series has at most 431, of
63 bytes; a hash with a field a bucket would grow past it, and cost more to search at every flush.
"""

from __future__ import annotations

from typing import Final

from edge_redis._core import validation
from edge_redis._core.keys import KeySpace

OTHER: Final = "_other"
"""The function and the node under which invocations are counted once there are ``max_series`` pairs."""


class MetricsKeys:
    """The keys of the metrics of one namespace."""

    __slots__ = ("flushes", "generation", "repeats", "retired", "root")

    def __init__(self, namespace: str, shard: int = 0) -> None:
        room = KeySpace(namespace, "metrics", shard)
        self.generation = room.key("generation")
        self.retired = room.key("retired")
        self.flushes = room.key("flushes")
        self.repeats = room.key("repeats")
        self.root = room.key("g")


def pair_name(function_id: str, node_id: str) -> str:
    """Return the name of a (function, node) pair."""
    return f"{len(function_id.encode())}:{function_id}{node_id}"


def pair_of(name: bytes) -> tuple[str, str]:
    """Return the (function, node) pair of this name."""
    length, _, rest = name.partition(b":")
    return rest[: int(length)].decode(), rest[int(length) :].decode()


def series_name(function_id: str | None, node_id: str | None) -> str:
    """Return the series that counts what these filters admit; None admits all."""
    function = None if function_id is None else validation.identifier("function_id", function_id)
    node = None if node_id is None else validation.identifier("node_id", node_id)
    if function is None:
        return "all" if node is None else f"n:{node}"
    return f"f:{function}" if node is None else f"p:{pair_name(function, node)}"
