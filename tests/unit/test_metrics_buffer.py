"""The buffer: what is sealed, how it is split, and that no record is lost or sent twice."""

import json
import math
import threading
from datetime import UTC, datetime, timedelta

import pytest

from edge_redis._io.shutdown import new_mutex
from edge_redis._metrics import recent
from edge_redis._metrics.buffer import MAX_CHUNKS, MAX_WAITING_PAIRS, Buffer, Call
from edge_redis._metrics.columns import Columns
from edge_redis._metrics.delta import MAX_UPDATES, Deltas, Part
from edge_redis._metrics.keys import OTHER, pair_name, pair_of
from edge_redis.errors import CorruptDataError, StoreUnavailableError
from edge_redis.models import InvocationRecord
from support.metrics import START, made

KEEP = {"max_recent": 10_000, "max_minutes": 60, "max_errors": 100}


def absorb(deltas: Deltas, records: list[InvocationRecord]) -> None:
    deltas.absorb(Columns.of(records), math.inf)


def packed(records: list[InvocationRecord]) -> bytes:
    return recent.pack(Columns.of(records))


def filled(count: int, **more: object) -> Buffer:
    buffer = Buffer(new_mutex)
    buffer.records.extend(made(timestamp=START, **more) for _ in range(count))
    return buffer


def parts_of(call: Call) -> list[Part]:
    return [Part(*part) for part in json.loads(call.body)[1]] if call.body else []


def overflow_of(call: Call) -> int:
    return json.loads(call.body)[0] if call.body else 0


def counted(call: Call) -> int:
    return sum(sum(part.counts) for part in parts_of(call))


def drained(buffer: Buffer) -> list[Call]:
    calls = []
    while (call := buffer.next_call()) is not None:
        calls.append(call)
        buffer.acknowledge(call, "0")
    return calls


def test_a_call_says_what_its_records_come_to() -> None:
    buffer = Buffer()
    buffer.records.extend(
        [
            made(ms=2.0, timestamp=START),
            made(ms=2.0000005, ok=False, timestamp=START + timedelta(seconds=29)),
            made(ms=1.25, timestamp=START + timedelta(seconds=30)),
        ]
    )
    assert buffer.absorb(**KEEP) == 3
    (call,) = drained(buffer)
    (part,) = parts_of(call)
    minute = int(START.timestamp()) // 60
    assert part[:6] == ("f", "n", 1, 0, 5, 250000)  # round(2.0000005e6) is 2000000: the half goes to the even
    assert dict(zip(part.buckets, part.counts, strict=True)) == {31: 1, 32: 1, 10: 1}
    assert part.minutes == [minute, 2, 1, 0, 4, 0, minute + 1, 1, 0, 0, 1, 250000]
    assert part.updates == 5 + 3 + 2 * 5
    assert call.names == [pair_name("f", "n")]
    assert [(stream, count) for stream, count, _ in call.chunks] == [("recent", 3), ("errors", 1)]


def test_a_call_is_the_next_one_until_it_is_acknowledged() -> None:
    buffer = filled(2)
    buffer.absorb(**KEEP)
    call = buffer.next_call()
    buffer.records.append(made())
    assert buffer.absorb(**KEEP) == 3
    assert buffer.next_call() is call
    assert (buffer.pending, buffer.reached(1)) == (3, False)
    buffer.acknowledge(call, "7")
    buffer.acknowledge(call, "7")
    assert (buffer.pending, buffer.reached(2), buffer.reached(3)) == (1, True, False)
    following = buffer.next_call()
    assert (following.number, counted(following)) == (2, 1)
    buffer.acknowledge(following, "7")
    assert (buffer.pending, buffer.next_call()) == (0, None)


def test_a_batch_of_several_calls_keeps_the_generation_of_the_first() -> None:
    buffer = Buffer()
    buffer.records.extend(made(f"f{at}", timestamp=START) for at in range(MAX_UPDATES))
    buffer.absorb(**KEEP)
    first = buffer.next_call()
    assert first.batch.generation == ""
    buffer.acknowledge(first, "3")
    second = buffer.next_call()
    buffer.acknowledge(first, "3")  # another thread had sent it too
    assert buffer.next_call() is second
    assert buffer.next_call().batch.generation == "3"
    assert buffer.next_call() is not first
    assert not buffer.reached(MAX_UPDATES)
    buffer.acknowledge(buffer.next_call(), None)
    assert buffer.next_call().batch.generation == "3"


def test_large_batches_are_split_within_their_bounds_and_lose_nothing() -> None:
    buffer = Buffer()
    minutes = [START + timedelta(minutes=at) for at in range(700)]
    buffer.records.extend(made(f"f{at % 7}", ms=1.03**at, ok=at % 5 > 0, timestamp=minutes[at]) for at in range(700))
    buffer.records.extend(made(f"g{at}", timestamp=START) for at in range(3000))
    buffer.absorb(max_recent=10_000, max_minutes=10_000)
    calls = drained(buffer)
    assert [call.number for call in calls] == list(range(1, len(calls) + 1))
    assert sum(map(counted, calls)) == 3700
    assert sum(count for call in calls for _, count, _ in call.chunks) == 3700
    parts = [part for call in calls for part in parts_of(call)]
    assert all(sum(part.updates for part in parts_of(call)) <= MAX_UPDATES for call in calls)
    assert all(len(call.chunks) <= MAX_CHUNKS for call in calls)
    assert sum(part.errors for part in parts) == 140
    assert sum(sum(part.minutes[1::6]) for part in parts) == 3700


def test_one_pair_with_more_than_a_call_takes_is_split_and_its_sums_sent_once() -> None:
    deltas = Deltas()
    absorb(deltas, [made(ms=1.02**at, timestamp=START + timedelta(minutes=at)) for at in range(900)])
    parts = list(deltas.parts())
    assert len(parts) > 1
    assert {part[2:6] for part in parts[1:]} == {(0, 0, 0, 0)}
    assert not any(part.buckets for part in parts[1:])
    assert all(part.updates <= MAX_UPDATES for part in parts)


def test_what_waits_for_the_server_is_bounded() -> None:
    buffer = Buffer()
    buffer.records.append(made("first"))
    buffer.absorb(**KEEP)
    stuck = buffer.next_call()
    for at in range(200):
        buffer.records.extend(made(timestamp=START + timedelta(minutes=at)) for _ in range(50))
        buffer.absorb(max_recent=100, max_minutes=60)
    assert buffer.pending == 10_001
    buffer.acknowledge(stuck, "0")
    calls = drained(buffer)
    assert sum(map(counted, calls)) == 10_000
    assert sum(count for call in calls for _, count, _ in call.chunks) == 100
    kept = [minute for call in calls for part in parts_of(call) for minute in part.minutes[::6]]
    last = int(START.timestamp()) // 60 + 199
    assert sorted(kept) == list(range(last - 59, last + 1))


def test_pairs_past_the_bound_wait_under_other() -> None:
    buffer = Buffer()
    for start in (0, MAX_WAITING_PAIRS):
        buffer.records.extend(made(f"f{at}", timestamp=START) for at in range(start, start + MAX_WAITING_PAIRS))
        buffer.absorb(max_recent=0, max_minutes=60)
    calls = drained(buffer)
    assert sum(map(counted, calls)) == 2 * MAX_WAITING_PAIRS
    assert sum(map(overflow_of, calls)) == overflow_of(calls[0]) == MAX_WAITING_PAIRS
    assert sum(part.function_id == OTHER for call in calls for part in parts_of(call)) == 1


def test_a_failed_call_is_noted_until_one_succeeds() -> None:
    buffer = filled(1)
    sending = buffer.sending()
    sending.__enter__()
    assert buffer.senders == 1
    error = StoreUnavailableError("away")
    assert sending.__exit__(StoreUnavailableError, error, None) is False
    assert (buffer.senders, buffer.failing) == (0, True)
    with buffer.sending():
        pass
    assert (buffer.senders, buffer.failing) == (0, False)


def test_threads_lose_no_record() -> None:
    buffer = Buffer(new_mutex)
    total = 0
    done = threading.Event()

    def record() -> None:
        for _ in range(3000):
            buffer.records.append(made(timestamp=START))

    def drain() -> None:
        nonlocal total
        while not done.is_set() or buffer.pending:
            buffer.absorb(**KEEP)
            total += sum(map(counted, drained(buffer)))

    writers = [threading.Thread(target=record) for _ in range(4)]
    reader = threading.Thread(target=drain)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert (total, buffer.pending) == (12_000, 0)


def test_a_forked_child_begins_anew() -> None:
    buffer = filled(3)
    buffer.absorb(**KEEP)
    before = buffer.slot
    buffer.records.append(made())
    buffer.reset()
    assert (buffer.pending, buffer.next_call()) == (0, None)
    assert buffer.slot != before


YEARS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
    datetime(9999, 12, 31, 23, 59, tzinfo=UTC),
]


@pytest.mark.parametrize("when", YEARS)
def test_times_of_any_year_are_counted_and_kept(when: datetime) -> None:
    record = made(timestamp=when)
    deltas = Deltas()
    absorb(deltas, [record, record])
    assert sum(cell[0] for cell in deltas.pairs["f", "n"].minutes.values()) == 2
    assert recent.unpack(packed([record])) == [record]


def test_recent_records_come_back_whole() -> None:
    records = [made("ü", "n" * 1000, 0.1, ok=False, error="E: x", timestamp=START), made(timestamp=START)]
    assert recent.unpack(packed(records)) == records


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x01", b"\x92\x90\x91\x01", b"\x92\x90\x91\x95\x00\x01\xc3\x01\xa0", b"\x81\x01", b"abc"]
)
def test_other_bytes_are_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptDataError):
        recent.unpack(body)


@pytest.mark.parametrize("pair", [("a", "bc"), ("ab", "c"), ("ü", "1:x"), ("1:a", "b"), ("*", "all"), (":", ":")])
def test_names_of_pairs_are_unambiguous(pair: tuple[str, str]) -> None:
    assert pair_of(pair_name(*pair).encode()) == pair
