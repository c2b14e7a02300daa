"""Reads the feed of a cloud in Redis: headers first, and bodies only where they cannot be made of known states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from edge_redis._sync import scripts, wire
from edge_redis._sync.change import Change
from edge_redis._sync.feed import Feed
from edge_redis._sync.feed_wire import FeedState, from_hint
from edge_redis._sync.known_states import KnownStates
from edge_redis._sync.link import LinkCounters
from edge_redis._sync.origin import incarnation_of
from edge_redis._sync.replica import Replica
from edge_redis.errors import CorruptDataError, EdgeRedisError

_MAX_WANTED: Final = 1000

_MAX_WRITERS: Final = 12
"""Stores whose states went up since the feed was read, at most: an edge may have several shards."""


class Downlink:
    """The way down of one store object."""

    def __init__(self, replica: Replica, known: KnownStates, link: LinkCounters) -> None:
        self._replica = replica
        self._known = known
        self._link = link
        self._writers: tuple[str, ...] = ()

    def note_sent(self, changes: Sequence[Change]) -> None:
        """Remember whose states go up: what these stores wrote need not come down with its body."""
        if changes:
            writer = incarnation_of(changes[-1].origin) or changes[-1].origin
            if self._writers[-1:] != (writer,) and writer.isascii() and writer.split() == [writer]:
                self._writers = (*self._writers[1 - _MAX_WRITERS :], writer)

    async def read(
        self, cursor: str, limit: int, patterns: Sequence[str] = (), given: Mapping[str, Change] = scripts.NOTHING_GIVEN
    ) -> Feed:
        """Return a page of the feed with whole states, without those that the caller was given by hints.

        A state that was left out, or is a splice of another state than the known one, is read in a second round trip.
        By then it may be a newer one, which is in a later page again.
        """
        has = ",".join(dict.fromkeys(self._writers)) or wire.NONE if self._known.bytes else scripts.ALL_BODIES
        self._writers = self._writers[-1:]
        operation = scripts.read_feed(self._replica, cursor, limit, has, patterns, given)
        page = await operation
        self._link.add_read(operation.args, page.bytes)
        feed = Feed(page.cursor, [], page.restarted, has_more=page.has_more, is_checked=True)
        found: dict[str, Change | CorruptDataError] = {}
        wanted: list[tuple[str, str]] = []
        for scope, state in page.states:
            known = self._known.get(scope) if self._known.bytes else None
            ready = state if isinstance(state, CorruptDataError) else self._complete(scope, state, known, feed)
            if ready is None:
                wanted.append((scope, known.checksum if known else ""))
            else:
                found[scope] = ready
        if wanted:
            await self._read_wanted(wanted, found, feed)
        for scope, _ in page.states:
            ready = found.get(scope)
            if isinstance(ready, Change):
                feed.changes.append((scope, ready))
            elif ready is not None:
                feed.damaged.append((scope, str(ready)))
        return feed

    def read_hint(self, position: str, text: bytes) -> Feed | None:
        """Return the page of the one state that a hint carries, None where that cannot be made whole and verified."""
        found = from_hint(text)
        if found is None:
            return None
        scope, state = found
        feed = Feed(position, [], is_checked=True)
        known = self._known.get(scope) if self._known.bytes else None
        change = self._complete(scope, state, known, feed)
        if change is None or (state.base is None and not is_whole(change)):
            return None
        self._link.add_hint(len(text))
        feed.changes.append((scope, change))
        return feed

    async def _read_wanted(
        self, wanted: list[tuple[str, str]], found: dict[str, Change | CorruptDataError], feed: Feed
    ) -> None:
        """Read these states; what cannot be made of the state that was named is read whole at last."""
        while wanted:
            operation = scripts.read_states(self._replica, wanted[:_MAX_WANTED])
            states, size = await operation
            self._link.add_read(operation.args, size)
            again: list[tuple[str, str]] = []
            for (scope, held), state in zip(wanted, states, strict=False):
                if state is None:
                    continue  # purged meanwhile
                known = self._known.get(scope) if held else None
                ready = state if isinstance(state, CorruptDataError) else self._complete(scope, state, known, feed)
                if ready is None:
                    again.append((scope, ""))
                else:
                    found[scope] = ready
            wanted = wanted[len(states) :] + again

    def _complete(self, scope: str, state: FeedState, known: Change | None, feed: Feed) -> Change | None:
        """Return the whole state, None where it cannot be made of the known one.

        A state that came whole is returned even where its checksum was made of another body: the worker records that.
        """
        change = state.rebuild(known)
        if change is None:
            return None
        is_known = known is not None and known.checksum == change.checksum
        try:
            if not is_known or state.base is None:  # else the body is that of the known state, which was verified
                change.verify()
        except EdgeRedisError:
            self._known.remove(scope)
            if state.base is not None:
                return None
        else:
            self._known.put(scope, change)
        self._link.add_state(is_whole=state.base is None, is_known=is_known)
        if state.strategy:
            feed.strategies[scope] = state.strategy
        return change


def is_whole(change: Change) -> bool:
    """Return whether a state matches its checksum, and its clock is one."""
    try:
        change.verify()
    except EdgeRedisError:
        return False
    return True
