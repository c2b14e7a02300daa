"""edge-redis sync: the state of syncing, scopes, conflicts and dead letters."""

from __future__ import annotations

import typer

from edge_redis.cli import groups
from edge_redis.cli._sync.conflicts import conflicts, resolve
from edge_redis.cli._sync.dead_letters import dead_letters, discard, replay
from edge_redis.cli._sync.states import diff, get, history, pending
from edge_redis.cli._sync.status import scopes, status
from edge_redis.cli._sync.upkeep import new_identity, purge_tombstones, release_authority


def add_to(app: typer.Typer) -> None:
    """Add the group."""
    group = groups.make_group("sync", "State sync between edge and cloud: progress, scopes, conflicts, dead letters.")
    for command in (
        status,
        scopes,
        get,
        diff,
        pending,
        history,
        conflicts,
        resolve,
        dead_letters,
        replay,
        discard,
        new_identity,
        purge_tombstones,
        release_authority,
    ):
        group.command(command.__name__.replace("_", "-"))(command)
    app.add_typer(group)
