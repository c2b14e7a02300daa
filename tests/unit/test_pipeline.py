"""What is written next on a shared connection, and whose a reply is, in every order of what can happen."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from edge_redis._core.operation import Invoke
from edge_redis._io import pipeline
from edge_redis._io.pipeline import Pipeline, Request
from support.simulation import SOME_OR_ALL, Actor, Scenario, sample_or_explore


class Wire:
    """A pipeline, a server that answers each request by its name, and what callers were given."""

    def __init__(self) -> None:
        self.pipeline = Pipeline()
        self.executed: list[str] = []
        self.futures: dict[str, Future[Any]] = {}
        self.cancelled_early: set[str] = set()
        self.time = 0.0
        self._to_server: list[str] = []
        self._to_client: list[Any] = []

    def ask(self, name: str, commands: int | None = None) -> None:
        self.futures[name] = Future()
        self.pipeline.add(Request(f"{name} ".encode() * (commands or 1), self.futures[name], self.time, commands))

    def cancel(self, name: str) -> None:
        self.futures[name].cancel()
        if name not in self._to_server and name not in self.executed:
            self.cancelled_early.add(name)

    def write(self) -> None:
        self._to_server += self.pipeline.next_batch(self.time).decode().split()

    def execute(self) -> None:
        if self._to_server:
            self.executed.append(self._to_server.pop(0))
            self._to_client.append(self.executed[-1])

    def deliver(self) -> None:
        if self._to_client:
            self.pipeline.receive(self._to_client.pop(0))

    def cut(self) -> None:
        """Lose the connection: with it go requests and replies under way."""
        self._to_server, self._to_client = [], []
        self.pipeline.fail_sent(lambda: ConnectionError("cut"))

    def finish(self) -> None:
        """Let everything that is under way come to its end."""
        while self.pipeline.waiting or self.pipeline.sent:
            self.write()
            while self._to_server:
                self.execute()
            while self._to_client:
                self.deliver()


def steps(*functions: Callable[[], object]) -> Callable[[], Any]:
    async def flow() -> None:
        for function in functions:
            await Invoke(function)

    return flow


def make_scenario() -> Scenario:
    wire, client = Wire(), object()
    actors = {
        "a": steps(lambda: wire.ask("a1"), lambda: wire.ask("a2")),
        "b": steps(lambda: wire.ask("b1", 2), lambda: wire.cancel("b1"), lambda: wire.ask("b2")),
        "driver": steps(wire.write, wire.deliver),
        "server": steps(wire.execute),
        "network": steps(wire.cut),
    }

    def check(_: Any) -> None:
        wire.finish()
        for name, future in wire.futures.items():
            assert future.done(), f"{name} has no answer"
            if future.cancelled():
                continue
            answer = future.result()
            assert isinstance(answer, ConnectionError) or answer == name, f"{name} was answered {answer}"
        for caller in ("a", "b"):
            names = list(dict.fromkeys(name for name in wire.executed if name.startswith(caller)))
            assert names == sorted(names), f"out of order: {names}"
        assert not wire.cancelled_early.intersection(wire.executed), "a request went out after its caller was gone"

    runner: Any = _Inline()
    return Scenario([Actor(name, client, start, runner=runner) for name, start in actors.items()], check)


class _Inline:
    """Performs the steps of the scenario: functions alone."""

    def perform(self, step: Invoke[Any]) -> Any:
        return step.function(*step.args)


@SOME_OR_ALL
def test_each_caller_is_answered_by_its_own_reply_in_every_order(count: int | None) -> None:
    sample_or_explore(make_scenario, count and 10 * count)


def test_requests_and_bytes_under_way_are_bounded_and_nobody_is_overtaken() -> None:
    loop_free = Pipeline()
    futures: list[Future[Any]] = [Future() for _ in range(3 * pipeline.MAX_REQUESTS)]
    for number, future in enumerate(futures):
        loop_free.add(Request(b"x" * (1 if number % 2 else 1000), future, 0.0))
    answered = 0
    while loop_free.waiting or loop_free.sent:
        while loop_free.next_batch(0.0):
            assert loop_free.sent <= pipeline.MAX_REQUESTS
            assert loop_free.sent_bytes <= pipeline.MAX_BYTES
        assert loop_free.sent, "nothing is under way though requests wait"
        loop_free.receive(answered)
        answered += 1
    assert [future.result() for future in futures] == list(range(len(futures)))


def test_a_request_above_the_bound_goes_alone() -> None:
    one = Pipeline()
    large: Future[Any] = Future()
    one.add(Request(b"x" * (pipeline.MAX_BYTES + 1), large, 0.0))
    one.add(Request(b"y", Future(), 0.0))
    assert len(one.next_batch(0.0)) == pipeline.MAX_BYTES + 1
    assert not one.next_batch(0.0)
    one.receive(None)
    assert one.next_batch(0.0) == b"y"


def test_callers_that_waited_too_long_are_failed_and_their_replies_dropped() -> None:
    one = Pipeline()
    early, late, unsent = (Future[Any]() for _ in range(3))
    one.add(Request(b"early", early, 0.0))
    one.next_batch(1.0)
    one.add(Request(b"late", late, 0.0))
    one.next_batch(2.0)
    one.add(Request(b"unsent", unsent, 2.0))
    one.expire_sent(2.0, TimeoutError)
    assert isinstance(early.result(), TimeoutError)
    assert not late.done()
    one.receive("dropped")
    one.receive("of late")
    assert late.result() == "of late"
    one.expire_waiting(3.0, TimeoutError)
    assert isinstance(unsent.result(), TimeoutError)
    assert not one.next_batch(3.0)
