"""Flows side by side: one batch for what all send at once, and each gets its own results and errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edge_redis._core.operation import Batch, Operation, Step, command, gather, identity, stepper
from edge_redis._io.runner import _by_tag, _in_place
from edge_redis.errors import StoreUnavailableError, WrongKeyTypeError


def echo(word: str) -> Operation[Any]:
    return command(identity, "ECHO", word)


def performed(flow: Awaitable[Any], answer: Callable[[str], Any]) -> tuple[Any, list[list[str]]]:
    """Run a flow on a server that answers each word; return the result and what was sent together."""
    sent: list[list[str]] = []
    try:
        steps = stepper(flow)
        step: Step = steps.send(None)
        while True:
            operations = step.operations if isinstance(step, Batch) else [step]
            sent.append([str(operation.args[1]) for operation in operations])
            answers = [answer(word) for word in sent[-1]]
            step = steps.send(answers if isinstance(step, Batch) else answers[0])
    except StopIteration as end:
        return end.value, sent


async def spell(text: str) -> str:
    said = ""
    for letter in text:
        said += await echo(letter)
    return said


async def nothing_sent(text: str) -> str:
    return text


async def at_once(text: str) -> str:
    return "".join(await Batch([echo(letter) for letter in text], ordered=True))


def test_what_is_sent_at_the_same_time_goes_together() -> None:
    result, sent = performed(gather([spell("ab"), at_once("xyz"), nothing_sent("-"), spell("q")]), str.upper)
    assert result == ["AB", "XYZ", "-", "Q"]
    assert sent == [["a", "x", "y", "z", "q"], ["b"]]


def test_one_alone_is_left_alone() -> None:
    assert performed(gather([spell("ab")]), str.upper) == (["AB"], [["a"], ["b"]])


def test_an_error_is_its_own_flows_and_the_others_go_on() -> None:
    heard: list[str] = []

    async def careful(text: str) -> str:
        try:
            return await spell(text)
        except WrongKeyTypeError:
            heard.append(text)
            return "saved"

    def answer(word: str) -> Any:
        return WrongKeyTypeError(word) if word == "!" else word

    assert performed(gather([careful("a!"), spell("xyz")]), answer)[0] == ["saved", "xyz"]
    assert heard == ["a!"]
    sent: list[str] = []
    flow = gather([spell("!"), spell("xyz")])
    with pytest.raises(WrongKeyTypeError):
        performed(flow, lambda word: sent.append(word) or answer(word))
    assert sent == ["!", "x", "y", "z"]


def test_a_batch_that_is_lost_is_lost_for_all() -> None:
    flow = stepper(gather([spell("a"), spell("b")]))
    flow.send(None)
    with pytest.raises(StoreUnavailableError):
        flow.throw(StoreUnavailableError("gone"))


def test_on_a_cluster_those_of_a_tag_keep_their_order() -> None:
    keys = ["{a}1", "{b}1", "{a}2", "c", "{b}2"]
    groups = _by_tag([command(identity, "GET", key) for key in keys])
    assert [[keys[at] for at in group] for group in groups] == [["{a}1", "{a}2"], ["{b}1", "{b}2"], ["c"]]
    assert _in_place(groups, [[keys[at] for at in group] for group in groups]) == keys
