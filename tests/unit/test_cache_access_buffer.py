"""The buffer of access counts: its batches, their numbers, and its bounds."""

from __future__ import annotations

import threading

from edge_redis._cache.access_buffer import MAX_KEYS, MAX_WAITING, AccessBatch, AccessBuffer


def batch_of(buffer: AccessBuffer, last: int) -> AccessBatch:
    batch = buffer.next_batch(last)
    assert batch is not None
    return batch


def test_accesses_of_one_entry_are_merged() -> None:
    buffer = AccessBuffer()
    buffer.add("a", 1)
    buffer.add("a", 1)
    buffer.add("a", 2)
    buffer.add("b", None)
    buffer.add("b", None)
    assert len(buffer.accesses) == 5
    last = buffer.freeze()
    assert (len(buffer.accesses), last) == (0, 1)
    batch = batch_of(buffer, last)
    assert (batch.hits, batch.misses) == (3, 2)
    assert (batch.hits_by_entry, batch.missed_keys) == ([("a", 1, 2), ("a", 2, 1)], ["b"])


def test_an_empty_buffer_makes_no_batch() -> None:
    buffer = AccessBuffer()
    assert buffer.freeze() == 0
    assert buffer.next_batch(0) is None


def test_a_batch_stays_until_it_is_acknowledged() -> None:
    buffer = AccessBuffer()
    buffer.add("a", None)
    last = buffer.freeze()
    batch = batch_of(buffer, last)
    assert buffer.next_batch(last) is batch
    buffer.add("b", None)
    assert buffer.freeze() == 2
    assert buffer.next_batch(2) is batch
    buffer.acknowledge(batch)
    buffer.acknowledge(batch)  # another thread delivered it, too
    assert buffer.next_batch(1) is None
    assert batch_of(buffer, 2).missed_keys == ["b"]


def test_many_keys_make_several_batches_in_order() -> None:
    buffer = AccessBuffer()
    for i in range(2 * MAX_KEYS + 1):
        buffer.add(str(i), i)
    assert buffer.freeze() == 3
    sizes = []
    while batch := buffer.next_batch(3):
        sizes.append((batch.sequence, batch.hits, len(batch.hits_by_entry)))
        buffer.acknowledge(batch)
    assert sizes == [(1, MAX_KEYS, MAX_KEYS), (2, MAX_KEYS, MAX_KEYS), (3, 1, 1)]


def test_memory_is_bounded_and_no_hit_or_miss_is_lost() -> None:
    buffer = AccessBuffer()
    for i in range(3 * MAX_WAITING):
        buffer.add("a", i)
        buffer.add("b", None)
        buffer.freeze()
    assert buffer.freeze() == MAX_WAITING
    hits = misses = named = 0
    while batch := buffer.next_batch(MAX_WAITING):
        hits, misses, named = hits + batch.hits, misses + batch.misses, named + len(batch.hits_by_entry)
        buffer.acknowledge(batch)
    assert (hits, misses, named) == (3 * MAX_WAITING, 3 * MAX_WAITING, MAX_WAITING)


def test_a_reset_takes_another_client_id() -> None:
    buffer = AccessBuffer()
    buffer.add("a", None)
    client_id = batch_of(buffer, buffer.freeze()).client_id
    buffer.reset()
    assert buffer.next_batch(buffer.freeze()) is None
    buffer.add("a", None)
    batch = batch_of(buffer, buffer.freeze())
    assert batch.client_id != client_id
    assert batch.sequence == 1


def test_threads_lose_nothing() -> None:
    buffer = AccessBuffer(threading.Lock)
    delivered: dict[int, AccessBatch] = {}

    def deliver() -> None:
        last = buffer.freeze()
        while batch := buffer.next_batch(last):
            delivered[batch.sequence] = batch
            buffer.acknowledge(batch)

    def work() -> None:
        for i in range(2000):
            buffer.add("a", 1)
            if i % 50 == 0:
                deliver()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deliver()
    assert sum(batch.hits for batch in delivered.values()) == 16000


def test_hits_and_unacknowledged_batches_affect_the_order_and_misses_do_not() -> None:
    buffer, found = AccessBuffer(), []
    buffer.add("a", None)
    found.append(buffer.affects_order)
    buffer.add("a", 1)
    found.append(buffer.affects_order)
    last = buffer.freeze()
    buffer.add("b", None)
    found.append(buffer.affects_order)
    buffer.acknowledge(batch_of(buffer, last))
    found.append(buffer.affects_order)
    buffer.near_hits.append(("a", 1))
    found.append(buffer.affects_order)
    assert found == [False, True, True, False, True]
