"""How much a worker transfers at once, and how fast, over a simulated link."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from edge_redis._core.pace import Round
from edge_redis._sync.pace import WorkerPace
from edge_redis._sync.transfer import FIRST_BYTES, TokenBucket, TransferSize

SLOW = 64_000 / 8
"""Bytes a second at 64 kbit/s."""

TIMEOUT = 5.0
"""Of a socket, by default of ``connect``."""

MOST = 8 * 1024 * 1024


@dataclass
class Link:
    """A link whose time passes by transfers alone."""

    bytes_per_second: float
    latency: float = 0.0
    now: float = 0.0
    longest: float = 0.0
    sizes: list[int] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def carry(self, transfer: TransferSize, left: int) -> int:
        """Carry as much as the transfer may have, and return what is left; nothing where it takes too long."""
        size = min(left, transfer.size)
        seconds = self.latency + size / self.bytes_per_second
        transfer.begin()
        self.now += min(seconds, TIMEOUT)
        self.longest = max(self.longest, seconds)
        if seconds > TIMEOUT:
            transfer.fail()
            return left
        transfer.end(size, size)
        self.sizes.append(size)
        return left - size


@pytest.mark.parametrize("latency", [0.0, 0.6], ids=["modem", "satellite"])
def test_no_transfer_over_64_kbit_takes_as_long_as_a_time_out(latency: float) -> None:
    link, left = Link(SLOW, latency), 500_000
    transfer = TransferSize(FIRST_BYTES, MOST, link.clock)
    while left:
        left = link.carry(transfer, left)
    assert link.longest < TIMEOUT / 1.5
    assert link.now < (500_000 / SLOW) * 1.7


def test_transfers_grow_with_the_measured_speed() -> None:
    link, left = Link(10_000_000.0), 100_000_000
    transfer = TransferSize(FIRST_BYTES, MOST, link.clock)
    while left:
        left = link.carry(transfer, left)
    assert link.sizes[:4] == [FIRST_BYTES, 4 * FIRST_BYTES, 16 * FIRST_BYTES, 64 * FIRST_BYTES]
    assert transfer.is_fast
    assert max(link.sizes) == MOST


def test_a_link_that_becomes_slow_costs_one_transfer_and_the_next_is_small() -> None:
    link, left = Link(10_000_000.0), 100_000_000
    transfer = TransferSize(FIRST_BYTES, MOST, link.clock)
    for _ in range(12):
        left = link.carry(transfer, left)
    link.bytes_per_second, link.longest = SLOW, 0.0
    link.carry(transfer, left)
    assert (link.longest > TIMEOUT, transfer.size, transfer.is_fast) == (True, FIRST_BYTES, False)
    link.longest = 0.0
    for _ in range(20):
        left = link.carry(transfer, left)
    assert link.longest < TIMEOUT


def test_a_first_transfer_that_fails_again_and_again_becomes_as_small_as_can_be() -> None:
    transfer = TransferSize(FIRST_BYTES, MOST, lambda: 0.0)
    for _ in range(20):
        transfer.fail()
    assert transfer.size == 1


def test_small_transfers_say_nothing_of_large_ones() -> None:
    transfer = TransferSize(FIRST_BYTES, MOST, lambda: 0.0)
    for _ in range(20):
        transfer.begin()
        transfer.end(100, 100)
    assert transfer.size == FIRST_BYTES


def test_what_has_bytes_of_its_own_is_bounded_by_them() -> None:
    pages = TransferSize(4, 100, lambda: 0.0, max_bytes=20_000)
    sizes = []
    for _ in range(6):
        pages.begin()
        pages.end(pages.size, pages.size * 3_000)
        sizes.append(pages.size)
    assert sizes == [6] * 6


def test_a_worker_s_pauses_keep_to_the_bytes_a_second() -> None:
    link = Link(1_000_000.0)
    bucket = TokenBucket(SLOW, link.clock)
    pace = WorkerPace(0.5, 5.0, lambda: False, bucket.seconds_left)
    sent = 0
    while link.now < 60.0:
        link.now += 10_000 / link.bytes_per_second
        bucket.take(10_000)
        sent += 10_000
        pause = pace.after(Round(1, was_woken=False, is_listening=True))
        assert pause.least == pause.seconds  # a hint does not shorten it
        link.now += pause.seconds
    assert sent / link.now == pytest.approx(SLOW, rel=0.05)


def test_what_was_not_used_may_be_used_for_a_second_at_most() -> None:
    link = Link(1.0)
    bucket = TokenBucket(1_000.0, link.clock)
    link.now = 3_600.0
    bucket.take(1_000)
    assert bucket.seconds_left() == 0.0
    bucket.take(500)
    assert bucket.seconds_left() == pytest.approx(0.5)
