"""Every sequence of choices of a scenario, gone through by its states.

Many sequences come to the same state: what actors share, where each actor is, and how many faults there were. What
may happen from there on is the same for all of them, so it is explored once and the sequences are counted: the sums
are exact, and nothing is left out. This is the state matching of explicit-state model checkers (Holzmann, "The Model
Checker SPIN", 1997); it also joins what partial-order reductions would (Godefroid, "Partial-Order Methods for the
Verification of Concurrent Systems", 1996): the orders of two steps that do not touch each other end in one state.

Where an actor is follows from what it was answered, and from its faults, since it is a generator that only its own
answers reach. So a step, too, is performed once for each place of its actor and each state of what is shared,
wherever the other actors are. Whatever actors share must be in ``Scenario.state``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from support.simulated import remembering
from support.simulation import Actor, Fault, Play, Scenario, replay
from support.turns import turns

OVER: Final = -1


@dataclass
class Survey:
    """What was gone through: sequences of choices, the states they come to, and those in which they end.

    ``steps`` is how many were performed.
    """

    runs: int = 0
    states: int = 0
    steps: int = 0
    ends: set[int] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.runs:,} runs, by {self.states:,} states to {len(self.ends):,} outcomes"


class _State(NamedTuple):
    """What is shared, the place of each actor, by number, and how many faults there were."""

    shared: int
    places: tuple[int, ...]
    faults: int


_Option = tuple[int, Fault]
"""An actor, by its place among them, and what happens to its step."""


@dataclass
class _Branch:
    """A state on the way, the option that is being followed, and the runs that went on from it so far."""

    state: _State
    options: list[_Option]
    at: int = 0
    runs: int = 0


class _Numbers(dict[Hashable, int]):
    """Gives equal things the same number."""

    def __missing__(self, each: Hashable) -> int:
        self[each] = number = len(self)
        return number


class _Surveyor:
    def __init__(self, make: Callable[[], Scenario], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._numbers = _Numbers()
        self._choices: dict[int, list[Fault]] = {}
        self._effects: dict[tuple[int, int, Fault], tuple[int, int]] = {}
        self._known: dict[_State, int] = {}
        self._branches: list[_Branch] = []
        self.found = Survey()

    def survey(self) -> Survey:
        with turns.play():
            play = Play(self._make())
            names = [actor.name for actor in play.scenario.actors]
            assert len(set(names)) == len(names), f"two actors of one name: {names}"
            self._max_faults = play.scenario.max_faults
            state: _State | None = _State(self._shared(play), tuple(map(self._place, play.scenario.actors)), 0)
        while state is not None:
            state = self._turn_back(self._descend(state))
        self.found.states = len(self._known)
        return self.found

    def _shared(self, play: Play) -> int:
        assert play.scenario.state is not None, "the scenario does not name its state"
        return self._numbers[play.scenario.state()]

    def _place(self, actor: Actor) -> int:
        if not actor.waiting:
            return OVER
        place = self._numbers[actor.name, tuple(actor.met), tuple(turns.heard[actor.name])]
        self._choices[place] = list(actor.choices())
        return place

    def _options(self, state: _State) -> list[_Option]:
        exhausted = state.faults >= self._max_faults
        return [
            (actor, fault)
            for actor, place in enumerate(state.places)
            if place != OVER
            for fault in self._choices[place]
            if fault is Fault.OK or not exhausted
        ]

    def _descend(self, state: _State) -> int:
        """Take first options down to an end, or to a state that is known; return how many runs go on from it."""
        while state not in self._known:
            options = self._options(state)
            if not options:
                self._end(state)
                self._known[state] = 1
                break
            self._branches.append(_Branch(state, options))
            state = self._step()
        if len(self._known) > self._limit:
            raise AssertionError(f"more than {self._limit} states; make the scenario smaller or use seeds")
        return self._known[state]

    def _turn_back(self, runs: int) -> _State | None:
        """Count ``runs`` for the option that was followed, and take the next one, where there is any."""
        while self._branches:
            branch = self._branches[-1]
            branch.runs += runs
            branch.at += 1
            if branch.at < len(branch.options):
                return self._step()
            self._known[branch.state] = runs = branch.runs
            self._branches.pop()
        self.found.runs = runs
        return None

    def _step(self) -> _State:
        """Return the state after the option that is being followed."""
        branch = self._branches[-1]
        state, (actor, fault) = branch.state, branch.options[branch.at]
        key = state.shared, state.places[actor], fault
        if key not in self._effects:
            with turns.play():
                play = self._follow()
                self._effects[key] = self._shared(play), self._place(play.scenario.actors[actor])
            self.found.steps += 1
        shared, place = self._effects[key]
        places = (*state.places[:actor], place, *state.places[actor + 1 :])
        return _State(shared, places, state.faults + (fault is not Fault.OK))

    def _follow(self) -> Play:
        """Return a play that has taken the options being followed."""
        play = Play(self._make())
        for branch in self._branches:
            actor, fault = branch.options[branch.at]
            play.go(play.scenario.actors[actor], fault)
        return play

    def _end(self, state: _State) -> None:
        if state.shared in self.found.ends:
            return
        with turns.play():
            play = self._follow()
            assert self._shared(play) == state.shared, "what actors share is not all in the scenario's state"
            assert not play.options()
            self.found.ends.add(state.shared)
            try:
                play.check()
            except AssertionError as error:
                failure = error
            else:
                return
        choices = [branch.at for branch in self._branches]
        replay(self._make, choices)  # tells the steps
        raise AssertionError(f"choices {choices} lead to: {failure}, but not when run again")


def survey(make: Callable[[], Scenario], *, limit: int = 1_000_000) -> Survey:
    """Go through every sequence of choices; more than ``limit`` states are an error, not a sample."""
    with remembering():
        return _Surveyor(make, limit).survey()
