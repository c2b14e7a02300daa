#!/usr/bin/env python3
"""Give damaged, odd and hostile inputs to everything that reads some, and say which end in another error than ours.

    python scripts/dev/fuzz.py [--target NAME]... [--inputs N] [--seconds S] [--seed N] [--engine mutator|atheris]
    python scripts/dev/fuzz.py --target NAME --input HEX

A target bears an input if it takes it, or refuses it by an error of this package, within seconds and without much
memory; what was refused may have written nothing. Inputs are made of examples by a mutator with a seed, or with
``--engine atheris`` by libFuzzer, guided by the lines that they reach (``pip install atheris``; each target runs in a
process of its own then, and ends at its first failure). Prints a line for each target, and each failing input, which
``--input`` repeats; exits with 1 where there are any. Needs ``edge-redis[fake,dashboard]`` and the tests of this
checkout. With hiredis installed, the target ``resp`` compares both parsers of replies.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

_atheris = importlib.import_module("atheris") if "--inner" in sys.argv else None
with contextlib.nullcontext() if _atheris is None else _atheris.instrument_imports(include=["edge_redis"]):
    from support.fuzzing.target import InputError, Target, run_input, run_target
    from support.fuzzing.targets import TARGETS

_SHOWN = 20


def fuzz(target: Target, options: argparse.Namespace) -> int:
    """Give inputs to one target; print how many, and return how many failed."""
    failures: list[InputError] = []
    result = run_target(target, options.seed, inputs=options.inputs, seconds=options.seconds, on_error=failures.append)
    rate = result.inputs / max(result.seconds, 1e-9)
    print(
        f"{target.name:16} {result.inputs:9,} inputs, {result.taken:9,} taken, {len(failures):3} failed,"
        f" {result.seconds:6.1f} s, {rate:8,.0f} a second",
        flush=True,
    )
    for failure in failures[:_SHOWN]:
        print(f"  {failure}")
    return len(failures)


def fuzz_with_atheris(target: Target, options: argparse.Namespace) -> int:
    """Run one target by libFuzzer in a process of its own; return its exit code."""
    command = [sys.executable, __file__, "--target", target.name, "--engine", "atheris", "--inner"]
    command += ["--seed", str(options.seed), "--inputs", str(options.inputs), "--seconds", str(options.seconds)]
    began = time.monotonic()
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    last = [line for line in ended.stderr.splitlines() if line.startswith(("Done", "#"))][-1:]
    print(
        f"{target.name:16} exit code {ended.returncode}, {time.monotonic() - began:.1f} s, {' '.join(last)}", flush=True
    )
    if ended.returncode:
        print(f"{ended.stdout[-2000:]}{ended.stderr[-3000:]}")
    return ended.returncode


def run_atheris(target: Target, options: argparse.Namespace) -> None:
    """Hand this process to libFuzzer, which ends it."""
    atheris: Any = _atheris
    corpus = Path(options.corpus or f"/tmp/edge-redis-fuzzing/{target.name}")  # noqa: S108 -- examples alone
    corpus.mkdir(parents=True, exist_ok=True)
    for number, example in enumerate(target.examples()):
        (corpus / f"example-{number}").write_bytes(example)
    with target.open() as run:
        arguments = [
            f"-runs={options.inputs}",
            f"-seed={options.seed + 1}",
            "-max_len=4096",
            f"-artifact_prefix={corpus}-",
        ]
        if options.seconds != float("inf"):
            arguments.append(f"-max_total_time={max(1, round(options.seconds))}")
        atheris.Setup([sys.argv[0], *arguments, str(corpus)], lambda data: run_input(run, data) and None)
        atheris.Fuzz()


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", action="append", choices=TARGETS, help="this one alone; may be given several times")
    parser.add_argument("--inputs", type=int, default=10_000, help="inputs a target (default: 10000)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="a target ends after these")
    parser.add_argument("--seed", type=int, default=0, help="other inputs for another number (default: 0)")
    parser.add_argument("--engine", choices=("mutator", "atheris"), default="mutator", help="(default: mutator)")
    parser.add_argument("--corpus", help="the folder of atheris' inputs (default: one below /tmp)")
    parser.add_argument("--input", type=bytes.fromhex, help="give the targets this input alone")
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    targets = [TARGETS[name] for name in options.target or TARGETS]
    if options.input is not None:
        for target in targets:
            with target.open() as run:
                print(f"{target.name}: {'taken' if run_input(run, options.input) else 'refused'}")
        return 0
    if options.inner:
        run_atheris(targets[0], options)
    fuzz_one = fuzz_with_atheris if options.engine == "atheris" else fuzz
    return 1 if sum(fuzz_one(target, options) for target in targets) else 0


if __name__ == "__main__":
    sys.exit(main())
