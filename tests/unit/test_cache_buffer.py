"""The buffer of accesses: what it seals, how it numbers, what it keeps."""

from __future__ import annotations

import threading

from edge_redis._cache.buffer import MAX_KEYS, MAX_WAITING, AccessBuffer


def test_accesses_of_one_entry_become_one_note() -> None:
    buffer = AccessBuffer()
    buffer.hit("a", 1)
    buffer.hit("a", 1)
    buffer.hit("a", 2)
    buffer.miss("b")
    buffer.miss("b")
    assert len(buffer) == 5
    last = buffer.seal()
    assert (len(buffer), last) == (0, 1)
    batch = buffer.next_batch(last)
    assert (batch.hits, batch.misses, batch.hit, batch.missed) == (3, 2, [("a", 1, 2), ("a", 2, 1)], ["b"])


def test_nothing_noted_is_nothing_sealed() -> None:
    buffer = AccessBuffer()
    assert buffer.seal() == 0
    assert buffer.next_batch(0) is None


def test_a_batch_stays_until_it_is_acknowledged() -> None:
    buffer = AccessBuffer()
    buffer.miss("a")
    last = buffer.seal()
    batch = buffer.next_batch(last)
    assert buffer.next_batch(last) is batch
    buffer.miss("b")
    assert buffer.seal() == 2
    assert buffer.next_batch(2) is batch
    buffer.acknowledge(batch)
    buffer.acknowledge(batch)  # another thread delivered it, too
    assert buffer.next_batch(1) is None
    assert buffer.next_batch(2).missed == ["b"]


def test_many_keys_make_several_batches_in_order() -> None:
    buffer = AccessBuffer()
    for i in range(2 * MAX_KEYS + 1):
        buffer.hit(str(i), i)
    assert buffer.seal() == 3
    sizes = []
    while batch := buffer.next_batch(3):
        sizes.append((batch.number, batch.hits, len(batch.hit)))
        buffer.acknowledge(batch)
    assert sizes == [(1, MAX_KEYS, MAX_KEYS), (2, MAX_KEYS, MAX_KEYS), (3, 1, 1)]


def test_memory_is_bounded_and_no_hit_or_miss_is_lost() -> None:
    buffer = AccessBuffer()
    for i in range(3 * MAX_WAITING):
        buffer.hit("a", i)
        buffer.miss("b")
        buffer.seal()
    assert buffer.seal() == MAX_WAITING
    hits = misses = named = 0
    while batch := buffer.next_batch(MAX_WAITING):
        hits, misses, named = hits + batch.hits, misses + batch.misses, named + len(batch.hit)
        buffer.acknowledge(batch)
    assert (hits, misses, named) == (3 * MAX_WAITING, 3 * MAX_WAITING, MAX_WAITING)


def test_a_reset_takes_another_slot() -> None:
    buffer = AccessBuffer()
    buffer.miss("a")
    slot = buffer.next_batch(buffer.seal()).slot
    buffer.reset()
    assert buffer.next_batch(buffer.seal()) is None
    buffer.miss("a")
    batch = buffer.next_batch(buffer.seal())
    assert batch.slot != slot
    assert batch.number == 1


def test_threads_lose_nothing() -> None:
    buffer = AccessBuffer(threading.Lock)
    delivered: list[int] = []

    def work() -> None:
        for i in range(2000):
            buffer.hit("a", 1)
            if i % 50 == 0:
                last = buffer.seal()
                while batch := buffer.next_batch(last):
                    buffer.acknowledge(batch)
                    delivered.append(batch.number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    sealed: dict[int, int] = {}
    original = buffer._seal

    def recording(chunk: list) -> None:
        original(chunk)
        sealed[buffer._sealed[-1].number] = buffer._sealed[-1].hits

    buffer._seal = recording
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    buffer.seal()
    assert sum(sealed.values()) == 16000
    assert set(delivered) <= set(sealed)
