"""Long lists are split by number, and by bytes."""

from __future__ import annotations

import pytest

from edge_redis._core.chunks import split_by_bytes, split_chunks


def test_runs_have_so_many_items() -> None:
    assert split_chunks("abcde", 2) == ["ab", "cd", "e"]


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([], []),
        ([0, 0, 0], [[0, 1, 2]]),
        ([4, 6, 1], [[0, 1], [2]]),
        ([11, 1, 12, 13], [[0], [1], [2], [3]]),
        ([10, 0, 10], [[0, 1], [2]]),
    ],
    ids=["none", "empty ones", "full", "larger ones", "nothing more"],
)
def test_runs_have_so_many_bytes_or_one_item(sizes: list[int], runs: list[list[int]]) -> None:
    assert split_by_bytes(range(len(sizes)), sizes, 10) == runs
