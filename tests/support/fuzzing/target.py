"""A target of fuzzing: what is given any bytes, and how inputs for it are made of examples."""

from __future__ import annotations

import itertools
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from edge_redis import EdgeRedisError
from support.deadline import deadline

Run = Callable[[bytes], object]

MAX_BYTES: Final = 4096
"""Of an input."""

MAX_GROWTH_MB: Final = 300
"""By which the largest size of the process may grow with one input."""

_TOKENS: Final = (
    b"-1", b"0", b"1", b"nan", b"inf", b"1e400", b"9" * 400, b"9" * 5000, b"18446744073709551616", b" ", b":", b"\n",
    b"\r\n", b"\0", b"\xff", b"\xc1", b"~", b"-", b"=", b"!", b"*-1\r\n", b"$-1\r\n", b"*1\r\n", b"%1\r\n", b">2\r\n",
    b"$3\r\n", b"*1000000\r\n", b"\x90", b"\x80", b"\x92", b"\xc7\x02\x01", b"\xdd\xff\xff\xff\xff",
    b"\xc0", b"\xcb\x7f\xf0\0\0\0\0\0\0", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"1_0", "\u0661".encode(),
    b"\xed\xa0\x80",
)  # fmt: skip
"""What is put into inputs: numbers, separators, beginnings of replies and of msgpack."""


@dataclass(frozen=True)
class Target:
    """Something that must bear any bytes."""

    name: str
    open: Callable[[], AbstractContextManager[Run]]
    """Makes ready what is needed, and gives the function that takes an input."""
    examples: Callable[[], Sequence[bytes]]
    """Inputs of the right form, of which others are made."""
    inputs: int = 200
    """How many of them the tests run."""
    renew_after: int = 10_000
    """After so many inputs everything is made anew."""


class InputError(AssertionError):
    """An input ended in another error than one of this package, took too long or too much memory."""


def run_input(run: Run, data: bytes) -> bool:
    """Give an input to a target; return whether it was taken. Raises ``InputError`` where it fails."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with deadline("an input"):
            run(data)
        is_taken = True
    except EdgeRedisError:
        is_taken = False
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise InputError(f"{type(error).__name__}: {error}; input: {data.hex()}") from error
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    if growth > MAX_GROWTH_MB:
        raise InputError(f"{growth} MB of memory; input: {data.hex()}")
    return is_taken


def make_inputs(examples: Sequence[bytes], choose: random.Random) -> Iterator[bytes]:
    """Yield the examples, and after each one that is made of them, without end."""
    for example in itertools.chain(examples, itertools.repeat(None)):
        if example is not None:
            yield example
        yield mutate(choose.choice(examples), choose, examples)[:MAX_BYTES]


def mutate(data: bytes, choose: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return other bytes: a few of changed bits, parts left out, repeated, moved or of another input, and tokens."""
    for _ in range(choose.choice((1, 1, 2, 3, 6))):
        start = choose.randrange(len(data) + 1)
        end = min(len(data), start + choose.choice((0, 1, 1, 2, 4, 8, 40)))
        kind = choose.randrange(7)
        if kind == 0 and start < len(data):
            middle = bytes([data[start] ^ 1 << choose.randrange(8)])
            end = start + 1
        elif kind == 1:
            middle = b""
        elif kind == 2:
            middle = data[start:end] * choose.choice((2, 2, 3, 30))
        elif kind == 3 and others:
            other = choose.choice(others)
            place = choose.randrange(len(other) + 1)
            middle = other[place : place + choose.choice((1, 4, 16, 400))]
        elif kind == 4:
            middle = choose.randbytes(choose.randrange(1, 9))
        else:
            middle = choose.choice(_TOKENS)
        data = data[:start] + middle + data[end:]
    return data


@dataclass
class Result:
    """How many inputs a target was given."""

    inputs: int = 0
    taken: int = 0
    seconds: float = 0.0


def run_target(
    target: Target, seed: int, *, inputs: int, seconds: float = float("inf"), on_error: Callable[[InputError], None]
) -> Result:
    """Give inputs to a target, so many or for so long."""
    made = make_inputs(target.examples(), random.Random(f"{target.name} {seed}"))
    result, began = Result(), time.monotonic()
    while result.inputs < inputs and time.monotonic() - began < seconds:
        with target.open() as run:
            for _ in range(min(target.renew_after, inputs - result.inputs)):
                try:
                    result.taken += run_input(run, next(made))
                except InputError as error:
                    on_error(error)
                result.inputs += 1
                if time.monotonic() - began >= seconds:
                    break
    result.seconds = time.monotonic() - began
    return result
