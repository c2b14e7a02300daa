"""Every key of a shard of the health component, all under one hash tag: ``er:{<namespace>:health0}``.

| key                   | type   | expiry      | holds                                                         |
|-----------------------|--------|-------------|---------------------------------------------------------------|
| <tag>:heartbeats      | zset   | none        | node id -> its last heartbeat, in ms of the server's clock    |
| <tag>:node:<id>       | hash   | none        | status, location, skew_ms as plain text; profile and          |
|                       |        |             | resources in the codec's bytes; arrivals: count, sum and      |
|                       |        |             | sum of squares of the intervals between heartbeats;           |
|                       |        |             | timeout_ms: its own timeout; maintenance: an operator's,      |
|                       |        |             | ``<until_ms> <reason>``                                       |
| <tag>:deadlines       | zset   | none        | node id -> heartbeat and own timeout, of nodes that have one  |
| <tag>:history:<id>    | list   | see below   | checks, newest first, one line each (``verdicts``)            |
| <tag>:spells:<id>     | list   | see below   | changes of verdict, newest first: ``<at_ms> <1|0|1m|0m|?>``,  |
|                       |        |             | m in maintenance, ? from where the verdict is not known       |
| <tag>:transitions     | stream | capped      | state changes: node, state, previous, at, reason, number,     |
|                       |        |             | flapping                                                      |
| <tag>:leader          | hash   | none        | the leading HealthWatch and its state (``leader_lease.lua``)  |
| <tag>:flapping        | set    | none        | ids of the nodes that a HealthWatch found flapping            |
| <tag>:suspects        | hash   | none        | node id -> suspected since, in ms of the server's clock       |
| <tag>:relay:<name>    | hash   | none        | a TransitionRelay's position and lease (``relay_lease.lua``)  |
| <tag>:relays          | set    | none        | the names of all relays that have begun                       |
| <tag>:totals          | hash   | none        | total_checks; transitions: the number of the newest;          |
|                       |        |             | stream_id: names the stream, and no other at any site         |
| <tag>:repeats:<time>  | hash   | 2 hours     | the last call of each client id (``_core/lua/idempotency``)   |
| <tag>:moved           | string | none        | the keys of this shard are being moved, or were: no script    |
|                       |        |             | writes here any more (``_core/lua/moved.lua``)                |
| <tag>:received        | hash   | none        | shard whose nodes were moved here -> its ``moved``, or the    |
|                       |        |             | process that copies them (``resharding.py``)                  |

A registered node's history and spells live as long as the node. Those of a node that is only checked and
never registered expire ``ORPHAN_HISTORY_MS`` after its last check, since nothing else removes them.

Of several shards (``_core/shards.py``), each has the keys of its nodes, and a stream and counts of their transitions.
The lease of the leading watch and the mass outage are in ``leader`` of the first shard; ``leader`` of each other one
says which term may write there, and since when its server is up.
"""

from __future__ import annotations

from typing import Final

from edge_redis._core.keys import KeySpace

LAYOUT_VERSION: Final = 1
"""Raised whenever a release writes these keys in a way that an earlier release would misread."""

MOVES_SHARDS: Final = True
"""Whether scripts refuse to write to a shard that was moved: while ``<tag>:moved`` exists."""

REFUSES_READS: Final = True
"""Whether scripts that only read refuse too, so that a process with an old record finds no shard that was emptied."""

ORPHAN_HISTORY_MS: Final = 7 * 24 * 3600 * 1000
"""How long the history of a node that is not registered outlives its last check."""


class HealthKeys:
    """The keys of one shard of a namespace."""

    def __init__(self, namespace: str, shard: int | str = 0) -> None:
        space = KeySpace(namespace, "health", shard)
        self.heartbeats = space.key("heartbeats")
        self.nodes = space.key("node")
        self.histories = space.key("history")
        self.spells = space.key("spells")
        self.deadlines = space.key("deadlines")
        self.transitions = space.key("transitions")
        self.leader = space.key("leader")
        self.flapping = space.key("flapping")
        self.suspects = space.key("suspects")
        self.relays = space.key("relay")
        self.relay_names = space.key("relays")
        self.totals = space.key("totals")
        self.repeats = space.key("repeats")
        self.moved = space.key("moved")
        self.received = space.key("received")
        self.tag = space.tag

    def node(self, node_id: str) -> str:
        """Return the key of a node's record."""
        return f"{self.nodes}:{node_id}"

    def history(self, node_id: str) -> str:
        """Return the key of a node's checks."""
        return f"{self.histories}:{node_id}"

    def spells_of(self, node_id: str) -> str:
        """Return the key of a node's changes of verdict."""
        return f"{self.spells}:{node_id}"

    def relay(self, name: str) -> str:
        """Return the key of a relay's position and lease."""
        return f"{self.relays}:{name}"
