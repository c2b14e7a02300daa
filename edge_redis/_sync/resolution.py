"""What the cloud makes of an edge's states: the rules of ``lua/apply.lua`` and ``settle.lua``, once more in Python.

They do no I/O: they are for stores that decide inside a transaction of their own (``editing`` has those of
``update.lua``). In: the document, what is known of the origins that are named, and the states. Out: a
``Decision``, which is to be written as one. ``tests/property/test_deciding.py`` holds both to the same.

Text is compared as Python does, by code points, which is the bytewise order of UTF-8 that the scripts use;
clocks are 18 digits, so their text sorts as they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self

from edge_redis._sync import clock, merge
from edge_redis._sync.change import Change
from edge_redis._sync.merging import merged
from edge_redis._sync.origin import CLOUD_ORIGIN
from edge_redis.errors import AuthorityConflictError, CorruptDataError
from edge_redis.models import ConflictStrategy

MAX_VERSION: Final = 9_007_199_254_740_000
"""As in ``lua/include/document.lua``: a state of this version, or a higher one, is refused."""

ALWAYS: Final = "0" * 18
"""Since when an origin counts on that was never put back to older data."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest state of an origin that the cloud has had, and the clock since which it counts on (``life``).

    An origin that lost all its data is another one (``state.origin``). One that was put back to older data gives out
    versions again, and what it writes then knows nothing of what it wrote before.
    """

    version: int
    checksum: str
    """Its first 16 characters."""
    clock: str
    life: str = ALWAYS

    @classmethod
    def of(cls, state: Change, life: str) -> Self:
        """Return what is to be remembered of ``state``."""
        return cls(state.version, state.checksum[:16], state.clock, life)

    def __contains__(self, state: Change) -> bool:
        """Whether the cloud has had that very state, or a later one that its origin wrote in knowledge of it."""
        earlier = state.version < self.version and self.life <= state.clock < self.clock
        return self.is_of(state) or earlier

    def is_of(self, state: Change) -> bool:
        """Whether ``state`` is the newest one."""
        same = self.version == state.version or self.clock == state.clock
        return same and self.checksum == state.checksum[:16]


@dataclass(frozen=True, slots=True)
class Document:
    """A scope as the cloud holds it.

    ``tick`` is the newest clock seen, ``remote`` the highest version that an edge has shown,
    ``authority`` the origin of the edge that is LOCAL_WINS, None while there is none, and ``strategy``
    that which edges have told (for ``Feed.strategies``), None while none has.
    """

    state: Change
    tick: str
    remote: int = 0
    authority: str | None = None
    strategy: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A change that was pushed, for the history: the direction is always "push"."""

    version: int
    success: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The losing side of a conflict, and what won. ``lost`` says whose it was: "local" is the cloud's."""

    lost: Literal["local", "remote"]
    loser: Change
    winner: Change


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be written, all of it or nothing.

    ``letters`` has one for each state. ``seen`` holds the origins of which something new is known. The
    scope goes to the end of the feed where it is ``announced``.
    """

    document: Document
    letters: str = ""
    seen: Mapping[str, Seen] = field(default_factory=dict)
    events: Sequence[Event] = ()
    conflicts: Sequence[Conflict] = ()
    announced: bool = True


def decide(
    document: Document | None, seen: Mapping[str, Seen], states: Sequence[Change], strategy: ConflictStrategy
) -> Decision:
    """Let an edge's states, at least one, win or lose against a scope's document, in their order.

    A letter each: a accepted, d already there, r refused. ``seen`` is what is known of the states' origins.
    The result is that of any order and any repetition of the same states.

    Raises:
        CorruptDataError: a state cannot have been written by any edge.
        ChecksumMismatchError: the document is damaged, and was to be merged.
        AuthorityConflictError: the scope is LOCAL_WINS at another edge.

    """
    _check(states)
    bodies = [each.body for each in states] + ([] if document is None else [document.state.body])
    if strategy is ConflictStrategy.MERGE or any(map(merge.is_merged, bodies)):
        return _joined(document, states)
    authority = _authority(document, states, strategy)
    deciding = _Deciding(document, seen, by_clock=strategy is ConflictStrategy.LATEST_WINS)
    letters = "".join(map(deciding.take, states))
    return deciding.decision(letters, authority, strategy.value)


def _check(states: Sequence[Change]) -> None:
    for state in states:
        if not 0 <= state.version < MAX_VERSION:
            raise CorruptDataError(f"version {state.version} is higher than any that is ever written")
        clock.verify(state.clock)


def _authority(document: Document | None, states: Sequence[Change], strategy: ConflictStrategy) -> str | None:
    """Return the origin of the edge that is LOCAL_WINS: the first that ever pushed so."""
    held = None if document is None else document.authority
    if strategy is not ConflictStrategy.LOCAL_WINS:
        return held
    claimant = states[-1].name
    if held is not None and held != claimant:
        raise AuthorityConflictError(
            f"the scope is LOCAL_WINS at another edge, {held!r}: let one of the two be REMOTE_WINS, "
            "or release_authority() where that edge is no more"
        )
    return None if claimant == CLOUD_ORIGIN else claimant


def _joined(document: Document | None, states: Sequence[Change]) -> Decision:
    """MERGE: nothing wins, each field goes to its later change."""
    present = None if document is None else document.state
    if present is not None:
        present.verify()  # or damaged fields would go on under a checksum of their own
    state, letters = merged(present, states)
    state = replace(state, is_delta=False)
    before = Document(state, state.clock) if document is None else document
    state = replace(state, version=max(state.version, before.state.version))
    tick, remote = max(state.clock, before.tick), max(before.remote, *(each.version for each in states))
    return Decision(
        replace(before, state=state, tick=tick, remote=remote),
        letters,
        events=[
            Event(each.version, success=True) for each, letter in zip(states, letters, strict=True) if letter == "a"
        ],
        announced=_is_new(present, state),
    )


def _is_new(before: Change | None, after: Change) -> bool:
    if before is None:
        return True
    # Two origins may write the same at the same moment.
    return (before.version, before.stamp, before.origin) != (after.version, after.stamp, after.origin)


class _Deciding:
    """Takes one state after the other."""

    def __init__(self, document: Document | None, seen: Mapping[str, Seen], *, by_clock: bool) -> None:
        self._before = self._state = None if document is None else document.state
        self._tick, self._remote = ("", 0) if document is None else (document.tick, document.remote)
        self._seen = seen
        self._told: dict[str, Seen] = {}
        self._by_clock = by_clock
        self._events: list[Event] = []
        self._conflicts: list[Conflict] = []

    def decision(self, letters: str, authority: str | None, strategy: str) -> Decision:
        assert self._state is not None
        document = Document(self._state, self._tick, self._remote, authority, strategy)
        announced = _is_new(self._before, self._state)
        return Decision(document, letters, self._told, self._events, self._conflicts, announced)

    def take(self, state: Change) -> str:
        seen = self._told.get(state.origin) or self._seen.get(state.origin) if state.origin else None
        anew = self._begins_anew(state, seen)
        life = state.clock if anew else seen.life if seen else ALWAYS
        known = seen is not None and state in seen
        if state.origin and (anew or (not known and state.clock >= life)):
            self._told[state.origin] = Seen.of(state, life)
        letter = self._letter(state)
        if letter == "a":
            self._accept(state, life)
        else:
            assert self._state is not None
            if letter == "r":
                self._refuse(state, self._state, life, known=known)
            # The cloud's version is at least that of all it was shown, so that every edge comes to the same.
            self._state = replace(self._state, version=max(self._state.version, state.version))
        self._remote = max(self._remote, state.version)
        return letter

    def _begins_anew(self, state: Change, seen: Seen | None) -> bool:
        """Whether the origin was put back: it counts versions and clock up together, and here one went down."""
        if seen is None or seen.is_of(state) or state.clock <= seen.clock:
            return False
        return state.version < seen.version or (state.version == seen.version and not self._by_clock)

    def _letter(self, state: Change) -> str:
        mine = self._state
        if mine is None:
            return "a"
        place = "clock" if self._by_clock else "version"
        same_place = getattr(state, place) == getattr(mine, place)
        if same_place and (state.checksum, state.origin) == (mine.checksum, mine.origin):
            return "d"
        if same_place and not self._by_clock and not state.origin:
            return "r"  # one without an origin has no part in the order of equal versions
        return "a" if self._rank(state) > self._rank(mine) else "r"

    def _rank(self, state: Change) -> tuple[Any, ...]:
        if self._by_clock:
            return state.clock, state.origin, state.checksum
        return state.version, state.name == CLOUD_ORIGIN, state.origin, state.checksum

    def _accept(self, state: Change, life: str) -> None:
        version = state.version
        if self._state is not None:
            if not _is_related(state, self._state, life):
                self._conflicts.append(Conflict("local", self._state, state))
            version = max(version, self._state.version)
        self._state = replace(state, version=version, is_delta=False)
        self._tick = max(self._tick, state.clock)
        self._events.append(Event(version, success=True))

    def _refuse(self, state: Change, mine: Change, life: str, *, known: bool) -> None:
        if known or _is_related(state, mine, life):
            return
        self._conflicts.append(Conflict("remote", state, mine))
        rule = ConflictStrategy.LATEST_WINS if self._by_clock else ConflictStrategy.REMOTE_WINS
        self._events.append(Event(state.version, success=False, error=f"refused by {rule.value}"))


def _is_related(state: Change, mine: Change, life: str) -> bool:
    """Whether one was written in knowledge of the other, or says the same: nothing is lost between them."""
    if _of_one_life(state, mine, life) or state.stamp == mine.stamp:
        return True
    return (state.base != "" and state.base == mine.stamp) or (mine.base != "" and mine.base == state.stamp)


def _of_one_life(state: Change, mine: Change, life: str) -> bool:
    if not state.origin or state.origin != mine.origin or state.version == mine.version:
        return False
    if (state.version < mine.version) != (state.clock < mine.clock):
        return False
    return life == ALWAYS or (state.clock < life) == (mine.clock < life)
