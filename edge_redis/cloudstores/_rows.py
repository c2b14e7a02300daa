"""Rows of the tables as values of ``_sync``, and values as rows."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Final

from edge_redis._sync import clock
from edge_redis._sync.change import Change, check_body, visible_data
from edge_redis._sync.decision import LostState, PushEvent, ScopeDocument
from edge_redis.cloudstores._bodies import UnreadBody
from edge_redis.errors import CorruptDataError
from edge_redis.models import SyncEvent, from_timestamp

_HEAD: Final = tuple(each.name for each in fields(Change) if each.name not in {"body", "is_delta"})


def to_head(state: Change) -> dict[str, Any]:
    """Return a state's fields other than its body."""
    return {name: getattr(state, name) for name in _HEAD}


def from_head(head: str, body: bytes | None) -> Change:
    """Return the state of a head, as JSON, and a body; a field that the head lacks has its default.

    Raises:
        CorruptDataError: the head does not decode, or there is no body.

    """
    try:
        found = json.loads(head)
        known = {name: found[name] for name in _HEAD if name in found}
        state = Change(**known, body=bytes(body))  # type: ignore[arg-type] # None raises TypeError
    except (TypeError, KeyError, ValueError) as error:
        raise CorruptDataError(f"a document is damaged: {error!r}") from error
    if any(type(value) is not (int if name == "version" else str) for name, value in known.items()):
        raise CorruptDataError(f"a document is damaged: its head is {head[:200]}")
    return state


def list_changes(before: ScopeDocument | None, after: ScopeDocument) -> dict[str, Any]:
    """Return the columns that differ: an unchanged body, which may be large, is not written again."""
    values: dict[str, Any] = {}
    if not isinstance(after.state.body, UnreadBody) and (before is None or before.state.body != after.state.body):
        values["body"] = after.state.body
    rest = {
        "head": to_head(after.state),
        **{name: getattr(after, name) for name in ("latest_clock", "peer_version", "authority", "strategy")},
    }
    return values if before == after else {**values, **rest}


def from_push_event(event: PushEvent, at: int) -> dict[str, Any]:
    """Return the row of a pushed change."""
    return {"version": event.version, "success": event.success, "error": event.error, "at": at}


def from_lost_state(conflict: LostState, at: int) -> dict[str, Any]:
    """Return the row of the losing side of a conflict."""
    return {
        "lost": conflict.lost,
        "loser": to_head(conflict.loser),
        "body": conflict.loser.body,
        "winner": to_head(conflict.winner),
        "at": at,
    }


def to_event(row: Any) -> SyncEvent:
    """Return the event in a row of the history."""
    return SyncEvent("push", row.version, row.success, from_timestamp(row.at / 1e6), row.error)


def to_conflict(row: Any) -> dict[str, Any]:
    """Return the losing side and the winner of a conflict in a row, as ``RedisCloudStore.conflicts`` does."""
    loser, winner = from_head(row.loser, row.body), from_head(row.winner, b"")
    body = check_body(loser.body, loser.checksum, f"conflict {row.number}")
    return {
        "id": str(row.number),
        "lost": row.lost,
        "version": loser.version,
        "data": visible_data(body),
        **_describe(loser),
        "winner": {"version": winner.version, **_describe(winner)},
        "timestamp": from_timestamp(row.at / 1e6),
    }


def _describe(state: Change) -> dict[str, Any]:
    return {
        "checksum": state.checksum,
        "updated_at": clock.to_datetime(state.clock.encode()),
        "origin": state.name,
    }
