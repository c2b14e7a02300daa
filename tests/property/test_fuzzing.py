"""Some damaged, odd and hostile inputs for each target of ``scripts/dev/fuzz.py``, the same ones in each run."""

from __future__ import annotations

import pytest

from support.fuzzing.target import InputError, run_target
from support.fuzzing.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_is_taken_or_refused_by_an_error_of_the_package(name: str) -> None:
    failures: list[InputError] = []
    result = run_target(TARGETS[name], 0, inputs=TARGETS[name].inputs, on_error=failures.append)
    assert not failures, failures[0]
    assert result.inputs == TARGETS[name].inputs
