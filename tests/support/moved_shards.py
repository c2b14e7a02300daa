"""What tests of a changing number of shards have in common, whatever the component."""

from __future__ import annotations

from edge_redis._core.shards import name_shards
from edge_redis._site.resharding import change_shards
from edge_redis.errors import StoreError
from support.servers import Backend
from support.simulation import Actor, Fault


def change_number(component: str, backend: Backend, shards: int) -> list[str]:
    """Change the number; return the records on the way."""
    records: list[str] = []
    with backend.client() as client:
        change_shards(client, "default", component, shards, lambda record: records.append(str(record)))
    return records


def tags_of(component: str, shards: int, generation: int = 0) -> list[str]:
    """Return the beginnings of the keys of these shards."""
    return [f"er:{{default:{component}{name}}}" for name in name_shards("default", component, shards, generation)]


def go(actor: Actor, steps: int = 1000) -> bool:
    """Let an actor perform so many steps; return whether it has come to its end."""
    while actor.waiting and steps:
        actor.go(Fault.OK)
        steps -= 1
    return not actor.waiting


def take_over(stopped: Actor, second: Actor, writer: Actor) -> None:
    """Complete a change by a second process, while one writes; the one that was stopped goes on last."""
    go(writer, 3)  # which meets a closed shard, or an open one
    assert go(second)
    assert second.error is None
    assert go(writer)
    assert writer.error is None
    assert go(stopped), "a process that was stopped comes to its end, too"
    assert isinstance(stopped.error, (StoreError, type(None)))
