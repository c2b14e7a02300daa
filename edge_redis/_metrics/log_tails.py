"""The last bodies of this writer's write-ahead logs.

A batch does not append its sums to a log where the log's last body can be replaced by the sum of both: a log then
stays about as short as one batch, however many batches are in it, and so does the call that compacts it. A body has
a *token* of its own. The server replaces the last body only where it has the token that the writer expects; another
process may have compacted the log in the meantime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from edge_redis._metrics.columns import Pair
from edge_redis._metrics.totals import PairPart, PairTotals, encode_body

MAX_UPDATES: Final = 480
"""Work of the parts of a body that replaces another, about what one call compacts; see ``totals``."""

MAX_GROWTH: Final = 3
"""How many times as many buckets as a batch has the body with its sums may have: what is sent again is bounded."""

PairSums: TypeAlias = Mapping[Pair, PairTotals]


class LogTail(NamedTuple):
    """The last body of a log: its token, and what it adds up."""

    token: str
    sums: PairSums


Tails: TypeAlias = Mapping[int, LogTail]
"""The last bodies of a shard's logs, by the number of the log; without those that are not known."""


class Body(NamedTuple):
    """The sums that a call adds to pairs whose log has this number, as the scripts read them."""

    log: int
    text: bytes
    replaces: str
    """The token of the body that this one replaces; empty where it is appended."""
    updates: int
    """Work of its parts."""


def make_body(log: int, parts: Sequence[PairPart], token: str, *, overflow: int = 0, replaces: str = "") -> Body:
    """Return the body that adds these parts."""
    return Body(log, encode_body(overflow, parts, token), replaces, sum(part.updates for part in parts))


def append_sums(log: int, sums: PairSums, token: str) -> tuple[Body, LogTail]:
    """Return a body that is appended, and the log's last body from then on."""
    return make_body(log, _split(sums), token), LogTail(token, sums)


def extend_tail(log: int, tail: LogTail | None, sums: PairSums, token: str) -> tuple[Body, LogTail]:
    """Return a body that adds ``sums``, and the log's last body from then on. It replaces ``tail`` where that pays."""
    if tail is None:
        return append_sums(log, sums, token)
    total = dict(tail.sums)
    for pair, added in sums.items():
        known = total.get(pair)
        total[pair] = added if known is None else known.merge(added)
    parts = _split(total)
    if sum(part.updates for part in parts) > MAX_UPDATES or _count_buckets(total) > MAX_GROWTH * _count_buckets(sums):
        return append_sums(log, sums, token)
    return make_body(log, parts, token, replaces=tail.token), LogTail(token, total)


def _split(sums: PairSums) -> Sequence[PairPart]:
    return [part for pair, totals in sums.items() for part in totals.split(pair)]


def _count_buckets(sums: PairSums) -> int:
    return sum(len(totals.buckets) for totals in sums.values())
