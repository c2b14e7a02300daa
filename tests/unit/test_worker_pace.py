"""The pauses of a worker: waiting for hints, polling, and coming back apart after an outage."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from edge_redis._core.pace import Pause, Round
from edge_redis._io.wake_ups import WakeUps
from edge_redis._sync.pace import LONGEST_RETRY_SECONDS, READ_SECONDS, WorkerPace

IDLE = Round(0, was_woken=False, is_listening=True)
POLLED = Round(0, was_woken=False, is_listening=False)
IN_VAIN = Round(0, was_woken=True, is_listening=True)
BUSY = Round(1, was_woken=True, is_listening=True)


def make(*, waiting: bool = False, seed: int = 1) -> WorkerPace:
    return WorkerPace(0.5, 5.0, lambda: waiting, draw=random.Random(seed).random)


def test_an_idle_worker_reads_about_once_a_minute_and_not_in_step_with_others() -> None:
    pauses = [make(seed=seed).after(IDLE) for seed in range(100)]
    assert all(READ_SECONDS * 0.75 <= pause.seconds <= READ_SECONDS * 1.25 for pause in pauses)
    assert max(pause.seconds for pause in pauses) - min(pause.seconds for pause in pauses) > READ_SECONDS * 0.4
    assert {pause.least for pause in pauses} == {0.0}


def test_after_a_round_that_handled_something_the_next_follows_at_once() -> None:
    assert make().after(BUSY) == Pause(0.0)


def test_a_round_that_has_read_everything_is_followed_by_a_wait_where_hints_arrive() -> None:
    pace = WorkerPace(0.5, 5.0, lambda: False, may_have_more=lambda: False, draw=lambda: 0.5)
    assert pace.after(BUSY) == Pause(READ_SECONDS)
    assert pace.after(Round(1, was_woken=False, is_listening=False)) == Pause(0.0)


def test_a_change_that_no_hint_reported_renews_the_listening_connections() -> None:
    found = Round(1, was_woken=False, is_listening=True)
    pace = make()
    assert not pace.after(found).renews_listening  # the first round had nothing to wait for
    for ended, renews in [(IDLE, False), (found, True), (IDLE, False), (BUSY, False), (IDLE, False), (IN_VAIN, False)]:
        assert pace.after(ended).renews_listening is renews
    pace.after(IDLE)
    pace.after_error()
    assert not pace.after(found).renews_listening  # an outage keeps changes as well


def test_what_cannot_be_listened_to_is_polled_at_the_given_interval_in_the_end() -> None:
    pace = make()
    pauses = [pace.after(POLLED).seconds for _ in range(8)]
    assert pauses == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5])
    pace.after(BUSY)
    assert pace.after(POLLED).seconds == pytest.approx(0.02)


def test_changes_that_failed_or_are_another_worker_s_are_tried_again_before_long() -> None:
    pace = make(waiting=True)
    pauses = [pace.after(IDLE).seconds for _ in range(12)]
    assert pauses[:3] == pytest.approx([0.02, 0.04, 0.08])
    assert pauses[-1] == pytest.approx(5.0)


def test_hints_that_bring_nothing_are_followed_more_and_more_rarely() -> None:
    pace = make()
    least = [pace.after(IN_VAIN).least for _ in range(10)]
    assert least[:3] == pytest.approx([0.01, 0.02, 0.04])
    assert least[-1] == pytest.approx(1.0)
    pace.after(BUSY)
    assert pace.after(IDLE).least == 0.0


def test_ten_thousand_edges_come_back_apart_after_an_outage() -> None:
    outage, edges, draw = 120.0, 10_000, random.Random(1).random
    arrivals: Counter[int] = Counter()
    for _ in range(edges):
        pace, now = WorkerPace(0.5, 5.0, lambda: False, draw=draw), 0.0
        while now < outage:
            now += pace.after_error().seconds
        arrivals[int(now - outage)] += 1
    assert max(arrivals) < LONGEST_RETRY_SECONDS
    assert len(arrivals) >= LONGEST_RETRY_SECONDS - 1
    assert max(arrivals.values()) < edges * 0.08  # in the first second, one in 15: the mean pause


def test_retries_of_an_edge_become_rare_and_a_hint_does_not_hasten_them() -> None:
    pace = make()
    pauses = [pace.after_error() for _ in range(1000)]
    assert sum(pause.seconds for pause in pauses[100:]) / 900 == pytest.approx(LONGEST_RETRY_SECONDS / 2, rel=0.1)
    assert all(pause.least == pause.seconds for pause in pauses)
    pace.after(IDLE)
    assert pace.after_error().seconds <= 0.2


def test_many_wake_ups_are_one_and_one_that_is_read_by_then_is_none() -> None:
    wake_ups, cursor = WakeUps(None), 0
    for number in range(1, 1001):
        wake_ups.add(lambda number=number: number > cursor)  # type: ignore[misc]
    assert [wake_ups.take(), wake_ups.take()] == [True, False]
    wake_ups.add(lambda: cursor < 1001)
    cursor = 1001
    woken = [wake_ups.take()]
    wake_ups.add(None)
    woken += [wake_ups.take(), wake_ups.take()]
    assert woken == [False, True, False]
