"""A deterministic scheduler: runs several flows against servers, one step at a time.

A flow yields at every step that leaves its process. At each of these points the scheduler
chooses which actor goes on and what the network does to its step:

    ok              the step is performed and the reply arrives
    request lost    the step is not performed; the actor sees StoreUnavailableError
    reply lost      the step is performed; the actor sees StoreUnavailableError
    repeated        the step is performed twice, as a client library does that resends after
                    a lost reply; the actor sees the second reply
    crash           the actor is gone, before its step is performed
    crash after     the step is performed and the actor is gone

``explore`` runs every sequence of choices, ``seeds`` random ones. A failure names the choices
that led to it, and ``replay`` runs just these again. ``support.exploration`` goes through larger
scenarios by their states.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest

from edge_redis._core.operation import Batch, Invoke, Operation, Sleep, Step, Wait, stepper
from edge_redis._io.blocking_runner import BlockingRunner
from edge_redis.errors import EdgeRedisError, StoreUnavailableError
from support.turns import CHECKING, turns


class Fault(Enum):
    """What happens to one step."""

    OK = "ok"
    REQUEST_LOST = "request lost"
    REPLY_LOST = "reply lost"
    REPEATED = "repeated"
    CRASH = "crash"
    CRASH_AFTER = "crash after"


LOSSES = (Fault.REQUEST_LOST, Fault.REPLY_LOST, Fault.REPEATED)
CRASHES = (Fault.CRASH, Fault.CRASH_AFTER)


def _unread(operation: Operation[Any]) -> Operation[Any]:
    return Operation(operation.args, lambda reply: reply, operation.script)


@dataclass
class Actor:
    """A flow and the client, or the runner, it runs on. ``start`` is called when the scenario begins.

    ``sleep`` is what a pause of the flow does, in seconds: to a clock that stands still otherwise.
    """

    name: str
    client: Any
    start: Callable[[], Awaitable[Any]]
    faults: Sequence[Fault] = ()
    result: Any = None
    error: EdgeRedisError | None = None
    crashed: bool = False
    runner: BlockingRunner | None = None
    sleep: Callable[[float], None] = lambda _seconds: None
    met: list[Fault] = field(default_factory=list)
    _flow: Coroutine[Step, Any, Any] | Generator[Step, Any, Any] | None = None
    _step: Step | None = None
    _over: bool = False

    def begin(self) -> None:
        self._runner = self.runner or BlockingRunner(self.client)
        self._flow = stepper(self.start())
        turns.owner = self.name
        self._advance(lambda steps: steps.send(None))

    @property
    def waiting(self) -> bool:
        """Whether a step of this actor waits to be performed."""
        return not self._over

    @property
    def waits_for(self) -> str:
        """The waiting step, for people."""
        step = self._step
        if isinstance(step, Batch):
            return f"<Batch {' '.join(map(repr, step.operations))}>"
        return f"<{type(step).__name__} {step.seconds}>" if isinstance(step, (Sleep, Wait)) else repr(step)

    @property
    def acknowledged(self) -> bool:
        """Whether the flow came to its end and returned."""
        return self._over and not self.crashed and self.error is None

    def _advance(self, resume: Callable[[Any], Step]) -> None:
        try:
            self._step = resume(self._flow)
        except StopIteration as end:
            self.result, self._over = end.value, True
        except EdgeRedisError as error:
            self.error, self._over = error, True

    def _perform(self) -> tuple[Any, EdgeRedisError | None]:
        assert self._step is not None
        if isinstance(self._step, (Sleep, Wait)):  # nothing waits: the other actors go on meanwhile
            self.sleep(self._step.seconds)
            return None, None
        try:
            return self._runner.perform(self._step), None
        except EdgeRedisError as error:
            return None, error

    def _perform_unread(self) -> None:
        """Perform the step and let nobody read the reply."""
        step = self._step
        if isinstance(step, Operation):
            self._step = _unread(step)
        elif isinstance(step, Batch):
            self._step = Batch([_unread(each) for each in step.operations], ordered=step.ordered)
        self._perform()
        self._step = step

    def go(self, fault: Fault) -> None:
        """Perform the waiting step under ``fault`` and run on to the next one."""
        turns.owner = self.name
        self.met.append(fault)
        if fault in CRASHES:
            if fault is Fault.CRASH_AFTER:
                self._perform_unread()
            self.crashed = self._over = True
            return
        if fault is Fault.REQUEST_LOST:
            self._advance(lambda flow: flow.throw(StoreUnavailableError("request lost")))
            return
        if fault is Fault.REPLY_LOST:
            self._perform_unread()
            lost = StoreUnavailableError("reply lost")
            self._advance(lambda flow: flow.throw(lost))
            return
        if fault is Fault.REPEATED:
            self._perform_unread()
        result, error = self._perform()
        if error is not None:
            raised = error
            self._advance(lambda flow: flow.throw(raised))
        else:
            self._advance(lambda flow: flow.send(result))

    def choices(self) -> Iterator[Fault]:
        """What may happen to the waiting step: losses only where something leaves the process."""
        yield Fault.OK
        if isinstance(self._step, (Operation, Batch, Invoke)):
            yield from self.faults


@dataclass
class Scenario:
    """Actors on their servers, and what must hold when all have come to their end.

    ``state`` names all that the actors share: equal where everything that they do from now on, and what ``check``
    finds, is the same.
    """

    actors: Sequence[Actor]
    check: Callable[[Sequence[Actor]], None]
    max_faults: int = 1
    state: Callable[[], Hashable] | None = None


Choose = Callable[[int], int]


class Play:
    """A scenario under way."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.faults = 0
        for actor in scenario.actors:
            actor.begin()

    def options(self) -> list[tuple[Actor, Fault]]:
        """Return what may happen next: nothing when all actors have come to their end."""
        exhausted = self.faults >= self.scenario.max_faults
        return [
            (actor, fault)
            for actor in self.scenario.actors
            if actor.waiting
            for fault in actor.choices()
            if fault is Fault.OK or not exhausted
        ]

    def go(self, actor: Actor, fault: Fault) -> None:
        self.faults += fault is not Fault.OK
        actor.go(fault)

    def check(self) -> None:
        turns.owner = CHECKING
        self.scenario.check(self.scenario.actors)


@dataclass
class Run:
    """One run: the choices made, and a readable trace of them."""

    choices: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)


def _run(make: Callable[[], Scenario], choose: Choose, salt: str = "") -> Run:
    with turns.play(salt):
        return _play(Play(make()), choose)


def _play(play: Play, choose: Choose) -> Run:
    run = Run()
    while options := play.options():
        chosen = choose(len(options))
        actor, fault = options[chosen]
        run.choices.append(chosen)
        run.widths.append(len(options))
        run.trace.append(f"{actor.name}: {actor.waits_for} {fault.value}")
        play.go(actor, fault)
    try:
        play.check()
    except AssertionError as error:
        steps = "\n  ".join(run.trace)
        msg = f"choices {run.choices} lead to: {error}\n  {steps}"
        raise AssertionError(msg) from error
    return run


def replay(make: Callable[[], Scenario], choices: Iterable[int], salt: str = "") -> Run:
    """Run the scenario with these choices, then with the first option at every point.

    ``salt`` is that of the names drawn at random: the number of the seed where the choices are a seed's.
    """
    given = iter(choices)
    return _run(make, lambda width: min(next(given, 0), width - 1), salt)


def explore(make: Callable[[], Scenario], *, limit: int = 100_000) -> int:
    """Run every sequence of choices; return how many there were.

    Depth first: after each run the last choice that has an untried option is moved on, and
    all later ones start anew. A scenario with more than ``limit`` runs is an error, not a sample.
    """
    runs = 0
    prefix: list[int] | None = []
    while prefix is not None:
        run = replay(make, prefix)
        runs += 1
        if runs > limit:
            msg = f"more than {limit} runs; make the scenario smaller or use seeds"
            raise AssertionError(msg)
        prefix = _next_prefix(run)
    return runs


def _next_prefix(run: Run) -> list[int] | None:
    for depth in range(len(run.choices) - 1, -1, -1):
        if run.choices[depth] + 1 < run.widths[depth]:
            return [*run.choices[:depth], run.choices[depth] + 1]
    return None


SOME_OR_ALL = pytest.mark.parametrize(
    "count", [20, pytest.param(None, marks=pytest.mark.exploration)], ids=["some schedules", "all schedules"]
)
"""For tests that end with ``sample_or_explore``: a sample of the schedules each time, all of them in an exploration."""


def sample_or_explore(make: Callable[[], Scenario], count: int | None, *, least: int = 100) -> None:
    """Run ``count`` random sequences of choices; all of them, at least ``least``, where it is None."""
    if count is not None:
        seeds(make, count=count)
    elif (found := explore(make)) <= least:
        raise AssertionError(f"{found} schedules, which are too few")


def seeds(make: Callable[[], Scenario], *, count: int, start: int = 0) -> None:
    """Run ``count`` random sequences of choices; a failure names its seed."""
    for seed in range(start, start + count):
        pick = random.Random(seed)
        try:
            _run(make, pick.randrange, str(seed))
        except AssertionError as error:
            msg = f"seed {seed}: {error}"
            raise AssertionError(msg) from error
