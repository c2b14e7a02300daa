"""Every sequence of choices of a scenario, gone through by its states.

Many sequences come to the same state: what actors share, where each actor is, and how many faults there were. What
may happen from there on is the same for all of them, so it is explored once and the sequences are counted: the sums
are exact, and nothing is left out. This is the state matching of explicit-state model checkers (Holzmann, "The Model
Checker SPIN", 1997); it also joins what partial-order reductions would (Godefroid, "Partial-Order Methods for the
Verification of Concurrent Systems", 1996): the orders of two steps that do not touch each other end in one state.

Where an actor is follows from what it was answered, and from its faults, since it is a generator that only its own
answers reach. Whatever else actors share must be in ``Scenario.state``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from support.simulated import remembering
from support.simulation import Play, Scenario, replay
from support.turns import turns


@dataclass
class Survey:
    """What was gone through: sequences of choices, the states they come to, and those in which they end."""

    runs: int = 0
    states: int = 0
    steps: int = 0
    ends: set[Hashable] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.runs:,} runs, by {self.states:,} states to {len(self.ends):,} outcomes"


@dataclass
class _Branch:
    """A state on the way, the option that is being followed, and the runs that went on from it so far."""

    key: Hashable
    width: int
    option: int = 0
    runs: int = 0


def _key(play: Play) -> Hashable:
    assert play.scenario.state is not None, "the scenario does not name its state"
    places = [(tuple(a.met), tuple(turns.heard[a.name])) if a.waiting else None for a in play.scenario.actors]
    return play.scenario.state(), tuple(places), play.faults


class _Surveyor:
    def __init__(self, make: Callable[[], Scenario], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._known: dict[Hashable, int] = {}
        self._branches: list[_Branch] = []
        self.found = Survey()

    def survey(self) -> Survey:
        names = [actor.name for actor in self._make().actors]
        assert len(set(names)) == len(names), f"two actors of one name: {names}"
        going = True
        while going:
            with turns.play():
                runs = self._descend(self._follow())
            going = self._turn_back(runs)
        self.found.states = len(self._known)
        return self.found

    def _follow(self) -> Play:
        """Return a play that has come, by the options being followed, to the next state."""
        play = Play(self._make())
        for branch in self._branches:
            play.go(*play.options()[branch.option])
        return play

    def _descend(self, play: Play) -> int:
        """Take first options down to an end, or to a state that is known; return how many runs go on from it."""
        while (key := _key(play)) not in self._known:
            options = play.options()
            if not options:
                self._end(play)
                self._known[key] = 1
                break
            self._branches.append(_Branch(key, len(options)))
            play.go(*options[0])
            self.found.steps += 1
        if len(self._known) > self._limit:
            raise AssertionError(f"more than {self._limit} states; make the scenario smaller or use seeds")
        return self._known[key]

    def _turn_back(self, runs: int) -> bool:
        """Count ``runs`` for the option that was followed, and take the next one; whether there is any."""
        while self._branches:
            branch = self._branches[-1]
            branch.runs += runs
            branch.option += 1
            if branch.option < branch.width:
                self.found.steps += 1
                return True
            self._known[branch.key] = runs = branch.runs
            self._branches.pop()
        self.found.runs = runs
        return False

    def _end(self, play: Play) -> None:
        assert play.scenario.state is not None
        end = play.scenario.state()
        if end in self.found.ends:
            return
        self.found.ends.add(end)
        try:
            play.check()
        except AssertionError as error:
            choices = [branch.option for branch in self._branches]
            replay(self._make, choices)  # tells the steps
            raise AssertionError(f"choices {choices} lead to: {error}, but not when run again") from error


def survey(make: Callable[[], Scenario], *, limit: int = 1_000_000) -> Survey:
    """Go through every sequence of choices; more than ``limit`` states are an error, not a sample."""
    with remembering():
        return _Surveyor(make, limit).survey()
