"""What the history checker must see, in histories made by hand: one that is in order, and what each rule is for."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from edge_redis import ConflictStrategy
from edge_redis._core import codec
from edge_redis._core.script import Script
from edge_redis._sync import fields as field_maps
from edge_redis._sync import scripts
from support.history import fields, rules
from support.history.calls import Matched
from support.history.checker import RULES
from support.history.kinds import OLDER, SMALL_SPLICES
from support.history.log import TOKEN, Call
from support.history.replay import Doc, Step
from support.history.rules import History

REMOTE, LOCAL, LATEST, MERGE = ConflictStrategy


def doc(version: int, clock: int, data: Any, origin: Any = "edge-0") -> Any:
    body = data if isinstance(data, bytes) else codec.canonical(data)
    moment = f"{clock:018d}"
    return Doc(version, moment, moment, origin, hashlib.sha256(body).hexdigest(), "", body)


FIRST, SECOND = doc(1, 10, {"a": 1}), doc(2, 20, {"a": 2})
OTHER = doc(1, 15, {"b": 1}, "edge-1")


def step(end: Any, kind: Any, before: Any = None, after: Any = None, **facts: Any) -> Any:
    return Step(end, 0, kind, before, after, **facts)


def in_order() -> Any:
    """Return an edge that wrote twice, another that wrote once in ignorance and lost, and a cloud that saw it all."""
    return [
        [step(0, "write", None, FIRST), step(0, "write", FIRST, SECOND)],
        [step(1, "write", None, OTHER), step(1, "take", OTHER, SECOND)],
        [
            step(2, "effect", version=1),
            step(2, "take", None, OTHER),
            step(2, "conflict", key=OTHER.key),
            step(2, "effect", version=2),
            step(2, "take", OTHER, SECOND),
        ],
    ]


def history(ends: Any, strategy: Any = REMOTE, finals: Any = (SECOND, SECOND, SECOND), start: Any = None) -> Any:
    return History(strategy, "s0", 0, start, finals, ends)


def faults(made: Any) -> Any:
    return [fault for rule in RULES[made.strategy] for fault in rule(made)]


@pytest.mark.parametrize("strategy", [REMOTE, LATEST])
def test_nothing_is_wrong_where_all_is_in_order(strategy: Any) -> None:
    assert faults(history(in_order(), strategy)) == []


def test_replicas_that_differ() -> None:
    assert any("differ" in fault for fault in faults(history(in_order(), finals=(SECOND, FIRST, SECOND))))


def test_a_write_that_is_in_no_conflict_stream_and_unknown_to_the_final_state() -> None:
    ends = in_order()
    del ends[2][2]
    (fault,) = faults(history(ends))
    assert fault.startswith("lost: version 1 of edge-1")


def test_a_final_state_that_was_lost_in_the_round_after() -> None:
    later = doc(3, 30, {"c": 1}, "edge-1")
    ends = [[step(0, "take", SECOND, later)], [step(1, "write", SECOND, later)], [step(2, "take", SECOND, later)]]
    finals = (later, later, later)
    assert faults(history(ends, finals=finals, start=SECOND)) == []
    stray = [[step(0, "take", SECOND, later)], [step(1, "write", None, later._replace(version=1))], ends[2]]
    assert any("lost: version 2" in fault for fault in faults(history(stray, finals=finals, start=SECOND)))


def test_a_gap_in_the_versions_and_a_clock_that_goes_back() -> None:
    ends = in_order()
    ends[0][1] = step(0, "write", FIRST, SECOND._replace(version=3, tick=f"{5:018d}"))
    found = faults(history(ends))
    assert any("not numbered one above" in fault for fault in found)
    assert any("goes back" in fault for fault in found)


def test_a_state_that_takes_the_place_of_one_above_it() -> None:
    ends = in_order()
    ends[1].append(step(1, "take", SECOND, OTHER))
    assert any("was above" in fault for fault in faults(history(ends)))


def test_a_change_that_takes_effect_twice() -> None:
    ends = in_order()
    ends[2] += [step(2, "effect", version=2), step(2, "effect", version=2)]
    assert [fault for fault in rules.applied_once(history(ends)) if "more often" in fault]


def test_what_an_edge_had_not_confirmed_is_excused_by_a_wipe_and_what_it_had_is_not() -> None:
    for confirmed, wanted in ((0, 0), (1, 1)):
        ends = in_order()
        ends[1][1:] = [step(1, "wipe", OTHER, version=confirmed), Step(1, 1, "take", None, SECOND)]
        ends[2] = [step(2, "effect", version=2), step(2, "take", None, SECOND)]
        made = history(ends)
        assert len(faults(made)) == wanted
        assert sum(made.excused.values()) == 1 - wanted


def test_a_remote_state_over_that_of_the_authority() -> None:
    ends = [
        [step(0, "write", None, FIRST), step(0, "take", FIRST, SECOND._replace(origin="cloud"))],
        [],
        [step(2, "take", None, FIRST), step(2, "write", FIRST, SECOND._replace(origin="cloud"))],
    ]
    final = SECOND._replace(origin="cloud")
    assert any("authority" in fault for fault in faults(history(ends, LOCAL, (final, final, final))))
    assert any("last data" in fault for fault in faults(history([ends[0][:1], *ends[1:]], LOCAL, (final,) * 3)))


def merged(version: Any, **stamps: Any) -> Any:
    made = field_maps.Fields(
        {name: field_maps.Field((f"{at:018d}", "e"), codec.canonical(at)) for name, at in stamps.items()}
    )
    return doc(version, max(stamps.values()), field_maps.pack(made))


def test_fields_that_are_lost_or_go_back() -> None:
    one, two, both = merged(1, a=10), merged(1, b=12), merged(1, a=10, b=12)
    ends = [
        [step(0, "write", None, one), step(0, "take", one, both)],
        [step(1, "write", None, two), step(1, "take", two, both)],
        [step(2, "take", None, one), step(2, "take", one, both), step(2, "effect"), step(2, "effect")],
    ]
    assert faults(history(ends, MERGE, (both,) * 3)) == []
    assert any("b of" in fault for fault in fields.accounted(history(ends, MERGE, (one,) * 3)))
    ends[1].append(step(1, "take", both, one))
    assert any("goes back" in fault for fault in fields.monotone(history(ends, MERGE, (both,) * 3)))


def test_a_field_that_comes_back_though_the_cloud_left_it_out() -> None:
    first, second = doc(1, 10, {"a": 1, "b": 1}, "cloud"), doc(2, 20, {"a": 1}, "cloud")
    lifted = field_maps.lift(first.clock, "cloud", {"a": 1, "b": 1})
    back = second._replace(body=field_maps.pack(field_maps.Fields(lifted.fields)))
    ends = [[], [], [step(2, "write", None, first), step(2, "write", first, second)]]
    assert list(fields.left_out(history(ends, MERGE, (second,) * 3))) == []
    assert any("came back" in fault for fault in fields.left_out(history(ends, MERGE, (back,) * 3)))


def call(op: Any, kind: Any = "delta", data: Any = None, outcome: Any = "ok", answer: Any = None, at: Any = 1.0) -> Any:
    return Call(op, 0, "remote_wins", "s0", kind, data, at, at + 0.5, outcome, answer or {})


def answer_of(state: Any) -> Any:
    return {"version": state.version, "clock": state.clock, "checksum": state.checksum, "origin": state.origin}


def test_calls_against_their_effects() -> None:
    one = doc(1, 10, {TOKEN: "p.1", "a": 1})
    two = doc(2, 20, {TOKEN: "p.1", "a": 1})
    write = call("p.1", data={TOKEN: "p.1", "a": 1}, answer=answer_of(one))
    steps = [step(0, "write", None, one)]
    assert [*Matched([write], steps).faults(None)] == []
    assert any("took no effect" in fault for fault in Matched([write], []).faults(None))
    assert any("nobody made" in fault for fault in Matched([], steps).faults(None))
    again = [*steps, step(0, "write", doc(1, 15, {}), two)]
    assert any("2 times" in fault for fault in Matched([write], again).faults(None))
    lost = call("p.1", data={TOKEN: "p.1", "a": 1, "b": 2}, answer=answer_of(one))
    assert any("made" in fault for fault in Matched([lost], steps).faults(None))
    failed = call("p.1", data={TOKEN: "p.1", "a": 1}, outcome="fail")
    assert any("failed and took effect" in fault for fault in Matched([failed], steps).faults(None))
    delete = call("p.2", "delete", answer={"answer": True})
    assert any("deletes" in fault for fault in Matched([write, delete], steps).faults(None))
    stale = call("p.3", "read", answer={**answer_of(two), "version": 7}, at=2.0)
    assert any("never there" in fault for fault in Matched([write, stale], steps).faults(None))


def test_a_call_sent_again_over_a_wipe_takes_effect_once_in_each_life() -> None:
    before, after = doc(5, 10, {"a": 1, "b": 2}), doc(6, 20, {"a": 1})
    base, again = doc(1, 30, {"a": 3, "b": 4}), doc(2, 40, {"a": 3})
    first, second = step(0, "write", before, after), Step(0, 1, "write", base, again)
    steps = [first, Step(0, 1, "wipe"), second]
    delete = call("p.1", "fields", data={"b": None}, answer=answer_of(again))
    assert [*Matched([delete], steps).faults(before)] == []
    twice = [first, first._replace(before=doc(7, 25, {"b": 5}), after=doc(8, 26, {})), *steps[1:]]
    assert any("nobody made" in fault for fault in Matched([delete], twice).faults(before))


def test_a_call_sent_again_over_a_wipe_may_find_its_own_effect() -> None:
    back, again = doc(1, 10, {TOKEN: "p.1", "a": 1}), doc(2, 20, {TOKEN: "p.1", "a": 1})
    write = call("p.1", data={TOKEN: "p.1", "a": 1}, answer=answer_of(again))
    steps = [step(0, "wipe"), Step(0, 1, "take", None, back), Step(0, 1, "write", back, again)]
    assert [*Matched([write], steps).faults(None)] == []
    assert any("nobody made" in fault for fault in Matched([write], steps[1:]).faults(None))


def test_a_version_below_one_that_was_acknowledged_before() -> None:
    one, two = doc(2, 10, {TOKEN: "p.1"}), doc(1, 20, {TOKEN: "p.2"})
    calls = [
        call("p.1", data={TOKEN: "p.1"}, answer=answer_of(one)),
        call("p.2", "replace", data={TOKEN: "p.2"}, answer=answer_of(two), at=9.0),
    ]
    steps = [step(0, "write", None, one), step(0, "write", one, two)]
    assert any("after 2 was acknowledged" in fault for fault in Matched(calls, steps).faults(None))


def test_the_scripts_have_the_text_that_kinds_of_processes_replace() -> None:
    sources = [script.source for script in vars(scripts).values() if isinstance(script, Script)]
    for old, _ in (*OLDER, *SMALL_SPLICES):
        assert any(old in source for source in sources), old
