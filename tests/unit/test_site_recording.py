"""Reading a recording, and when what it holds is due."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from edge_redis import InvalidArgumentError, InvalidKeyError
from edge_redis._site.recording import Outline, Reading, outline, read
from edge_redis._site.replay import Pace, TimeoutCheck, iterate_events
from support.recordings import silences, synthetic


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_recording_in_milliseconds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "timestamp_ms,node_id,temperature,door,note",
        '1458031648545,node-1,20.48,open,"a, b"',
        "1458031648546,node-2,,shut,",
    )
    assert list(read(path)) == [
        Reading(1458031648545000, "node-1", {"temperature": 20.48, "door": "open", "note": "a, b"}),
        Reading(1458031648546000, "node-2", {"door": "shut"}),
    ]
    assert outline(path) == Outline({"node-1": 1, "node-2": 1}, 1458031648545000, 1458031648546000)
    assert outline(path).seconds == 0.001


@pytest.mark.parametrize(
    ("column", "text", "microseconds"),
    [
        ("timestamp_us", "1458031648545001", 1458031648545001),
        ("timestamp_ms", "1458031648545.5", 1458031648545500),
        ("timestamp_s", "1458031648.545", 1458031648545000),
        ("timestamp", "2016-03-15T08:47:28.545+00:00", 1458031648545000),
        ("timestamp", "2016-03-15 08:47:28.545", 1458031648545000),
        ("timestamp", "2016-03-15T09:47:28.545001+01:00", 1458031648545001),
        ("timestamp_utc", "2016-03-15T08:47:28Z", 1458031648000000),
    ],
)
def test_units_of_time(tmp_path: Path, column: str, text: str, microseconds: int) -> None:
    path = write(tmp_path / "a.csv", f"node,{column},x", f"n,{text},1")
    assert list(read(path)) == [Reading(microseconds, "n", {"x": 1.0})]


def test_packed_files_are_known_by_their_bytes_and_a_mark_at_the_start_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "no_telling_name"
    with gzip.open(path, "wt", encoding="utf-8-sig") as file:
        file.write("timestamp_s,node_id,x\n1,n,nan\n\n2,n,-1e101\n")
    assert list(read(path)) == [Reading(1_000_000, "n", {"x": "nan"}), Reading(2_000_000, "n", {"x": "-1e101"})]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "header needs a column timestamp"),
        (["time,node_id", "1,n"], "header needs a column timestamp"),
        (["timestamp_s,name", "1,n"], "one node_id"),
        (["timestamp_s,node_id,x"], "has no readings"),
        (["timestamp_s,node_id,x", "1,n"], "line 2: 2 values, where the header names 3"),
        (["timestamp_s,node_id,x", "1,n,2", "noon,n,2"], "line 3: could not convert"),
        (["timestamp_s,node_id,x", "inf,n,2"], "line 2"),
        (["timestamp_s,node_id,x", "nan,n,2"], "line 2"),
        (["timestamp,node_id,x", "yesterday,n,2"], "line 2: Invalid isoformat"),
        (["timestamp_s,node_id,x", "1,,2"], "line 2: node id must not be empty"),
        (["timestamp_s,node_id,x", "2,n,2", "1,m,2", "1,n,2"], "reading 3 of n goes back in time"),
        (["timestamp_s,node_id,x", '1,n,"2'], "line 2: unexpected end of data"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        outline(write(tmp_path / "a.csv", *lines))
    assert not isinstance(caught.value, InvalidKeyError)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        outline(tmp_path / "none.csv")
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"timestamp_s,node_id\n1,n\n")[:-9])
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        outline(cut)
    (tmp_path / "latin.csv").write_bytes(b"timestamp_s,node_id\n1,\xe9\n")
    with pytest.raises(InvalidArgumentError, match="is not UTF-8 text"):
        outline(tmp_path / "latin.csv")


def reading(seconds: float) -> Reading:
    return Reading(round(seconds * 1e6), "n", {})


def test_a_look_comes_when_the_timeout_has_passed_and_not_at_the_timeout() -> None:
    first, second, third = reading(0), reading(8), reading(16.001)
    found = list(iterate_events([first, second, third], timeout_seconds=8, end_us=third.at_us + 8_000_001))
    assert found == [first, second, TimeoutCheck(16_000_000), third, TimeoutCheck(24_001_000)]
    assert list(iterate_events([third], timeout_seconds=8, end_us=third.at_us + 8_000_000)) == [third]
    assert list(iterate_events([], timeout_seconds=8, end_us=99)) == []


def test_a_timeout_check_never_comes_before_the_timeout_in_whole_milliseconds() -> None:
    found = list(iterate_events([Reading(1_999, "n", {}), reading(9)], timeout_seconds=0.0015, end_us=9_000_000))
    assert found[1] == TimeoutCheck(3_000)  # the heartbeat is kept as 1 ms, the timeout is 1.5


@pytest.mark.parametrize("timeout", [4.999, 5.0, 5.001, 1.0])
def test_looks_are_as_many_as_the_silences_of_the_file(tmp_path: Path, timeout: float) -> None:
    path = synthetic(tmp_path / "a.csv")
    end = outline(path).last_us
    found: dict[str, Any] = {}
    for node in outline(path).readings:
        own = (each for each in read(path) if each.node_id == node)
        found[node] = sum(
            isinstance(event, TimeoutCheck) for event in iterate_events(own, timeout_seconds=timeout, end_us=end)
        )
    assert found == silences(path, timeout)
    assert sum(found.values()) > 0


def test_the_pace_maps_recorded_to_real_time() -> None:
    pace = Pace(1000.0, 5_000_000, 120.0)
    assert pace.due(5_000_000) == 1000.0
    assert pace.due(5_000_000 + 120_000_000) == 1001.0
