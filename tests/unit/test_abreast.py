"""Flows side by side: one batch for what all send at once, and each gets its own results and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edge_redis.core.operation import Batch, Flow, Operation, Step, abreast, command, done, identity
from edge_redis.errors import StoreUnavailableError, WrongKeyTypeError
from edge_redis.runtime.runner import _by_tag, _in_place


def echo(word: str) -> Operation[Any]:
    return command(identity, "ECHO", word)


def performed(flow: Flow[Any], answer: Callable[[str], Any]) -> tuple[Any, list[list[str]]]:
    """Run a flow on a server that answers each word; return the result and what was sent together."""
    sent: list[list[str]] = []
    try:
        step: Step = next(flow)
        while True:
            operations = step.operations if isinstance(step, Batch) else [step]
            sent.append([str(operation.words[1]) for operation in operations])
            answers = [answer(word) for word in sent[-1]]
            step = flow.send(answers if isinstance(step, Batch) else answers[0])
    except StopIteration as end:
        return end.value, sent


def spell(text: str) -> Flow[str]:
    said = ""
    for letter in text:
        said += yield from echo(letter)
    return said


def at_once(text: str) -> Flow[str]:
    return "".join((yield from Batch([echo(letter) for letter in text], ordered=True)))


def test_what_is_sent_at_the_same_time_goes_together() -> None:
    result, sent = performed(abreast([spell("ab"), at_once("xyz"), done("-"), spell("q")]), str.upper)
    assert result == ["AB", "XYZ", "-", "Q"]
    assert sent == [["a", "x", "y", "z", "q"], ["b"]]


def test_one_alone_is_left_alone() -> None:
    assert performed(abreast([spell("ab")]), str.upper) == (["AB"], [["a"], ["b"]])


def test_an_error_is_its_own_flows_and_the_others_go_on() -> None:
    heard: list[str] = []

    def careful(text: str) -> Flow[str]:
        try:
            return (yield from spell(text))
        except WrongKeyTypeError:
            heard.append(text)
            return "saved"

    def answer(word: str) -> Any:
        return WrongKeyTypeError(word) if word == "!" else word

    assert performed(abreast([careful("a!"), spell("xyz")]), answer)[0] == ["saved", "xyz"]
    assert heard == ["a!"]
    sent: list[str] = []
    flow = abreast([spell("!"), spell("xyz")])
    with pytest.raises(WrongKeyTypeError):
        performed(flow, lambda word: sent.append(word) or answer(word))
    assert sent == ["!", "x", "y", "z"]


def test_a_batch_that_is_lost_is_lost_for_all() -> None:
    flow = abreast([spell("a"), spell("b")])
    next(flow)
    with pytest.raises(StoreUnavailableError):
        flow.throw(StoreUnavailableError("gone"))


def test_on_a_cluster_those_of_a_tag_keep_their_order() -> None:
    keys = ["{a}1", "{b}1", "{a}2", "c", "{b}2"]
    groups = _by_tag([command(identity, "GET", key) for key in keys])
    assert [[keys[at] for at in group] for group in groups] == [["{a}1", "{a}2"], ["{b}1", "{b}2"], ["c"]]
    assert _in_place(groups, [[keys[at] for at in group] for group in groups]) == keys
