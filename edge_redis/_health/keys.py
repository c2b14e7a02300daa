"""Every key of the health room, all under one hash tag: ``er:{<namespace>:health0}``.

| key                   | type   | expiry      | holds                                                       |
|-----------------------|--------|-------------|-------------------------------------------------------------|
| <tag>:beats           | zset   | none        | node id -> its last heartbeat, in ms of the server's clock  |
| <tag>:node:<id>       | hash   | none        | status, location, skew_ms in plain text; facts and          |
|                       |        |             | resources in the codec's bytes; arrivals: count, sum and    |
|                       |        |             | sum of squares of the intervals between heartbeats          |
| <tag>:history:<id>    | list   | see below   | checks, newest first, one line each (``verdicts``)          |
| <tag>:transitions     | stream | capped      | state changes: node, state, previous, at, reason            |
| <tag>:duty            | hash   | none        | which HealthWatch is on duty, and what it sees (``duty.lua``) |
| <tag>:flapping        | set    | none        | ids of the nodes that a HealthWatch found flapping          |
| <tag>:suspects        | hash   | none        | node id -> since when a HealthWatch suspects it, server ms  |
| <tag>:relay:<name>    | hash   | none        | where a TransitionRelay stands (``relay.lua``)              |
| <tag>:totals          | hash   | none        | total_checks                                                |
| <tag>:repeats:<time>  | hash   | 2 hours     | the last call of each slot (``core.repeats``)               |

A registered node's history lives as long as the node. One of a node that is only ever
checked, never registered, would stay for ever, so it goes ``ORPHAN_HISTORY_MS`` after its
last check.
"""

from __future__ import annotations

from typing import Final

from edge_redis._core.keys import KeySpace

ORPHAN_HISTORY_MS: Final = 7 * 24 * 3600 * 1000
"""How long the history of a node that is not registered outlives its last check."""


class HealthKeys:
    """The keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        room = KeySpace(namespace, "health")
        self.beats = room.key("beats")
        self.nodes = room.key("node")
        self.histories = room.key("history")
        self.transitions = room.key("transitions")
        self.duty = room.key("duty")
        self.flapping = room.key("flapping")
        self.suspects = room.key("suspects")
        self.relays = room.key("relay")
        self.totals = room.key("totals")
        self.repeats = room.key("repeats")

    def node(self, node_id: str) -> str:
        """Return the key of a node's facts."""
        return f"{self.nodes}:{node_id}"

    def history(self, node_id: str) -> str:
        """Return the key of a node's checks."""
        return f"{self.histories}:{node_id}"
