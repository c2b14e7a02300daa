"""Changes that a cloud applies in one call have the effects that they have one by one."""

from __future__ import annotations

import hashlib
from typing import Any

import fakeredis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_redis import ConflictStrategy, RedisCloudStore
from edge_redis._sync.change import TOMBSTONE
from edge_redis.cloudstores import Change, encode_data

EDGES = ("north\x01store-1", "south\x01store-2", "south")
BODIES = (encode_data({"a": 1}), encode_data({"a": 2}), TOMBSTONE)


def _change(origin: int, version: int, clock: int, body: int) -> Change:
    data = BODIES[body]
    return Change(version, f"{clock:018d}", EDGES[origin], hashlib.sha256(data).hexdigest(), "", data)


CHANGES = st.lists(
    st.builds(_change, st.integers(0, 2), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2)),
    min_size=2,
    max_size=8,
)
RISING = [_change(0, number, number, number % 3) for number in range(1, 6)]


def _effects(client: Any, namespace: str, store: RedisCloudStore) -> tuple[Any, ...]:
    """Return the document, and all that was recorded, without the times of it."""
    document = client.hgetall(f"er:{{{namespace}:cloud0}}:doc:room")
    conflicts = [{**each, "id": "", "timestamp": ""} for each in store.conflicts("room", 100)]
    events = [(each.version, each.success, each.error) for each in store.sync_history("room", 100)]
    assert document
    assert events
    return document, conflicts, events


@given(CHANGES, CHANGES, st.sampled_from([ConflictStrategy.REMOTE_WINS, ConflictStrategy.LATEST_WINS]))
@settings(max_examples=15, deadline=None)
@example(RISING[:4], RISING[:4], ConflictStrategy.REMOTE_WINS)  # a state after a delete
@example(RISING, [_change(1, 9, 2, 0), *RISING[2:]], ConflictStrategy.REMOTE_WINS)
@example(RISING, [*RISING[:2], _change(0, 2, 9, 0), _change(0, 3, 10, 1)], ConflictStrategy.REMOTE_WINS)
@example([*RISING, _change(0, 1, 7, 0), _change(0, 2, 8, 1)], RISING, ConflictStrategy.LATEST_WINS)
def test_changes_in_one_call_have_the_effects_that_they_have_one_by_one(
    first: list[Change], second: list[Change], strategy: ConflictStrategy
) -> None:
    with fakeredis.FakeRedis() as client:
        together, singly = (RedisCloudStore(client, namespace=name) for name in ("together", "singly"))
        for changes in (first, second):
            outcomes = together.apply("room", changes, strategy)
            assert outcomes == [singly.apply("room", [each], strategy)[0] for each in changes]
        assert _effects(client, "together", together) == _effects(client, "singly", singly)
