"""The buffer: the content of batches, their division into calls, and that no record is lost or sent twice."""

import json
import math
import threading
from datetime import UTC, datetime, timedelta

import pytest

from edge_redis._metrics.columns import RecordColumns
from edge_redis._metrics.config import MetricsConfig
from edge_redis._metrics.flush_calls import LOGS, MAX_STREAM_ENTRIES, MAX_WORK, SHARE_OF_MERGED, FlushCall
from edge_redis._metrics.keys import OTHER, pair_name, parse_pair
from edge_redis._metrics.record_buffer import MAX_WAITING_PAIRS, RecordBuffer
from edge_redis._metrics.record_stream import decode_entry, encode_entry
from edge_redis._metrics.totals import MAX_UPDATES, PairPart, Totals, sum_records
from edge_redis.errors import CorruptDataError
from edge_redis.models import InvocationRecord
from support.checked import present
from support.metrics import START, made

CONFIG = MetricsConfig(timeline_minutes=60, max_errors=100)


def append(buffer: RecordBuffer, records: list[InvocationRecord]) -> None:
    for record in records:
        buffer.records[buffer.take_number()] = record


def totals_of(records: list[InvocationRecord]) -> Totals:
    columns = RecordColumns.of(records)
    return sum_records(columns, columns.find_failures(), math.inf)


def encoded(records: list[InvocationRecord]) -> bytes:
    return encode_entry(RecordColumns.of(records))


def filled(count: int) -> RecordBuffer:
    buffer = RecordBuffer()
    append(buffer, [made(timestamp=START) for _ in range(count)])
    return buffer


def next_call(buffer: RecordBuffer) -> FlushCall | None:
    return next(iter(buffer.next_calls(1)), None)


def parts_of(call: FlushCall) -> list[PairPart]:
    return [PairPart(*part) for body in call.bodies for part in json.loads(body.text)[1]]


def overflow_of(call: FlushCall) -> int:
    return sum(json.loads(body.text)[0] for body in call.bodies)


def counted(call: FlushCall) -> int:
    """Return how many records a call adds: its bodies without what those have which they replace."""
    if call.added:
        return sum(sum(totals.buckets.values()) for sums in call.added.values() for totals in sums.values())
    return sum(sum(part.counts) for part in parts_of(call))


def work_of(call: FlushCall) -> float:
    """Return the work of a call: a part that is added to the series of another one takes little there."""
    seen: set[str] = set()
    work = 0.0
    for part in (PairPart(*part) for body in call.bodies for part in json.loads(body.text)[1]):
        names = {"all", f"f:{part.function_id}", f"n:{part.node_id}"}
        work += part.updates * (1 + len(names - seen) + SHARE_OF_MERGED * len(names & seen))
        seen |= names
    return work


def drained(buffer: RecordBuffer) -> list[FlushCall]:
    calls = []
    while (call := next_call(buffer)) is not None:
        calls.append(call)
        buffer.acknowledge(call, "0")
    return calls


def test_a_call_holds_the_sums_of_its_records() -> None:
    buffer = RecordBuffer()
    append(
        buffer,
        [
            made(ms=2.0, timestamp=START),
            made(ms=2.0000005, ok=False, timestamp=START + timedelta(seconds=29)),
            made(ms=1.25, timestamp=START + timedelta(seconds=30)),
        ],
    )
    assert buffer.aggregate(CONFIG) == 3
    (call,) = drained(buffer)
    (part,) = parts_of(call)
    minute = int(START.timestamp()) // 60
    assert part[:6] == ("f", "n", 1, 0, 5, 250000)  # round(2.0000005e6) is 2000000: the half goes to the even
    assert dict(zip(part.buckets, part.counts, strict=True)) == {31: 1, 32: 1, 10: 1}
    assert part.minutes == [minute, 2, 1, 0, 4, 0, minute + 1, 1, 0, 0, 1, 250000]
    assert (part.updates, part.max_ms) == (20 + 5 + 3 + 2 * 5, 2.0000005)
    assert call.pair_names == [pair_name("f", "n")]
    assert [(stream, count) for stream, count, _ in call.entries] == [("recent", 3), ("errors", 1)]


def test_a_call_is_the_next_one_until_it_is_acknowledged() -> None:
    buffer = filled(2)
    buffer.aggregate(CONFIG)
    call = present(next_call(buffer))
    append(buffer, [made()])
    assert buffer.aggregate(CONFIG) == 3
    assert next_call(buffer) is call
    assert (buffer.pending, buffer.is_delivered(1)) == (3, False)
    buffer.acknowledge(call, "7")
    buffer.acknowledge(call, "7")
    assert (buffer.pending, buffer.is_delivered(2), buffer.is_delivered(3)) == (1, True, False)
    following = present(next_call(buffer))
    assert (following.sequence, counted(following)) == (2, 1)
    buffer.acknowledge(following, "7")
    assert (buffer.pending, next_call(buffer)) == (0, None)


def test_a_batch_of_several_calls_keeps_the_epoch_of_the_first() -> None:
    buffer = RecordBuffer()
    append(buffer, [made(f"f{at}", timestamp=START) for at in range(MAX_UPDATES)])
    buffer.aggregate(CONFIG)
    first = present(next_call(buffer))
    assert first.epoch == ""
    buffer.acknowledge(first, "3")
    second = next_call(buffer)
    buffer.acknowledge(first, "3")  # another thread had sent it too
    assert next_call(buffer) is second
    assert present(next_call(buffer)).epoch == "3"
    assert next_call(buffer) is not first
    assert not buffer.is_delivered(MAX_UPDATES)
    buffer.acknowledge(present(next_call(buffer)), None)
    assert present(next_call(buffer)).epoch == "3"


def test_large_batches_are_split_within_their_bounds_and_lose_nothing() -> None:
    buffer = RecordBuffer()
    minutes = [START + timedelta(minutes=at) for at in range(700)]
    append(buffer, [made(f"f{at % 7}", ms=1.03**at, ok=at % 5 > 0, timestamp=minutes[at]) for at in range(700)])
    append(buffer, [made(f"g{at}", timestamp=START) for at in range(3000)])
    buffer.aggregate(MetricsConfig(timeline_minutes=10_000, max_errors=0))
    calls = drained(buffer)
    assert [call.sequence for call in calls] == list(range(1, len(calls) + 1))
    assert sum(map(counted, calls)) == 3700
    assert sum(count for call in calls for _, count, _ in call.entries) == 3700
    parts = [part for call in calls for part in parts_of(call)]
    assert all(part.updates <= MAX_UPDATES for part in parts)
    assert all(work_of(call) <= MAX_WORK or len(parts_of(call)) == 1 for call in calls)
    assert all(len(call.entries) <= MAX_STREAM_ENTRIES for call in calls)
    assert sum(part.errors for part in parts) == 140
    assert sum(sum(part.minutes[1::6]) for part in parts) == 3700


def test_a_call_has_a_body_for_each_log_and_pairs_keep_their_logs() -> None:
    buffer = RecordBuffer()
    seen: list[dict[str, int]] = []
    for _ in range(2):
        append(buffer, [made(f"f{at}", timestamp=START) for at in range(10)])
        buffer.aggregate(CONFIG)
        (call,) = drained(buffer)
        assert [body.log for body in call.bodies] == list(range(LOGS))
        seen.append({part[0]: body.log for body in call.bodies for part in json.loads(body.text)[1]})
    assert seen[0] == seen[1]
    assert sorted(map(list(seen[0].values()).count, range(LOGS))) == [1, 1, 2, 2, 2, 2]


def test_one_pair_with_more_than_a_call_takes_is_split_and_its_sums_sent_once() -> None:
    totals = totals_of([made(ms=1.02**at, timestamp=START + timedelta(minutes=at)) for at in range(900)])
    parts = list(totals.split())
    assert len(parts) > 1
    assert {part[2:6] for part in parts[1:]} == {(0, 0, 0, 0)}
    assert not any(part.buckets for part in parts[1:])
    assert all(part.updates <= MAX_UPDATES for part in parts)


def test_records_that_wait_for_the_server_are_bounded() -> None:
    buffer = RecordBuffer()
    append(buffer, [made("first")])
    buffer.aggregate(CONFIG)
    stuck = present(next_call(buffer))
    for at in range(200):
        append(buffer, [made(timestamp=START + timedelta(minutes=at)) for _ in range(50)])
        buffer.aggregate(MetricsConfig(max_recent=100, timeline_minutes=60))
    assert buffer.pending == 10_001
    buffer.acknowledge(stuck, "0")
    calls = drained(buffer)
    assert sum(map(counted, calls)) == 10_000
    assert sum(count for call in calls for _, count, _ in call.entries) == 100
    kept = [minute for call in calls for part in parts_of(call) for minute in part.minutes[::6]]
    last = int(START.timestamp()) // 60 + 199
    assert sorted(kept) == list(range(last - 59, last + 1))


def test_pairs_past_the_bound_wait_under_other() -> None:
    buffer = RecordBuffer()
    for start in (0, MAX_WAITING_PAIRS):
        append(buffer, [made(f"f{at}", timestamp=START) for at in range(start, start + MAX_WAITING_PAIRS)])
        buffer.aggregate(MetricsConfig(max_recent=0, timeline_minutes=60))
    calls = drained(buffer)
    assert sum(map(counted, calls)) == 2 * MAX_WAITING_PAIRS
    assert sum(map(overflow_of, calls)) == overflow_of(calls[0]) == MAX_WAITING_PAIRS
    assert sum(part.function_id == OTHER for call in calls for part in parts_of(call)) == 1


def test_threads_lose_no_record() -> None:
    buffer = RecordBuffer()
    total = 0
    done = threading.Event()

    def record() -> None:
        for _ in range(3000):
            append(buffer, [made(timestamp=START)])

    def drain() -> None:
        nonlocal total
        while not done.is_set() or buffer.pending:
            buffer.aggregate(CONFIG)
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


def test_a_forked_child_starts_with_an_empty_buffer() -> None:
    buffer = filled(3)
    buffer.aggregate(CONFIG)
    before = buffer.writer_id
    append(buffer, [made()])
    buffer.reset()
    assert (buffer.pending, next_call(buffer)) == (0, None)
    assert buffer.writer_id != before


YEARS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
    datetime(9999, 12, 31, 23, 59, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
]


@pytest.mark.parametrize("when", YEARS)
def test_times_of_any_year_are_counted_and_kept(when: datetime) -> None:
    record = made(timestamp=when)
    assert sum(cell[0] for cell in totals_of([record, record]).pairs["f", "n"].minutes.values()) == 2
    assert decode_entry(encoded([record])) == [record]


def test_recent_records_come_back_whole() -> None:
    records = [made("ü", "n" * 1000, 0.1, ok=False, error="E: x", timestamp=START), made(timestamp=START)]
    assert decode_entry(encoded(records)) == records


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x01", b"\x92\x90\x91\x01", b"\x92\x90\x91\x95\x00\x01\xc3\x01\xa0", b"\x81\x01", b"abc"]
)
def test_other_bytes_are_corrupt(body: bytes) -> None:
    with pytest.raises(CorruptDataError):
        decode_entry(body)


@pytest.mark.parametrize("pair", [("a", "bc"), ("ab", "c"), ("ü", "1:x"), ("1:a", "b"), ("*", "all"), (":", ":")])
def test_names_of_pairs_are_unambiguous(pair: tuple[str, str]) -> None:
    assert parse_pair(pair_name(*pair).encode()) == pair
