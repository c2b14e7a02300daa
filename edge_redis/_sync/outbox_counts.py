"""What waits in the outboxes of an edge's shards, counted for operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from edge_redis._core.gather import gather
from edge_redis._core.operation import Batch, command
from edge_redis._sync import replies
from edge_redis._sync.failures import perform_each
from edge_redis._sync.keys import SyncKeys
from edge_redis._sync.outbox_leases import decode_names, waiting_since

_OUTBOXES_A_PAGE: Final = 500


async def read_lag(shards: Sequence[SyncKeys]) -> dict[str, Any]:
    """Return scopes_waiting and oldest_seconds."""
    waiting = sum(await Batch([command(int, "ZCARD", keys.work) for keys in shards]))
    now: float = await command(lambda reply: reply[0] + reply[1] / 1e6, "TIME")
    firsts = await Batch(
        [
            operation
            for keys in shards
            for operation in (
                command(_first_score, "ZRANGEBYSCORE", keys.work, 0, "+inf", "WITHSCORES", "LIMIT", 0, 1),
                command(_first_score, "ZRANGE", keys.work, 0, 0, "WITHSCORES"),  # an urgent one, where there is any
            )
        ]
    )
    since = [waiting_since(score) for score in firsts if score is not None]
    return {"scopes_waiting": waiting, "oldest_seconds": max(0.0, now - min(since) / 1000) if since else 0.0}


async def read_outboxes(shards: Sequence[SyncKeys], waiting: int) -> dict[str, int]:
    """Return how many scopes, changes, bytes and dead letters there are, where so many scopes wait."""
    counts = await Batch(
        [
            operation
            for keys in shards
            for operation in (
                command(int, "HLEN", keys.scopes),
                command(int, "HLEN", keys.pending_bytes),
                command(int, "XLEN", keys.dead_letters),
            )
        ]
    )
    return {
        "scopes": sum(counts[::3]),
        "scopes_not_pushed": max(0, sum(counts[1::3]) - waiting),
        "changes_waiting": sum(await gather([_count_changes(keys) for keys in shards])),
        "pending_bytes": sum(await gather([_count_bytes(keys) for keys in shards])),
        "dead_letters": sum(counts[2::3]),
    }


async def _count_changes(keys: SyncKeys) -> int:
    total, offset = 0, 0
    while scopes := await command(decode_names, "ZRANGE", keys.work, offset, offset + _OUTBOXES_A_PAGE - 1):
        lengths = await perform_each([command(int, "XLEN", keys.pending(scope)) for scope in scopes])
        total, offset = total + sum(length or 0 for length in lengths), offset + len(scopes)
    return total


async def _count_bytes(keys: SyncKeys) -> int:
    total, position = 0, -1
    while position != 0:
        position, some = await command(
            replies.from_positions_page, "HSCAN", keys.pending_bytes, max(position, 0), "COUNT", _OUTBOXES_A_PAGE
        )
        total += some
    return total


def _first_score(reply: Any) -> float | None:
    """Return the score of the first member: RESP3 replies nest member and score, RESP2 replies do not."""
    if not reply:
        return None
    pair = reply[0] if isinstance(reply[0], (list, tuple)) else reply
    return float(pair[1])
