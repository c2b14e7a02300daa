"""The near cache as a pure object, and what it says to a server and hears from it, without a socket."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from edge_redis._cache.config import NearCache
from edge_redis._cache.entry import GENERATIONS, add_computed, decode_entry
from edge_redis._cache.invalidation_protocol import PING_SECONDS
from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.near_cache_group import NearCacheGroup
from edge_redis._cache.near_entries import NearEntries
from edge_redis._cache.near_entry import MISSING, FoundEntry
from edge_redis._core import codec
from edge_redis._core.session import Receive, Send, SessionStep
from edge_redis.errors import StoreRefusedError, StoreReplyError, StoreTimeoutError, StoreUnavailableError
from support.checked import present
from support.near import start_session


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def raw(value: Any, generation: int = 1, cost_ms: float | None = None) -> bytes:
    body = codec.encode(value, limit=1 << 20)
    if cost_ms is not None:
        body = add_computed(body, cost_ms, 0)
    return f"{generation:010d}{1_700_000_000_000:013d}".encode() + body


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notes() -> list[Any]:
    return []


class Hand:
    """A near cache that listens, and reads that are steered by hand."""

    def __init__(self, clock: Clock, notes: list[Any], size: int = 10, ttl: float = 30.0) -> None:
        self.near = NearEntries(NearCache(size, ttl), clock)
        self.near.reset(1)
        self.near.on_connected()
        self._clock = clock
        self._notes = notes

    def entry(self, key: str, value: Any, generation: int = 1, left: float = 60.0, cost_ms: float | None = None) -> Any:
        given = raw(value, generation, cost_ms)
        return self.near.make_entry(key, decode_entry(given), given, self._notes.append, self._clock() + left)

    def fill(self, key: str, value: Any, generation: int = 1, left: float = 60.0, cost_ms: float | None = None) -> None:
        """A read from its beginning to its end."""
        fill = self.near.begin_fill(key)
        self.near.put(key, fill, self.entry(key, value, generation, left, cost_ms))
        self.near.end_fill(key, fill)


@pytest.fixture
def hand(clock: Clock, notes: list[Any]) -> Hand:
    return Hand(clock, notes)


class TestHolding:
    def test_nothing_at_first(self, hand: Hand) -> None:
        assert hand.near.get("k") is MISSING
        assert len(hand.near) == 0

    def test_what_was_read_is_at_hand_and_noted(self, hand: Hand, notes: list[Any]) -> None:
        hand.fill("k", None, 7)
        assert hand.near.get("k") is None
        assert hand.near.get("k") is None
        assert notes == [("k", 7)] * 2

    @pytest.mark.parametrize("strange", [[], {}, 5, None, b"k"])
    def test_what_is_no_key_is_not_held(self, hand: Hand, strange: Any) -> None:
        hand.fill("k", 1)
        assert hand.near.get(strange) is MISSING

    @pytest.mark.parametrize(("left", "until"), [(10.0, 10.0), (60.0, 30.0)])
    def test_ends_with_its_own_time_or_that_of_the_entry(
        self, hand: Hand, clock: Clock, notes: list[Any], left: Any, until: Any
    ) -> None:
        hand.fill("k", 1, left=left)
        clock.now += until - 0.001
        assert hand.near.get("k") == 1
        clock.now += 0.001
        assert hand.near.get("k") is MISSING
        assert hand.near.get_with_ttl("k") is None
        assert len(notes) == 1

    def test_tells_the_time_left_in_redis_and_the_cost(self, hand: Hand, clock: Clock) -> None:
        hand.fill("k", 1, left=60.0, cost_ms=250)
        clock.now += 20
        assert hand.near.get_with_ttl("k") == FoundEntry(1, 40.0, 250, 0)
        clock.now += 10  # its time at hand is up, that in Redis is not
        assert hand.near.get_with_ttl("k") is None


class TestFillRace:
    def test_word_that_comes_while_a_read_is_under_way(self, hand: Hand) -> None:
        fill = hand.near.begin_fill("k")
        hand.near.invalidate(["k"])
        hand.near.put("k", fill, hand.entry("k", "old"))
        hand.near.end_fill("k", fill)
        assert hand.near.get("k") is MISSING
        hand.fill("k", "new", 2)  # a read that begins afterwards is kept
        assert hand.near.get("k") == "new"

    def test_word_of_another_key_changes_nothing(self, hand: Hand) -> None:
        fill = hand.near.begin_fill("k")
        hand.near.invalidate(["other"])
        hand.near.put("k", fill, hand.entry("k", "v"))
        assert hand.near.get("k") == "v"

    def test_a_read_that_begins_after_the_word_is_kept_and_the_one_before_is_not(self, hand: Hand) -> None:
        before = hand.near.begin_fill("k")
        hand.near.invalidate(["k"])
        after = hand.near.begin_fill("k")
        assert after is not before
        hand.near.put("k", after, hand.entry("k", "new", 2))
        hand.near.end_fill("k", after)
        hand.near.put("k", before, hand.entry("k", "old", 1))
        hand.near.end_fill("k", before)
        assert hand.near.get("k") == "new"

    def test_the_end_of_an_old_read_leaves_a_new_registration(self, hand: Hand) -> None:
        before = hand.near.begin_fill("k")
        hand.near.invalidate(["k"])
        after = hand.near.begin_fill("k")
        hand.near.end_fill("k", before)
        hand.near.invalidate(["k"])  # must still find the new one
        hand.near.put("k", after, hand.entry("k", "old"))
        assert hand.near.get("k") is MISSING

    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    def test_of_two_reads_the_newest_entry_stays(self, hand: Hand, order: Any) -> None:
        fills = {generation: hand.near.begin_fill("k") for generation in (1, 2)}
        for generation in order:
            hand.near.put("k", fills[generation], hand.entry("k", generation, generation))
            hand.near.end_fill("k", fills[generation])
        assert hand.near.get("k") == 2

    @pytest.mark.parametrize("first", ["overtaken", "begun since"])
    def test_an_overtaken_read_that_brings_something_newer_is_known(self, hand: Hand, first: Any) -> None:
        overtaken = hand.near.begin_fill("k")  # it is sent again, say, and read late
        hand.near.invalidate(["k"])
        since = hand.near.begin_fill("k")
        reads = {"overtaken": (overtaken, hand.entry("k", "new", 3)), "begun since": (since, hand.entry("k", "old", 2))}
        for name in (first, *(reads.keys() - {first})):
            hand.near.put("k", *reads[name])
        assert hand.near.get("k") is MISSING  # the caller of the overtaken one has seen what is newer

    def test_a_miss_meanwhile_means_that_what_was_read_is_gone(self, hand: Hand) -> None:
        fill = hand.near.begin_fill("k")
        hand.near.observe("k", None)
        hand.near.put("k", fill, hand.entry("k", "gone"))
        assert hand.near.get("k") is MISSING

    def test_a_newer_one_that_was_seen_meanwhile_keeps_the_older_out(self, hand: Hand) -> None:
        fill = hand.near.begin_fill("k")
        hand.near.observe("k", 5)
        hand.near.put("k", fill, hand.entry("k", "old", 4))
        assert hand.near.get("k") is MISSING

    def test_an_older_one_that_is_seen_drops_nothing(self, hand: Hand) -> None:
        hand.fill("k", "new", 5)
        hand.near.observe("k", 4)
        assert hand.near.get("k") == "new"

    @pytest.mark.parametrize("seen", [6, None])
    def test_what_is_held_goes_when_something_newer_is_seen(self, hand: Hand, seen: Any) -> None:
        hand.fill("k", "old", 5)
        hand.near.observe("k", seen)
        assert hand.near.get("k") is MISSING

    def test_generations_come_round(self, hand: Hand) -> None:
        last = GENERATIONS - 1
        fills = [hand.near.begin_fill("k") for _ in range(2)]
        hand.near.put("k", fills[0], hand.entry("k", "after", 0))
        hand.near.put("k", fills[1], hand.entry("k", "before", last))
        assert hand.near.get("k") == "after"
        hand.near.observe("k", last)
        assert hand.near.get("k") == "after"
        hand.near.observe("k", 3)
        assert hand.near.get("k") is MISSING

    @pytest.mark.parametrize("word", ["invalidate", "on_disconnected"])
    def test_what_ends_everything_ends_the_reads_under_way(self, hand: Hand, word: Any) -> None:
        fill = hand.near.begin_fill("k")
        {"invalidate": lambda: hand.near.invalidate(None), "on_disconnected": hand.near.on_disconnected}[word]()
        hand.near.reset(1)
        hand.near.on_connected()
        hand.near.put("k", fill, hand.entry("k", "old"))
        assert hand.near.get("k") is MISSING

    def test_a_read_that_began_before_tracking_did_is_not_kept(self, clock: Clock, notes: list[Any]) -> None:
        hand = Hand(clock, notes)
        hand.near.reset(1)
        fill = hand.near.begin_fill("k")
        hand.near.on_connected()
        hand.near.put("k", fill, hand.entry("k", "from before"))
        assert hand.near.get("k") is MISSING

    def test_registrations_do_not_add_up(self, hand: Hand) -> None:
        for number in range(100):
            hand.fill(f"k{number}", number)
        hand.near.end_fill("x", hand.near.begin_fill("x"))
        assert not hand.near._fills


class TestBound:
    def test_never_more_than_size_and_who_is_read_stays(self, clock: Clock, notes: list[Any]) -> None:
        hand = Hand(clock, notes, size=4)
        for number in range(4):
            hand.fill(str(number), number)
        for number in range(4, 40):
            assert hand.near.get("0") == 0
            hand.fill(str(number), number)
            assert len(hand.near) == 4
        assert hand.near.get("0") == 0
        assert hand.near.get("1") is MISSING

    def test_a_second_chance_is_one(self, clock: Clock, notes: list[Any]) -> None:
        hand = Hand(clock, notes, size=2)
        hand.fill("a", 1)
        hand.near.get("a")
        for key in "bcde":
            hand.fill(key, 1)
        assert hand.near.get("a") is MISSING

    def test_where_all_were_read_the_bound_holds_as_well(self, clock: Clock, notes: list[Any]) -> None:
        hand = Hand(clock, notes, size=3)
        for number in range(30):
            hand.fill(str(number), number)
            for held in range(number + 1):
                hand.near.get(str(held))
            assert len(hand.near) <= 3

    def test_a_key_that_is_read_again_counts_once_towards_the_size(self, clock: Clock, notes: list[Any]) -> None:
        hand = Hand(clock, notes, size=2)
        hand.fill("a", 1)
        for generation in range(2, 9):
            hand.fill("b", generation, generation)
        assert hand.near.get("a") == 1
        assert hand.near.get("b") == 8


CARRIED = [
    None,
    True,
    7,
    1 << 80,
    1.5,
    "text",
    b"bytes",
    Decimal("1.10"),
    UUID(int=5),
    datetime(2026, 1, 2, tzinfo=UTC),
    date(2026, 1, 2),
    timedelta(seconds=1),
    (1, "a"),
    frozenset({1, 2}),
    [1, 2],
    {"a": 1},
    {1, 2},
    ([1], {"a": [2]}),
    [[1], [2]],
    {"a": {"b": [1]}},
    {"a": {1, 2}},
    [{"a": 1}],
    (1, (2, [3])),
    frozenset({(1, 2)}),
    {(1, 2): "tuple"},
    [],
    {},
    set(),
]


def spoil(value: Any) -> None:
    """Change whatever can be changed, at every depth."""
    if isinstance(value, dict):
        for each in value.values():
            spoil(each)
        value["spoilt"] = True
    elif isinstance(value, list):
        for each in value:
            spoil(each)
        value.append("spoilt")
    elif isinstance(value, set):
        value.add("spoilt")
    elif isinstance(value, tuple):
        for each in value:
            spoil(each)


class TestMutation:
    @pytest.mark.parametrize("value", CARRIED, ids=repr)
    @pytest.mark.parametrize("cost_ms", [None, 5])
    def test_what_a_caller_does_to_a_value_is_seen_by_nobody_else(self, hand: Hand, value: Any, cost_ms: Any) -> None:
        hand.fill("k", value, cost_ms=cost_ms)
        for _ in range(2):
            first = hand.near.get("k")
            assert first == value
            assert type(first) is type(value)
            spoil(first)
        spoil(present(hand.near.get_with_ttl("k")).value)
        assert hand.near.get("k") == value
        hand.near.on_disconnected()
        spoil(hand.near.stale_get("k"))
        assert hand.near.stale_get("k") == value

    def test_what_the_reader_got_is_no_way_in(self, hand: Hand) -> None:
        """The value that the filling read hands out is the one that was decoded for it."""
        given = raw([1])
        entry = decode_entry(given)
        fill = hand.near.begin_fill("k")
        hand.near.put("k", fill, hand.near.make_entry("k", entry, given, lambda _: None, 200.0))
        spoil(entry[1])
        assert hand.near.get("k") == [1]


class TestConnections:
    def test_holds_nothing_until_all_listen(self, clock: Clock, notes: list[Any]) -> None:
        hand = Hand(clock, notes)
        hand.near.reset(3)
        for connected in range(3):
            assert not hand.near.is_listening
            hand.fill("k", connected)
            assert hand.near.get("k") is MISSING
            hand.near.on_connected()
        assert hand.near.is_listening
        hand.fill("k", "v")
        assert hand.near.get("k") == "v"

    def test_no_connection_at_all_does_not_listen(self, clock: Clock, notes: list[Any]) -> None:
        hand = Hand(clock, notes)
        hand.near.reset(0)
        assert not hand.near.is_listening
        hand.near.on_disconnected()
        assert not hand.near.is_listening

    def test_the_loss_of_one_is_that_of_all(self, clock: Clock, notes: list[Any]) -> None:
        hand = Hand(clock, notes)
        hand.near.reset(2)
        hand.near.on_connected()
        hand.near.on_connected()
        hand.fill("k", "v")
        hand.near.on_disconnected()
        assert not hand.near.is_listening
        assert hand.near.get("k") is MISSING
        hand.near.on_connected()
        assert not hand.near.is_listening

    def test_a_new_session_begins_with_nothing(self, hand: Hand) -> None:
        hand.fill("k", "v")
        hand.near.reset(1)
        hand.near.on_connected()
        assert hand.near.get("k") is MISSING
        assert hand.near.stale_get("k") is MISSING

    def test_a_forked_child_holds_and_hears_nothing(self, hand: Hand) -> None:
        hand.fill("k", "v")
        fill = hand.near.begin_fill("other")
        hand.near.after_fork()
        assert not hand.near.is_listening
        assert len(hand.near) == 0
        hand.near.reset(1)
        hand.near.on_connected()
        hand.fill("k", "new")
        assert hand.near.get("k") == "new"
        hand.near.end_fill("other", fill)


class TestStaleGet:
    def test_is_there_once_the_connection_is_lost_and_before(self, hand: Hand) -> None:
        assert hand.near.stale_get("k") is MISSING
        hand.fill("k", ["v"])
        assert hand.near.stale_get("k") == ["v"]
        hand.near.on_disconnected()
        assert hand.near.stale_get("k") == ["v"]
        hand.near.on_disconnected()
        assert hand.near.stale_get("k") == ["v"]

    def test_ends_when_it_would_have_ended(self, hand: Hand, clock: Clock) -> None:
        hand.fill("k", "v", left=5.0)
        hand.near.on_disconnected()
        clock.now += 4.9
        assert hand.near.stale_get("k") == "v"
        clock.now += 0.1
        assert hand.near.stale_get("k") is MISSING

    @pytest.mark.parametrize("word", ["invalidate", "invalidate all", "observe"])
    def test_goes_when_something_newer_is_known(self, hand: Hand, word: Any) -> None:
        hand.fill("k", "v", 5)
        hand.near.on_disconnected()
        {
            "invalidate": lambda: hand.near.invalidate(["k"]),
            "invalidate all": lambda: hand.near.invalidate(None),
            "observe": lambda: hand.near.observe("k", 6),
        }[word]()
        assert hand.near.stale_get("k") is MISSING

    def test_never_goes_back_behind_what_was_read_meanwhile(self, hand: Hand) -> None:
        """Without an ear reads are kept by nobody, but what they have shown is known."""
        hand.fill("k", "old", 5)
        hand.near.on_disconnected()
        hand.fill("k", "new", 6)
        assert hand.near.stale_get("k") in (MISSING, "new")


class TestCopies:
    def test_all_of_them_forget(self, clock: Clock, notes: list[Any]) -> None:
        hands = [Hand(clock, notes) for _ in range(3)]
        copies = NearCacheGroup()
        for hand in hands:
            copies.add(hand.near)
            hand.fill("k", "v")
            hand.fill("l", "v")
        copies.invalidate(["k"])
        assert [hand.near.get("k") for hand in hands] == [MISSING] * 3
        assert [hand.near.get("l") for hand in hands] == ["v"] * 3
        copies.invalidate(None)
        assert [len(hand.near) for hand in hands] == [0] * 3


TAG = "er:{default:cache0}"
OTHER = "er:{default:cache1}"
TRACKED = b"__redis__:invalidate"


class Running:
    """A session driven step by step."""

    def __init__(self, near: NearEntries, *shards: str) -> None:
        self._session = start_session(near, [CacheKeys("default", shard) for shard in shards or ("0",)])
        self.step: SessionStep = self._session.send(None)

    def resume(self, reply: Any = None) -> None:
        self.step = self._session.send(reply)

    def sends(self, *args: str) -> None:
        """Check what is sent, and go on to the wait for its reply."""
        sent = self.step
        assert sent == Send(args)
        self.resume()
        assert self.step == Receive(PING_SECONDS)

    def receives(self, reply: Any) -> None:
        assert isinstance(self.step, Receive)
        self.resume(reply)

    def fails(self, error: Exception) -> None:
        self.step = self._session.throw(error)

    def tracks(self) -> None:
        self.sends("CLIENT", "ID")
        self.receives(7)
        self.sends("CLIENT", "TRACKING", "ON", "REDIRECT", "7", "BCAST", "PREFIX", f"{TAG}:v:")
        self.receives(b"OK")
        self.sends("SUBSCRIBE", TRACKED.decode())
        self.receives([b"subscribe", TRACKED, 1])

    def receives_writes(self, *names: str) -> None:
        self.receives([b"message", TRACKED, [f"{TAG}:v:{name}".encode() for name in names]])


@pytest.fixture
def unconnected(clock: Clock, notes: list[Any]) -> Hand:
    """A near cache that does not listen yet."""
    hand = Hand(clock, notes)
    hand.near.reset(1)
    return hand


@pytest.fixture
def running(unconnected: Hand) -> Running:
    """A session that tracks."""
    running = Running(unconnected.near)
    was_listening = unconnected.near.is_listening
    running.tracks()
    assert (was_listening, unconnected.near.is_listening) == (False, True)
    return running


class TestTracking:
    def test_prefixes_of_all_shards(self, unconnected: Hand) -> None:
        running = Running(unconnected.near, "0", "1")
        running.sends("CLIENT", "ID")
        running.receives(7)
        prefixes = ("PREFIX", f"{TAG}:v:", "PREFIX", f"{OTHER}:v:")
        running.sends("CLIENT", "TRACKING", "ON", "REDIRECT", "7", "BCAST", *prefixes)

    def test_word_of_keys(self, unconnected: Hand, running: Running) -> None:
        for key in ("a", "b", "c:v:}:v:"):
            unconnected.fill(key, key)
        running.receives_writes("a", "c:v:}:v:")
        assert [unconnected.near.get(key) for key in ("a", "b", "c:v:}:v:")] == [MISSING, "b", MISSING]

    def test_word_of_a_flush(self, unconnected: Hand, running: Running) -> None:
        unconnected.fill("a", 1)
        running.receives([b"message", TRACKED, None])
        assert len(unconnected.near) == 0
        unconnected.fill("a", 2)
        assert unconnected.near.get("a") == 2

    @pytest.mark.parametrize("strange", [[b"pong", b""], b"PONG", 1, [b"subscribe", TRACKED, 1]])
    def test_what_is_no_word_changes_nothing(self, unconnected: Hand, running: Running, strange: Any) -> None:
        unconnected.fill("a", 1)
        running.receives(strange)
        assert unconnected.near.get("a") == 1
        running.receives_writes("a")
        assert unconnected.near.get("a") is MISSING

    def test_word_of_a_key_that_is_none_of_ours_does_not_end_it(self, unconnected: Hand, running: Running) -> None:
        """Anybody may write such a key."""
        unconnected.fill("a", 1)
        running.receives([b"message", TRACKED, [f"{TAG}:v:".encode() + b"\xff"]])
        running.receives_writes("a")
        assert unconnected.near.get("a") is MISSING

    def test_a_quiet_connection_is_pinged_and_a_reply_is_enough(self, unconnected: Hand, running: Running) -> None:
        unconnected.fill("a", 1)
        for _ in range(3):
            running.receives(None)
            running.sends("PING")
            running.receives([b"pong", b""])
        assert unconnected.near.get("a") == 1

    def test_word_may_come_before_the_answer(self, unconnected: Hand, running: Running) -> None:
        unconnected.fill("a", 1)
        running.receives(None)
        running.sends("PING")
        running.receives_writes("a")
        assert unconnected.near.get("a") is MISSING
        running.receives([b"pong", b""])

    def test_no_answer_is_the_end(self, running: Running) -> None:
        running.receives(None)
        running.sends("PING")
        with pytest.raises(StoreTimeoutError, match="PING"):
            running.receives(None)

    @pytest.mark.parametrize("answers", range(3))
    def test_no_answer_to_the_first_words_is_the_end(self, unconnected: Hand, answers: int) -> None:
        running = Running(unconnected.near)
        for reply in [7, b"OK"][:answers]:
            running.resume()
            running.receives(reply)
        running.resume()
        with pytest.raises(StoreTimeoutError):
            running.receives(None)
        assert not unconnected.near.is_listening

    def test_a_connection_that_breaks_is_the_end(self, running: Running) -> None:
        with pytest.raises(StoreUnavailableError):
            running.fails(StoreUnavailableError("gone"))


class TestPublished:
    @pytest.fixture
    def running(self, unconnected: Hand) -> Running:
        running = Running(unconnected.near, "0", "1")
        running.sends("CLIENT", "ID")
        running.receives(7)
        running.resume()
        running.fails(StoreRefusedError("NOPERM"))
        running.sends("SUBSCRIBE", f"{TAG}:written")
        running.receives([b"subscribe", f"{TAG}:written".encode(), 1])
        assert not unconnected.near.needs_announcements
        running.sends("SUBSCRIBE", f"{OTHER}:written")
        running.receives([b"subscribe", f"{OTHER}:written".encode(), 2])
        return running

    @pytest.mark.parametrize("error", [StoreRefusedError("NOPERM"), StoreReplyError("unknown command")])
    def test_where_the_server_knows_no_ids(self, unconnected: Hand, error: Exception) -> None:
        running = Running(unconnected.near)
        assert running.step == Send(("CLIENT", "ID"))
        running.resume()
        running.fails(error)
        running.sends("SUBSCRIBE", f"{TAG}:written")

    def test_a_server_that_is_gone_is_no_reason(self, unconnected: Hand) -> None:
        running = Running(unconnected.near)
        with pytest.raises(StoreUnavailableError):
            running.fails(StoreUnavailableError("gone"))

    def test_holds_nothing_before_writers_tell(self, unconnected: Hand, running: Running) -> None:
        assert unconnected.near.needs_announcements
        unconnected.fill("a", 1)
        assert not unconnected.near.is_listening
        assert unconnected.near.get("a") is MISSING
        fill = unconnected.near.begin_fill("a")
        unconnected.near.on_announced([1, 2])
        unconnected.near.put("a", fill, unconnected.entry("a", "from before"))
        assert unconnected.near.get("a") is MISSING
        unconnected.fill("a", 1)
        unconnected.near.on_announced([1, 2])  # again: changes nothing
        assert unconnected.near.get("a") == 1

    def test_where_they_did_not_tell_for_a_while_nothing_is_held(self, unconnected: Hand, running: Running) -> None:
        """The time since when they tell is another one: word of some writes was never sent."""
        unconnected.near.on_announced([1, 2])
        unconnected.fill("a", 1)
        fill = unconnected.near.begin_fill("b")
        unconnected.near.on_announced([1, 3])
        unconnected.near.put("b", fill, unconnected.entry("b", "from before"))
        assert unconnected.near.get("a") is MISSING
        assert unconnected.near.get("b") is MISSING
        unconnected.fill("a", 2)
        assert unconnected.near.get("a") == 2

    def test_in_doubt_nothing_is_held_until_they_tell_again(self, unconnected: Hand, running: Running) -> None:
        unconnected.near.on_announced([1, 2])
        unconnected.fill("a", 1)
        unconnected.near.suspend()
        assert unconnected.near.get("a") is MISSING
        assert not unconnected.near.is_listening
        assert unconnected.near.needs_announcements
        unconnected.near.on_announced([1, 2])
        unconnected.fill("a", 2)
        assert unconnected.near.get("a") == 2

    def test_word_of_keys(self, unconnected: Hand, running: Running) -> None:
        unconnected.near.on_announced([1, 2])
        for key in ("a", "b", "ü/\x7f"):
            unconnected.fill(key, key)
        running.receives([b"message", f"{TAG}:written".encode(), '["a","ü\\/\\u007f"]'.encode()])
        assert [unconnected.near.get(key) for key in ("a", "b", "ü/\x7f")] == [MISSING, "b", MISSING]

    @pytest.mark.parametrize("garbage", [b"", b"{", b"\xff", b"5", b"null"])
    def test_what_cannot_be_read_ends_nothing_but_what_is_held(
        self, unconnected: Hand, running: Running, garbage: Any
    ) -> None:
        """Anybody may publish there. What it was about is not known, so all that is held goes."""
        unconnected.near.on_announced([1, 2])
        unconnected.fill("a", 1)
        running.receives([b"message", f"{TAG}:written".encode(), garbage])
        assert unconnected.near.get("a") is MISSING
        unconnected.fill("a", 2)
        running.receives([b"message", f"{TAG}:written".encode(), b'["a"]'])
        assert unconnected.near.get("a") is MISSING

    @pytest.mark.parametrize("garbage", [b"[]", b"[[]]", b"[{}]", b"[5, null]", b'{"a": 1}'])
    def test_what_names_no_key_ends_nothing(self, unconnected: Hand, running: Running, garbage: Any) -> None:
        unconnected.near.on_announced([1, 2])
        running.receives([b"message", f"{TAG}:written".encode(), garbage])
        unconnected.fill("a", 2)
        running.receives([b"message", f"{TAG}:written".encode(), b'["a"]'])
        assert unconnected.near.get("a") is MISSING

    def test_announcements_do_not_help_without_a_connection(self, unconnected: Hand, running: Running) -> None:
        unconnected.near.on_announced([1, 2])
        unconnected.near.on_disconnected()
        unconnected.near.on_announced([1, 2])
        assert not unconnected.near.is_listening
