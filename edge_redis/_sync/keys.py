"""Every key of syncing. An edge has the tag ``er:{<namespace>:sync0}``, the cloud ``er:{<namespace>:cloud0}``.

So one Redis can be an edge and its cloud at once. Only ``repeats``, ``accepted_repeats`` and ``clone`` expire: all else
is state.

| key                    | type   | at    | holds                                                           |
|------------------------|--------|-------|-----------------------------------------------------------------|
| <tag>:doc:<scope>      | hash   | both  | the scope's document, see below                                 |
| <tag>:pending:<scope>  | stream | edge  | the outbox: ``<version>-0``, a full state each, or the splice   |
|                        |        |       | that makes it of the one before (``wire.py``); removed where it |
|                        |        |       | is empty                                                        |
| <tag>:bodies:<scope>   | hash   | edge  | version -> the body of a spliced entry whose predecessor was    |
|                        |        |       | removed                                                         |
| <tag>:pending_bytes    | hash   | edge  | scope -> two positions, between which are the bytes of its      |
|                        |        |       | outbox (``position`` of an entry)                               |
| <tag>:history:<scope>  | stream | both  | exchanges with the other end, capped                            |
| <tag>:conflicts:<scope>| stream | both  | the losing side of every conflict, capped                       |
| <tag>:work             | zset   | edge  | scope -> ms since when a change waits in its outbox, of urgent  |
|                        |        |       | scopes 10^13 less; without those that no worker pushes          |
| <tag>:patterns         | hash   | edge  | what workers carry: ``push`` and the patterns of one, ``urgent`` |
|                        |        |       | and one pattern -> when it was last heard of                    |
| <tag>:scopes           | hash   | edge  | scope -> strategy, max_pending, overflow, origin; a strategy    |
|                        |        |       | after ``?`` was adopted by a worker, not set by a synchronizer  |
| <tag>:cursor           | string | edge  | the position in the cloud's feed up to which this edge has it   |
| <tag>:reoffer          | string | edge  | this edge's id and the position up to which the scopes were     |
|                        |        |       | offered again to a cloud that lost data; gone where all were    |
| <tag>:cursor:<digest>, | string | edge  | the same of workers that carry the scopes of certain patterns   |
| <tag>:reoffer:<digest> |        |       | only (``patterns.py``)                                          |
| <tag>:dead             | stream | edge  | the dead letters: changes given up, with their error; not capped|
| <tag>:totals           | hash   | edge  | what workers have carried, ever: pushed (changes confirmed),    |
|                        |        |       | time:<bucket> and time_us (from write to confirmation, by the   |
|                        |        |       | buckets of ``_core/sketch.py``, and the sum), and the counters  |
|                        |        |       | of ``link.py``                                                  |
| <tag>:feed             | zset   | cloud | scope -> the number of its newest change                        |
| <tag>:feed:<segment>   | zset   | cloud | the same of the scopes whose name begins with this and a slash  |
| <tag>:feed_number      | string | cloud | the feed's last number                                          |
| <tag>:feed_indexed     | string | cloud | the number up to which every scope is in its <tag>:feed:<...>   |
| <tag>:accepted         | stream | cloud | accepted changes, where they are kept; capped                   |
| <tag>:accepted_keep    | string | cloud | that they are kept: most entries, most milliseconds (0: any age)|
|                        |        |       | and the most bytes of a body                                    |
| <tag>:accepted_number  | string | cloud | how many there ever were                                        |
| <tag>:accepted_groups  | hash   | cloud | group of consumers -> the number of the last change that it was |
|                        |        |       | given, and how many it has lost                                 |
| <tag>:high_water       | string | cloud | the highest number of the feed that an edge was given           |
| <tag>:sources          | hash   | cloud | the id of a shard whose scopes were moved to this one -> which  |
|                        |        |       | numbers they have here (``lua/include/feed_sources.lua``)       |
| <tag>:gc_watermark     | hash   | both  | version and clock of the newest delete that was purged: a scope |
|                        |        |       | that is created begins above them                               |
| <tag>:purged           | zset   | cloud | scope -> the latest clock it had when its delete was purged, of |
|                        |        |       | 100,000 scopes: no older state brings the scope back            |
| <tag>:replica_id       | string | both  | a random id made with the first write; another one after the    |
|                        |        |       | store was wiped, so it names one incarnation of the store       |
| <tag>:server           | string | edge  | the run of the server under which replica_id is used, the time  |
|                        |        |       | of its last save, and when this was read                        |
| <tag>:clone            | string | edge  | the origin of a clone of this edge, and when it was seen;       |
|                        |        |       | expires a day after that                                        |
| <tag>:never            | string | edge  | nothing, ever: a command for it is refused where there is no    |
|                        |        |       | memory (``edge_shards.py``)                                     |
| <tag>:repeats:<hour>,  | hash   | both  | the last call of each client id; expires after two hours        |
| <tag>:accepted_repeats |        |       | <tag>:accepted_repeats:<hour> is that of consumers of accepted  |
| :<hour>                |        |       | changes                                                         |

Each end may have several shards (``_core/shards.py``): a scope is in one of them, by a hash of its name, with all that
is kept of it, and each shard has all other keys, and an id, of its own. Their channels have the tag of shard 0.

Channels, on which nothing is kept: ``<tag>:wake`` at the edge (an empty message: a scope came into ``work``, or the
cloud may accept one that it refused), in the cloud ``<tag>:wake`` and ``<tag>:wake:<the scope up to its first slash>``.
A message of the cloud is the cursor of the change, a space, and the replica id of the edge that wrote it, empty where
that edge has to read it as well. After a newline may follow the state itself, where the cloud wrote it, it is small
(``feed_wire.from_hint``) and there is one feed. The message is empty where an edge lost the authority of a scope.

The fields of a document: ``version``; ``clock``; ``origin``; ``checksum``; ``ancestor`` (the stamp of the foreign state
that it was made of); ``data`` (codec); ``signature`` (where its writer signs); ``merged`` (1 where data are fields to
merge); ``peer_version`` (the newest version known of the other end); ``latest_clock`` (the latest clock seen);
``seen:<origin>`` (version, checksum and clock of the newest state had of it); ``restored_at:<origin>`` (the clock since
which it counts on from older data it was restored to); in the cloud ``authority`` (the origin of the edge that is
LOCAL_WINS), ``strategy`` (the one by which edges push), ``deleted`` (clock and origin of the newest delete before a
plain state) and ``splice`` (how the data came of those before them: ``lua/include/kept_splices.lua``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from edge_redis._core.keys import KeySpace

LAYOUT_VERSION: Final = 1
"""Raised whenever a release writes these keys in a way that an earlier release would misread."""

MOVES_SHARDS: Final = True
"""Whether scripts refuse to write to a shard that was moved: while ``<tag>:moved`` exists."""


class SyncKeys:
    """The keys of one namespace at one end."""

    def __init__(self, namespace: str, end: Literal["sync", "cloud"], patterns: str = "", *, shard: str = "0") -> None:
        """Name the keys. ``patterns`` is the digest of those that a worker carries, "" where it carries all scopes."""
        suffix = f":{patterns}" if patterns else ""
        space = KeySpace(namespace, end, shard)
        self.tag = space.tag
        self.digest = patterns
        self.moved = space.key("moved")
        self.received = space.key("received")
        self.cursors = space.key("cursors")
        self.docs = space.key("doc")
        self.work = space.key("work")
        self.pending_bytes = space.key("pending_bytes")
        self.scopes = space.key("scopes")
        self.patterns = space.key("patterns")
        self.cursor = space.key("cursor") + suffix
        self.cursor_of_all = space.key("cursor")
        self.reoffer = space.key("reoffer") + suffix
        self.reoffer_of_all = space.key("reoffer")
        self.dead_letters = space.key("dead")
        self.feed = space.key("feed")
        self.feed_number = space.key("feed_number")
        self.sources = space.key("sources")
        self.accepted = space.key("accepted")
        self.accepted_keep = space.key("accepted_keep")
        self.totals = space.key("totals")
        self.gc_watermark = space.key("gc_watermark")
        self.high_water = space.key("high_water")
        self.replica_id = space.key("replica_id")
        self.server = space.key("server")
        self.purged = space.key("purged")
        self.clone = space.key("clone")
        self.never = space.key("never")
        self.repeats = space.key("repeats")
        self.accepted_repeats = space.key("accepted_repeats")
        self.wake = KeySpace(namespace, end).key("wake")

    def doc(self, scope: str) -> str:
        """Return the key of a scope's document."""
        return f"{self.tag}:doc:{scope}"

    def all_of_scope(self, scope: str) -> list[str]:
        """Return every key of a scope at an edge: its document, outbox, bodies, history and conflicts."""
        return [f"{self.tag}:{kind}:{scope}" for kind in ("doc", "pending", "bodies", "history", "conflicts")]

    def wake_channels(self, segments: Sequence[str] | None) -> list[str]:
        """Return the channels of scopes that begin with these segments, up to a slash or their end; None: of all."""
        return [self.wake] if segments is None else [f"{self.wake}:{segment}" for segment in segments]

    def pending(self, scope: str) -> str:
        """Return the key of a scope's outbox."""
        return f"{self.tag}:pending:{scope}"

    def history(self, scope: str) -> str:
        """Return the key of a scope's history."""
        return f"{self.tag}:history:{scope}"

    def conflicts(self, scope: str) -> str:
        """Return the key of a scope's conflicts."""
        return f"{self.tag}:conflicts:{scope}"

    @property
    def of_accepted(self) -> list[str]:
        """The keys of accepted changes."""
        return [self.accepted_keep, self.accepted, *(f"{self.accepted}_{name}" for name in ("number", "groups"))]

    def of_scope(self, scope: str) -> tuple[str, str, str, str]:
        """Return the keys of a scope's document, outbox, history and conflicts."""
        tag = self.tag
        return f"{tag}:doc:{scope}", f"{tag}:pending:{scope}", f"{tag}:history:{scope}", f"{tag}:conflicts:{scope}"
