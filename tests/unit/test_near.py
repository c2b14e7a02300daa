"""The near cache as a pure object, and what it says to a server and hears from it, without a socket."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from edge_redis._cache.config import NearCache
from edge_redis._cache.envelope import GENERATIONS, opened, with_cost
from edge_redis._cache.invalidation_protocol import PING_SECONDS, Ear, Hear, Send
from edge_redis._cache.keys import CacheKeys
from edge_redis._cache.near import Copies, Near
from edge_redis._cache.near_entry import NOTHING
from edge_redis._core import codec
from edge_redis.errors import StoreRefusedError, StoreReplyError, StoreTimeoutError, StoreUnavailableError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def raw(value: Any, generation: int = 1, cost_ms: float | None = None) -> bytes:
    body = codec.encode(value, limit=1 << 20)
    if cost_ms is not None:
        body = with_cost(body, cost_ms)
    return f"{generation:010d}{1_700_000_000_000:013d}".encode() + body


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def notes():
    return []


class Hand:
    """A near cache that listens, and reads that are steered by hand."""

    def __init__(self, clock: Clock, notes: list[Any], size: int = 10, ttl: float = 30.0) -> None:
        self.near = Near(NearCache(size, ttl), clock)
        self.near.expect(1)
        self.near.gained()
        self._clock = clock
        self._notes = notes

    def entry(self, key: str, value: Any, generation: int = 1, left: float = 60.0, cost_ms: float | None = None) -> Any:
        given = raw(value, generation, cost_ms)
        return self.near.made(key, opened(given), given, self._notes.append, self._clock() + left)

    def fill(self, key: str, value: Any, generation: int = 1, left: float = 60.0, cost_ms: float | None = None) -> None:
        """A read from its beginning to its end."""
        fill = self.near.begin(key)
        self.near.keep(key, fill, self.entry(key, value, generation, left, cost_ms))
        self.near.end(key, fill)


@pytest.fixture
def hand(clock, notes):
    return Hand(clock, notes)


class TestHolding:
    def test_nothing_at_first(self, hand):
        assert hand.near.held("k") is NOTHING
        assert len(hand.near) == 0

    def test_what_was_read_is_at_hand_and_noted(self, hand, notes):
        hand.fill("k", None, 7)
        assert hand.near.held("k") is None
        assert hand.near.held("k") is None
        assert notes == [("k", 7)] * 2

    @pytest.mark.parametrize("strange", [[], {}, 5, None, b"k"])
    def test_what_is_no_key_is_not_held(self, hand, strange):
        hand.fill("k", 1)
        assert hand.near.held(strange) is NOTHING

    @pytest.mark.parametrize(("left", "until"), [(10.0, 10.0), (60.0, 30.0)])
    def test_ends_with_its_own_time_or_that_of_the_entry(self, hand, clock, notes, left, until):
        hand.fill("k", 1, left=left)
        clock.now += until - 0.001
        assert hand.near.held("k") == 1
        clock.now += 0.001
        assert hand.near.held("k") is NOTHING
        assert hand.near.held_with_time("k") == (NOTHING, 0.0, None)
        assert len(notes) == 1

    def test_tells_the_time_left_in_redis_and_the_cost(self, hand, clock):
        hand.fill("k", 1, left=60.0, cost_ms=250)
        clock.now += 20
        assert hand.near.held_with_time("k") == (1, 40.0, 250)
        clock.now += 10  # its time at hand is up, that in Redis is not
        assert hand.near.held_with_time("k") == (NOTHING, 0.0, None)


class TestFillRace:
    def test_word_that_comes_while_a_read_is_under_way(self, hand):
        fill = hand.near.begin("k")
        hand.near.forget("k")
        hand.near.keep("k", fill, hand.entry("k", "old"))
        hand.near.end("k", fill)
        assert hand.near.held("k") is NOTHING
        hand.fill("k", "new", 2)  # a read that begins afterwards is kept
        assert hand.near.held("k") == "new"

    def test_word_of_another_key_changes_nothing(self, hand):
        fill = hand.near.begin("k")
        hand.near.forget("other")
        hand.near.keep("k", fill, hand.entry("k", "v"))
        assert hand.near.held("k") == "v"

    def test_a_read_that_begins_after_the_word_is_kept_and_the_one_before_is_not(self, hand):
        before = hand.near.begin("k")
        hand.near.forget("k")
        after = hand.near.begin("k")
        assert after is not before
        hand.near.keep("k", after, hand.entry("k", "new", 2))
        hand.near.end("k", after)
        hand.near.keep("k", before, hand.entry("k", "old", 1))
        hand.near.end("k", before)
        assert hand.near.held("k") == "new"

    def test_the_end_of_an_old_read_leaves_a_new_registration(self, hand):
        before = hand.near.begin("k")
        hand.near.forget("k")
        after = hand.near.begin("k")
        hand.near.end("k", before)
        hand.near.forget("k")  # must still find the new one
        hand.near.keep("k", after, hand.entry("k", "old"))
        assert hand.near.held("k") is NOTHING

    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    def test_of_two_reads_the_newest_entry_stays(self, hand, order):
        fills = {generation: hand.near.begin("k") for generation in (1, 2)}
        for generation in order:
            hand.near.keep("k", fills[generation], hand.entry("k", generation, generation))
            hand.near.end("k", fills[generation])
        assert hand.near.held("k") == 2

    @pytest.mark.parametrize("first", ["overtaken", "begun since"])
    def test_an_overtaken_read_that_brings_something_newer_is_known(self, hand, first):
        overtaken = hand.near.begin("k")  # it is sent again, say, and read late
        hand.near.forget("k")
        since = hand.near.begin("k")
        reads = {"overtaken": (overtaken, hand.entry("k", "new", 3)), "begun since": (since, hand.entry("k", "old", 2))}
        for name in (first, *(reads.keys() - {first})):
            hand.near.keep("k", *reads[name])
        assert hand.near.held("k") is NOTHING  # the caller of the overtaken one has seen what is newer

    def test_a_miss_meanwhile_means_that_what_was_read_is_gone(self, hand):
        fill = hand.near.begin("k")
        hand.near.saw("k", None)
        hand.near.keep("k", fill, hand.entry("k", "gone"))
        assert hand.near.held("k") is NOTHING

    def test_a_newer_one_that_was_seen_meanwhile_keeps_the_older_out(self, hand):
        fill = hand.near.begin("k")
        hand.near.saw("k", 5)
        hand.near.keep("k", fill, hand.entry("k", "old", 4))
        assert hand.near.held("k") is NOTHING

    def test_an_older_one_that_is_seen_drops_nothing(self, hand):
        hand.fill("k", "new", 5)
        hand.near.saw("k", 4)
        assert hand.near.held("k") == "new"

    @pytest.mark.parametrize("seen", [6, None])
    def test_what_is_held_goes_when_something_newer_is_seen(self, hand, seen):
        hand.fill("k", "old", 5)
        hand.near.saw("k", seen)
        assert hand.near.held("k") is NOTHING

    def test_generations_come_round(self, hand):
        last = GENERATIONS - 1
        fills = [hand.near.begin("k") for _ in range(2)]
        hand.near.keep("k", fills[0], hand.entry("k", "after", 0))
        hand.near.keep("k", fills[1], hand.entry("k", "before", last))
        assert hand.near.held("k") == "after"
        hand.near.saw("k", last)
        assert hand.near.held("k") == "after"
        hand.near.saw("k", 3)
        assert hand.near.held("k") is NOTHING

    @pytest.mark.parametrize("word", ["forget_all", "lost"])
    def test_what_ends_everything_ends_the_reads_under_way(self, hand, word):
        fill = hand.near.begin("k")
        getattr(hand.near, word)()
        hand.near.expect(1)
        hand.near.gained()
        hand.near.keep("k", fill, hand.entry("k", "old"))
        assert hand.near.held("k") is NOTHING

    def test_a_read_that_began_before_tracking_did_is_not_kept(self, clock, notes):
        hand = Hand(clock, notes)
        hand.near.expect(1)
        fill = hand.near.begin("k")
        hand.near.gained()
        hand.near.keep("k", fill, hand.entry("k", "from before"))
        assert hand.near.held("k") is NOTHING

    def test_registrations_do_not_add_up(self, hand):
        for number in range(100):
            hand.fill(f"k{number}", number)
        hand.near.end("x", hand.near.begin("x"))
        assert not hand.near._fills


class TestBound:
    def test_never_more_than_size_and_who_is_read_stays(self, clock, notes):
        hand = Hand(clock, notes, size=4)
        for number in range(4):
            hand.fill(str(number), number)
        for number in range(4, 40):
            assert hand.near.held("0") == 0
            hand.fill(str(number), number)
            assert len(hand.near) == 4
        assert hand.near.held("0") == 0
        assert hand.near.held("1") is NOTHING

    def test_a_second_chance_is_one(self, clock, notes):
        hand = Hand(clock, notes, size=2)
        hand.fill("a", 1)
        hand.near.held("a")
        for key in "bcde":
            hand.fill(key, 1)
        assert hand.near.held("a") is NOTHING

    def test_where_all_were_read_the_bound_holds_as_well(self, clock, notes):
        hand = Hand(clock, notes, size=3)
        for number in range(30):
            hand.fill(str(number), number)
            for held in range(number + 1):
                hand.near.held(str(held))
            assert len(hand.near) <= 3

    def test_a_key_that_is_read_again_takes_no_more_room(self, clock, notes):
        hand = Hand(clock, notes, size=2)
        hand.fill("a", 1)
        for generation in range(2, 9):
            hand.fill("b", generation, generation)
        assert hand.near.held("a") == 1
        assert hand.near.held("b") == 8


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
    def test_what_a_caller_does_to_a_value_is_seen_by_nobody_else(self, hand, value, cost_ms):
        hand.fill("k", value, cost_ms=cost_ms)
        for _ in range(2):
            first = hand.near.held("k")
            assert first == value
            assert type(first) is type(value)
            spoil(first)
        spoil(hand.near.held_with_time("k")[0])
        assert hand.near.held("k") == value
        hand.near.lost()
        spoil(hand.near.last_known("k"))
        assert hand.near.last_known("k") == value

    def test_what_the_reader_got_is_no_way_in(self, hand):
        """The value that the filling read hands out is the one that was decoded for it."""
        given = raw([1])
        entry = opened(given)
        fill = hand.near.begin("k")
        hand.near.keep("k", fill, hand.near.made("k", entry, given, lambda _: None, 200.0))
        spoil(entry[1])
        assert hand.near.held("k") == [1]


class TestEars:
    def test_holds_nothing_until_all_listen(self, clock, notes):
        hand = Hand(clock, notes)
        hand.near.expect(3)
        for ears in range(3):
            assert not hand.near.is_listening
            hand.fill("k", ears)
            assert hand.near.held("k") is NOTHING
            hand.near.gained()
        assert hand.near.is_listening
        hand.fill("k", "v")
        assert hand.near.held("k") == "v"

    def test_no_ear_at_all_does_not_listen(self, clock, notes):
        hand = Hand(clock, notes)
        hand.near.expect(0)
        assert not hand.near.is_listening
        hand.near.lost()
        assert not hand.near.is_listening

    def test_the_loss_of_one_is_that_of_all(self, clock, notes):
        hand = Hand(clock, notes)
        hand.near.expect(2)
        hand.near.gained()
        hand.near.gained()
        hand.fill("k", "v")
        hand.near.lost()
        assert not hand.near.is_listening
        assert hand.near.held("k") is NOTHING
        hand.near.gained()
        assert not hand.near.is_listening

    def test_a_new_session_begins_with_nothing(self, hand):
        hand.fill("k", "v")
        hand.near.expect(1)
        hand.near.gained()
        assert hand.near.held("k") is NOTHING
        assert hand.near.last_known("k") is NOTHING

    def test_a_forked_child_holds_and_hears_nothing(self, hand):
        hand.fill("k", "v")
        fill = hand.near.begin("other")
        hand.near.reset()
        assert not hand.near.is_listening
        assert len(hand.near) == 0
        hand.near.expect(1)
        hand.near.gained()
        hand.fill("k", "new")
        assert hand.near.held("k") == "new"
        hand.near.end("other", fill)


class TestLastKnown:
    def test_is_there_once_the_ear_is_lost_and_before_it_is_known_to_be(self, hand):
        assert hand.near.last_known("k") is NOTHING
        hand.fill("k", ["v"])
        assert hand.near.last_known("k") == ["v"]
        hand.near.lost()
        assert hand.near.last_known("k") == ["v"]
        hand.near.lost()
        assert hand.near.last_known("k") == ["v"]

    def test_ends_when_it_would_have_ended(self, hand, clock):
        hand.fill("k", "v", left=5.0)
        hand.near.lost()
        clock.now += 4.9
        assert hand.near.last_known("k") == "v"
        clock.now += 0.1
        assert hand.near.last_known("k") is NOTHING

    @pytest.mark.parametrize("word", ["forget", "forget_many", "forget_all", "saw"])
    def test_goes_when_something_newer_is_known(self, hand, word):
        hand.fill("k", "v", 5)
        hand.near.lost()
        {
            "forget": lambda: hand.near.forget("k"),
            "forget_many": lambda: hand.near.forget_many(["k"]),
            "forget_all": lambda: hand.near.forget_many(None),
            "saw": lambda: hand.near.saw("k", 6),
        }[word]()
        assert hand.near.last_known("k") is NOTHING

    def test_never_goes_back_behind_what_was_read_meanwhile(self, hand):
        """Without an ear reads are kept by nobody, but what they have shown is known."""
        hand.fill("k", "old", 5)
        hand.near.lost()
        hand.fill("k", "new", 6)
        assert hand.near.last_known("k") in (NOTHING, "new")


class TestCopies:
    def test_all_of_them_forget(self, clock, notes):
        hands = [Hand(clock, notes) for _ in range(3)]
        copies = Copies()
        for hand in hands:
            copies.add(hand.near)
            hand.fill("k", "v")
            hand.fill("l", "v")
        copies.forget(["k"])
        assert [hand.near.held("k") for hand in hands] == [NOTHING] * 3
        assert [hand.near.held("l") for hand in hands] == ["v"] * 3
        copies.forget(None)
        assert [len(hand.near) for hand in hands] == [0] * 3


TAG = "er:{default:cache0}"
OTHER = "er:{default:cache1}"
TRACKED = b"__redis__:invalidate"


class Talk:
    """A conversation driven step by step."""

    def __init__(self, near: Near, *shards: str) -> None:
        self._talk = Ear(near, [CacheKeys("default", shard) for shard in shards or ("0",)]).conversation()
        self.step: Any = next(self._talk)

    def sends(self, *words: str) -> None:
        """Check what is sent, and go on to the wait for its answer."""
        assert self.step == Send(words)
        self.step = self._talk.send(None)
        assert self.step == Hear(PING_SECONDS)

    def hears(self, reply: Any) -> None:
        assert isinstance(self.step, Hear)
        self.step = self._talk.send(reply)

    def fails(self, error: Exception) -> None:
        self.step = self._talk.throw(error)

    def tracks(self) -> None:
        self.sends("CLIENT", "ID")
        self.hears(7)
        self.sends("CLIENT", "TRACKING", "ON", "REDIRECT", "7", "BCAST", "PREFIX", f"{TAG}:v:")
        self.hears(b"OK")
        self.sends("SUBSCRIBE", TRACKED.decode())
        self.hears([b"subscribe", TRACKED, 1])

    def hears_of(self, *names: str) -> None:
        self.hears([b"message", TRACKED, [f"{TAG}:v:{name}".encode() for name in names]])


@pytest.fixture
def deaf(clock, notes):
    """A near cache that does not listen yet."""
    hand = Hand(clock, notes)
    hand.near.expect(1)
    return hand


@pytest.fixture
def talk(deaf):
    """A conversation that tracks."""
    talk = Talk(deaf.near)
    assert not deaf.near.is_listening
    talk.tracks()
    assert deaf.near.is_listening
    return talk


class TestTracking:
    def test_prefixes_of_all_shards(self, deaf):
        talk = Talk(deaf.near, "0", "1")
        talk.sends("CLIENT", "ID")
        talk.hears(7)
        prefixes = ("PREFIX", f"{TAG}:v:", "PREFIX", f"{OTHER}:v:")
        talk.sends("CLIENT", "TRACKING", "ON", "REDIRECT", "7", "BCAST", *prefixes)

    def test_word_of_keys(self, deaf, talk):
        for key in ("a", "b", "c:v:}:v:"):
            deaf.fill(key, key)
        talk.hears_of("a", "c:v:}:v:")
        assert [deaf.near.held(key) for key in ("a", "b", "c:v:}:v:")] == [NOTHING, "b", NOTHING]

    def test_word_of_a_flush(self, deaf, talk):
        deaf.fill("a", 1)
        talk.hears([b"message", TRACKED, None])
        assert len(deaf.near) == 0
        deaf.fill("a", 2)
        assert deaf.near.held("a") == 2

    @pytest.mark.parametrize("strange", [[b"pong", b""], b"PONG", 1, [b"subscribe", TRACKED, 1]])
    def test_what_is_no_word_changes_nothing(self, deaf, talk, strange):
        deaf.fill("a", 1)
        talk.hears(strange)
        assert deaf.near.held("a") == 1
        talk.hears_of("a")
        assert deaf.near.held("a") is NOTHING

    def test_word_of_a_key_that_is_none_of_ours_does_not_end_it(self, deaf, talk):
        """Anybody may write such a key."""
        deaf.fill("a", 1)
        talk.hears([b"message", TRACKED, [f"{TAG}:v:".encode() + b"\xff"]])
        talk.hears_of("a")
        assert deaf.near.held("a") is NOTHING

    def test_silence_is_tried_and_an_answer_is_enough(self, deaf, talk):
        deaf.fill("a", 1)
        for _ in range(3):
            talk.hears(None)
            talk.sends("PING")
            talk.hears([b"pong", b""])
        assert deaf.near.held("a") == 1

    def test_word_may_come_before_the_answer(self, deaf, talk):
        deaf.fill("a", 1)
        talk.hears(None)
        talk.sends("PING")
        talk.hears_of("a")
        assert deaf.near.held("a") is NOTHING
        talk.hears([b"pong", b""])

    def test_no_answer_is_the_end(self, talk):
        talk.hears(None)
        talk.sends("PING")
        with pytest.raises(StoreTimeoutError, match="PING"):
            talk.hears(None)

    @pytest.mark.parametrize("answers", range(3))
    def test_no_answer_to_the_first_words_is_the_end(self, deaf, answers):
        talk = Talk(deaf.near)
        for reply in [7, b"OK"][:answers]:
            talk.step = talk._talk.send(None)
            talk.hears(reply)
        talk.step = talk._talk.send(None)
        with pytest.raises(StoreTimeoutError):
            talk.hears(None)
        assert not deaf.near.is_listening

    def test_a_connection_that_breaks_is_the_end(self, talk):
        with pytest.raises(StoreUnavailableError):
            talk.fails(StoreUnavailableError("gone"))


class TestPublished:
    @pytest.fixture
    def talk(self, deaf):
        talk = Talk(deaf.near, "0", "1")
        talk.sends("CLIENT", "ID")
        talk.hears(7)
        talk.step = talk._talk.send(None)
        talk.fails(StoreRefusedError("NOPERM"))
        talk.sends("SUBSCRIBE", f"{TAG}:written")
        talk.hears([b"subscribe", f"{TAG}:written".encode(), 1])
        assert not deaf.near.needs_announcing
        talk.sends("SUBSCRIBE", f"{OTHER}:written")
        talk.hears([b"subscribe", f"{OTHER}:written".encode(), 2])
        return talk

    @pytest.mark.parametrize("error", [StoreRefusedError("NOPERM"), StoreReplyError("unknown command")])
    def test_where_the_server_knows_no_ids(self, deaf, error):
        talk = Talk(deaf.near)
        assert talk.step == Send(("CLIENT", "ID"))
        talk.step = talk._talk.send(None)
        talk.fails(error)
        talk.sends("SUBSCRIBE", f"{TAG}:written")

    def test_a_server_that_is_gone_is_no_reason(self, deaf):
        talk = Talk(deaf.near)
        with pytest.raises(StoreUnavailableError):
            talk.fails(StoreUnavailableError("gone"))

    def test_holds_nothing_before_writers_tell(self, deaf, talk):
        assert deaf.near.needs_announcing
        deaf.fill("a", 1)
        assert not deaf.near.is_listening
        assert deaf.near.held("a") is NOTHING
        fill = deaf.near.begin("a")
        deaf.near.announced([1, 2])
        deaf.near.keep("a", fill, deaf.entry("a", "from before"))
        assert deaf.near.held("a") is NOTHING
        deaf.fill("a", 1)
        deaf.near.announced([1, 2])  # again: changes nothing
        assert deaf.near.held("a") == 1

    def test_where_they_did_not_tell_for_a_while_nothing_is_held(self, deaf, talk):
        """The time since when they tell is another one: word of some writes was never sent."""
        deaf.near.announced([1, 2])
        deaf.fill("a", 1)
        fill = deaf.near.begin("b")
        deaf.near.announced([1, 3])
        deaf.near.keep("b", fill, deaf.entry("b", "from before"))
        assert deaf.near.held("a") is NOTHING
        assert deaf.near.held("b") is NOTHING
        deaf.fill("a", 2)
        assert deaf.near.held("a") == 2

    def test_in_doubt_nothing_is_held_until_they_tell_again(self, deaf, talk):
        deaf.near.announced([1, 2])
        deaf.fill("a", 1)
        deaf.near.doubt()
        assert deaf.near.held("a") is NOTHING
        assert not deaf.near.is_listening
        assert deaf.near.needs_announcing
        deaf.near.announced([1, 2])
        deaf.fill("a", 2)
        assert deaf.near.held("a") == 2

    def test_word_of_keys(self, deaf, talk):
        deaf.near.announced([1, 2])
        for key in ("a", "b", "ü/\x7f"):
            deaf.fill(key, key)
        talk.hears([b"message", f"{TAG}:written".encode(), '["a","ü\\/\\u007f"]'.encode()])
        assert [deaf.near.held(key) for key in ("a", "b", "ü/\x7f")] == [NOTHING, "b", NOTHING]

    @pytest.mark.parametrize("garbage", [b"", b"{", b"\xff", b"5", b"null"])
    def test_what_cannot_be_read_ends_nothing_but_what_is_held(self, deaf, talk, garbage):
        """Anybody may publish there. What it was about is not known, so all that is held goes."""
        deaf.near.announced([1, 2])
        deaf.fill("a", 1)
        talk.hears([b"message", f"{TAG}:written".encode(), garbage])
        assert deaf.near.held("a") is NOTHING
        deaf.fill("a", 2)
        talk.hears([b"message", f"{TAG}:written".encode(), b'["a"]'])
        assert deaf.near.held("a") is NOTHING

    @pytest.mark.parametrize("garbage", [b"[]", b"[[]]", b"[{}]", b"[5, null]", b'{"a": 1}'])
    def test_what_names_no_key_ends_nothing(self, deaf, talk, garbage):
        deaf.near.announced([1, 2])
        talk.hears([b"message", f"{TAG}:written".encode(), garbage])
        deaf.fill("a", 2)
        talk.hears([b"message", f"{TAG}:written".encode(), b'["a"]'])
        assert deaf.near.held("a") is NOTHING

    def test_announcing_helps_nobody_without_an_ear(self, deaf, talk):
        deaf.near.announced([1, 2])
        deaf.near.lost()
        deaf.near.announced([1, 2])
        assert not deaf.near.is_listening
