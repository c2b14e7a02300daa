"""gather(): operations that coroutines send at the same time go out as one batch; each gets its own results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from edge_redis._core.gather import gather
from edge_redis._core.operation import Batch, Operation, Step, command, identity, stepper
from edge_redis._io.replies import group_by_tag, merge_groups
from edge_redis.errors import StoreUnavailableError, WrongKeyTypeError


def echo(word: str) -> Operation[Any]:
    return command(identity, "ECHO", word)


def word_of(operation: Step) -> str:
    assert isinstance(operation, Operation)
    return str(operation.args[1])


def perform(coroutine: Awaitable[Any], reply: Callable[[str], Any]) -> tuple[Any, list[list[str]]]:
    """Run a coroutine on a server that replies to each word; return its result and the words of each batch."""
    sent: list[list[str]] = []
    try:
        steps = stepper(coroutine)
        step: Step = steps.send(None)
        while True:
            operations = step.operations if isinstance(step, Batch) else [step]
            sent.append([word_of(operation) for operation in operations])
            replies = [reply(word) for word in sent[-1]]
            step = steps.send(replies if isinstance(step, Batch) else replies[0])
    except StopIteration as end:
        return end.value, sent


async def spell(text: str) -> str:
    received = ""
    for letter in text:
        received += await echo(letter)
    return received


async def without_io(text: str) -> str:
    return text


async def in_a_batch(text: str) -> str:
    return "".join(await Batch([echo(letter) for letter in text], ordered=True))


def test_operations_sent_at_the_same_time_go_out_together() -> None:
    result, sent = perform(gather([spell("ab"), in_a_batch("xyz"), without_io("-"), spell("q")]), str.upper)
    assert result == ["AB", "XYZ", "-", "Q"]
    assert sent == [["a", "x", "y", "z", "q"], ["b"]]


def test_a_single_coroutine_is_run_as_it_is() -> None:
    assert perform(gather([spell("ab")]), str.upper) == (["AB"], [["a"], ["b"]])


def test_an_error_is_raised_in_its_own_coroutine_and_the_others_go_on() -> None:
    handled: list[str] = []

    async def careful(text: str) -> str:
        try:
            return await spell(text)
        except WrongKeyTypeError:
            handled.append(text)
            return "saved"

    def reply(word: str) -> Any:
        return WrongKeyTypeError(word) if word == "!" else word

    assert perform(gather([careful("a!"), spell("xyz")]), reply)[0] == ["saved", "xyz"]
    assert handled == ["a!"]
    sent: list[str] = []

    def record_and_reply(word: str) -> Any:
        sent.append(word)
        return reply(word)

    coroutine = gather([spell("!"), spell("xyz")])
    with pytest.raises(WrongKeyTypeError):
        perform(coroutine, record_and_reply)
    assert sent == ["!", "x", "y", "z"]


def test_a_batch_that_fails_fails_for_every_coroutine() -> None:
    coroutine = stepper(gather([spell("a"), spell("b")]))
    coroutine.send(None)
    with pytest.raises(StoreUnavailableError):
        coroutine.throw(StoreUnavailableError("gone"))


def test_on_a_cluster_operations_of_one_tag_keep_their_order() -> None:
    keys = ["{a}1", "{b}1", "{a}2", "c", "{b}2"]
    groups = group_by_tag([command(identity, "GET", key) for key in keys])
    assert [[keys[at] for at in group] for group in groups] == [["{a}1", "{a}2"], ["{b}1", "{b}2"], ["c"]]
    assert merge_groups(groups, [[keys[at] for at in group] for group in groups]) == keys
