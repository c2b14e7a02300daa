"""Changes sent up as splices have exactly the effect of full states, and no splice has any other effect."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from edge_redis import ChecksumMismatchError, ConflictStrategy, CorruptDataError, RedisCloudStore
from edge_redis._sync import scripts, wire
from edge_redis._sync.change_encoding import encode_changes
from edge_redis._sync.replies import OtherState
from edge_redis._sync.splice import apply_splice
from edge_redis.cloudstores import encode_data
from edge_redis.errors import EdgeRedisError
from support.clouds import change
from support.sync_plants import SPLICE_PLANTS, Rewrites, Runner
from support.uplinks import SCOPE, InFull, Spliced, dump, make_history

STRATEGIES = [*ConflictStrategy]
SEEDS = range(4)


def find_difference(client: Any, strategy: ConflictStrategy, seed: int, rewrites: Rewrites = ()) -> str:
    """Return where a history leads to other outcomes or another cloud with splices than without, "" where nowhere."""
    spliced, full = f"s{seed}{strategy.value}", f"f{seed}{strategy.value}"
    one, other = Spliced(client, spliced, strategy), InFull(client, full, strategy)
    for store in one.stores if rewrites else []:
        store._runner = Runner(client, rewrites)
    for number, step in enumerate(make_history(seed, strategy)):
        if one.take(step) != other.take(step):
            return f"outcomes of step {number}"
        if dump(client, spliced) != dump(client, full):
            return f"the cloud after step {number}"
    sent = [store.link for store in one.stores]
    assert sum(each["splices_up"] for each in sent) > 5, "the history shows nothing of splices"
    return ""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.value)
def test_splices_have_the_effect_of_full_states(client: Any, strategy: ConflictStrategy, seed: int) -> None:
    assert find_difference(client, strategy, seed) == ""


@pytest.mark.parametrize("plant", SPLICE_PLANTS)
def test_a_planted_fault_of_splices_is_found(client: Any, plant: str) -> None:
    differences = []
    for seed in SEEDS:
        try:
            differences.append(find_difference(client, ConflictStrategy.REMOTE_WINS, seed, SPLICE_PLANTS[plant]))
        except EdgeRedisError as error:
            differences.append(str(error))
    assert any(differences)


DATA = {f"field {number:02}": number / 7 for number in range(60)}
BASE = change(1, DATA)
SPLICES = st.one_of(
    st.binary(max_size=40),
    st.from_regex(rb"[0-9]{1,3}( [0-9]{1,3}){2}( [0-9]{1,3}){0,3}:[a-c]{0,20}", fullmatch=True),
    st.from_regex(rb"[0-9]{1,12}( [0-9]{1,12}){0,8}:[a-c]{0,20}", fullmatch=True),
    st.from_regex(rb"[0-9: -]{0,30}", fullmatch=True),
)


def send(store: RedisCloudStore, *words: bytes) -> Any:
    """Send encoded changes as a worker may that does not check them."""
    replica = store._component.shards.of(1)[0].replica
    return store._runner.run(scripts.apply_encoded(replica, SCOPE, words, "remote_wins 0 - cloud"))


NAMED = st.sampled_from([BASE.checksum, "0" * 64, "-", "", BASE.checksum[:63]])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(hostile=st.lists(st.tuples(NAMED, SPLICES), min_size=1, max_size=12))
def test_a_hostile_splice_yields_its_result_or_writes_nothing(client: Any, hostile: list[tuple[str, bytes]]) -> None:
    client.flushall()
    store = RedisCloudStore(client)
    store.apply(SCOPE, [BASE], ConflictStrategy.REMOTE_WINS)
    before = dump(client, "default")
    for named, splice in hostile:
        found = send(store, wire.format_spliced(change(2), named, splice))
        if found == ["accepted"]:
            whole = named.encode() + splice
            assert whole[:64] == BASE.checksum.encode()
            assert dump(client, "default")["doc"][b"data"] == apply_splice(BASE.body, whole[64:])
            with pytest.raises((CorruptDataError, ChecksumMismatchError)):
                store.get(SCOPE)
            return
        # Not a splice of this base; or its first byte is that of merged fields, which another script applies.
        assert found in (OtherState(BASE.checksum), [])
        assert dump(client, "default") == before


def test_splices_of_many_times_their_size_are_refused(client: Any) -> None:
    store = RedisCloudStore(client)
    large = change(1, {"text": "x" * 1_000_000})
    store.apply(SCOPE, [large], ConflictStrategy.REMOTE_WINS)
    before = dump(client, "default")
    nothing = [wire.format_spliced(replace(large, version=number), "-", b":") for number in range(3, 200)]
    first = wire.format_spliced(replace(large, version=2), large.checksum, b":")
    assert send(store, first, *nothing[:6]) == ["accepted"] * 7
    before = dump(client, "default")
    assert send(store, first, *nothing) == OtherState(large.checksum)
    assert dump(client, "default") == before


def test_the_wire_format_is_what_other_releases_write(client: Any) -> None:
    store = RedisCloudStore(client)
    body = encode_data(DATA)
    head = f"7 {7:018d} {hashlib.sha256(body).hexdigest()}   till".encode()
    plain = str(len(head)).encode() + b":" + head + body
    assert wire.format_change(change(7, DATA)) == plain
    assert send(store, plain) == ["accepted"]
    after = change(8, DATA | {"field 30": "twenty bytes of text"})
    base = hashlib.sha256(body).hexdigest()
    head = f"8 {8:018d} {after.checksum}   till".encode()
    spliced = b"~" + str(len(head)).encode() + b":" + head + base.encode() + b"552 9 21:\xb4twenty bytes of text"
    assert encode_changes([after], change(7, DATA)) == ([spliced], 1)
    assert send(store, spliced) == ["accepted"]
    state = store.get(SCOPE)
    assert state is not None
    assert state.data == DATA | {"field 30": "twenty bytes of text"}
