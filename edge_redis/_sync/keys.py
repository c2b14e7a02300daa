"""Every key of the state room. An edge has the tag ``er:{<namespace>:state0}``, the cloud ``er:{<namespace>:cloud0}``.

So one Redis can be an edge and its cloud at once. Nothing here expires: all of it is state.

| key                  | type   | at    | holds                                                           |
|----------------------|--------|-------|-----------------------------------------------------------------|
| <tag>:doc:<scope>    | hash   | both  | version, remote (the newest version known of the other end),    |
|                      |        |       | clock, tick (the newest clock seen), origin, checksum, base     |
|                      |        |       | (the stamp of the foreign state it was made of), data (codec),  |
|                      |        |       | seen:<origin> (the newest version, checksum and clock had of    |
|                      |        |       | it), life:<origin> (the clock since which it counts on from     |
|                      |        |       | older data it was put back to), authority (the name of the edge |
|                      |        |       | that is LOCAL_WINS, in the cloud), strategy (which edges have told,  |
|                      |        |       | in the cloud), merged (1 where data are fields to merge),       |
|                      |        |       | signature (where whoever wrote it signs)                        |
| <tag>:pending:<scope>| stream | edge  | the outbox: ``<version>-0``, a full after-image each; gone      |
|                      |        |       | where empty                                                     |
| <tag>:history:<scope>| stream | both  | exchanges with the other end, capped                            |
| <tag>:conflicts:<sc.>| stream | both  | the losing side of every conflict, capped                       |
| <tag>:work           | zset   | edge  | scope -> ms since when something waits in its outbox            |
| <tag>:scopes         | hash   | edge  | every scope here -> its strategy, max_pending, overflow, origin      |
| <tag>:cursor         | string | edge  | the place in the cloud's feed up to which this edge has it      |
| <tag>:dead           | stream | edge  | changes given up, with their error; not capped                  |
| <tag>:changes        | zset   | cloud | the feed: scope -> the number of its latest change              |
| <tag>:sequence       | string | cloud | the feed's last number                                          |
| <tag>:totals         | hash   | edge  | pushed: changes that workers have confirmed, ever               |
| <tag>:floor          | hash   | both  | version and clock of the newest delete that was forgotten: a    |
|                      |        |       | scope that is created begins above them                         |
| <tag>:told           | string | cloud | the highest number of the feed that an edge was told            |
| <tag>:site           | string | both  | a random name made with the first write                         |
| <tag>:repeats:<time> | hash   | both  | the last call of each slot; expires (``core.repeats``)          |
"""

from __future__ import annotations

from typing import Final, Literal

from edge_redis._core.keys import KeySpace

LAYOUT_VERSION: Final = 1
"""Raised whenever a release writes these keys in a way that an earlier release would misread."""


class StateKeys:
    """The keys of one namespace at one end."""

    def __init__(self, namespace: str, end: Literal["state", "cloud"]) -> None:
        room = KeySpace(namespace, end)
        self.docs = room.key("doc")
        self.work = room.key("work")
        self.scopes = room.key("scopes")
        self.cursor = room.key("cursor")
        self.dead = room.key("dead")
        self.changes = room.key("changes")
        self.sequence = room.key("sequence")
        self.totals = room.key("totals")
        self.floor = room.key("floor")
        self.told = room.key("told")
        self.site = room.key("site")
        self.repeats = room.key("repeats")
        self._component = room

    def doc(self, scope: str) -> str:
        """Return the key of a scope's document."""
        return f"{self.docs}:{scope}"

    def pending(self, scope: str) -> str:
        """Return the key of a scope's outbox."""
        return self._component.key("pending", scope)

    def history(self, scope: str) -> str:
        """Return the key of a scope's history."""
        return self._component.key("history", scope)

    def conflicts(self, scope: str) -> str:
        """Return the key of a scope's conflicts."""
        return self._component.key("conflicts", scope)
