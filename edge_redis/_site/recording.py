"""Recordings of sensor readings: CSV, plain or gzipped, with a header and one reading a line.

    timestamp_ms,node_id,temperature_c,door
    1458031648545,node-1,20.48,0

The first column whose name starts with ``timestamp`` is the time: a number in the unit that its
name ends with (``_s``, ``_ms``, ``_us``), otherwise ISO 8601 (UTC when the text has no time zone).
``node_id`` or ``node`` is the node's id. Every other column is a field: a number when the text is
a number up to 1e100, otherwise text; empty fields are left out.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from edge_redis._core import validation
from edge_redis.errors import InvalidArgumentError

_MICROSECONDS: Final[Mapping[str, int]] = {"_us": 1, "_ms": 1_000, "_s": 1_000_000}
_NODE_COLUMNS: Final = ("node_id", "node")
_GZIP_MAGIC: Final = b"\x1f\x8b"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

MAX_NUMBER: Final = 1e100
"""Larger numbers are read as text, so that sums and squares of numbers stay finite."""
MAX_NODE_BYTES: Final = 256
"""Length limit of a node id in UTF-8: cache keys begin with it."""


class Reading(NamedTuple):
    """The values that one node measured at one moment."""

    at_us: int
    """Unix time in microseconds."""
    node_id: str
    fields: dict[str, float | str]


@dataclass(frozen=True, slots=True)
class Outline:
    """Summary of a recording: the number of readings and their time span."""

    readings: Mapping[str, int]
    """Number of readings by node id."""
    first_us: int
    last_us: int

    @property
    def total(self) -> int:
        """Number of readings of all nodes."""
        return sum(self.readings.values())

    @property
    def seconds(self) -> float:
        """Recorded seconds from the first reading to the last."""
        return (self.last_us - self.first_us) / 1e6


def read(path: Path) -> Iterator[Reading]:
    """Yield the readings of a file, in the order of its lines.

    Raises:
        InvalidArgumentError: the file cannot be read, or is not a recording; the message names the line.

    """
    try:
        with _open(path) as lines:
            rows = csv.reader(lines, strict=True)
            try:
                yield from _readings(rows)
            except UnicodeDecodeError as error:
                raise InvalidArgumentError(f"{path} is not UTF-8 text: {error}") from error
            except (csv.Error, ValueError, OverflowError) as error:
                raise InvalidArgumentError(f"{path}, line {rows.line_num}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error}") from error


def outline(path: Path) -> Outline:
    """Read a file once and return its summary.

    Raises:
        InvalidArgumentError: the file cannot be read, has no readings, or a node's readings go back in time.

    """
    counts: dict[str, int] = {}
    latest: dict[str, int] = {}
    first: int | None = None
    for number, reading in enumerate(read(path), 1):
        if reading.at_us < latest.get(reading.node_id, reading.at_us):
            raise InvalidArgumentError(f"{path}: reading {number} of {reading.node_id} goes back in time")
        latest[reading.node_id] = reading.at_us
        counts[reading.node_id] = counts.get(reading.node_id, 0) + 1
        first = reading.at_us if first is None else min(first, reading.at_us)
    if first is None:
        raise InvalidArgumentError(f"{path} has no readings")
    return Outline(counts, first, max(latest.values()))


def _open(path: Path) -> TextIO:
    with path.open("rb") as start:
        is_gzipped = start.read(2) == _GZIP_MAGIC
    if is_gzipped:
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _readings(rows: Iterator[list[str]]) -> Iterator[Reading]:
    header = [name.strip() for name in next(rows, [])]
    time = next((index for index, name in enumerate(header) if name.startswith("timestamp")), None)
    node = next((header.index(name) for name in _NODE_COLUMNS if name in header), None)
    if time is None or node is None:
        raise ValueError("the header needs a column timestamp, timestamp_s, _ms or _us, and one node_id")
    parse_time = _timestamp_parser(header[time])
    names = {index: name for index, name in enumerate(header) if index not in (time, node)}
    for row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise ValueError(f"{len(row)} values, where the header names {len(header)} columns")
        fields = {name: _parse_value(row[index]) for index, name in names.items() if row[index].strip()}
        yield Reading(
            parse_time(row[time]),
            validation.check_identifier("node id", row[node].strip(), limit=MAX_NODE_BYTES),
            fields,
        )


def _timestamp_parser(column: str) -> Callable[[str], int]:
    unit = next((size for suffix, size in _MICROSECONDS.items() if column.endswith(suffix)), None)
    if unit is None:
        return _parse_iso
    return lambda text: round(float(text) * unit)


def _parse_iso(text: str) -> int:
    moment = datetime.fromisoformat(text.strip())
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def _parse_value(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if abs(number) <= MAX_NUMBER else text
