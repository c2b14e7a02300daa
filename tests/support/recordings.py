"""Recordings to replay, and what each implies for the report: a plain computation over the file.

It shares nothing with the demo site but the three functions' names and windows, which the report states.
"""

from __future__ import annotations

import csv
import gzip
import os
import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

WINDOWS = {"rolling_statistics": 12, "anomaly_score": 8, "compress_window": 30}
WATCHED = 2


def shared_data(name: str) -> Path:
    """Return a data file that lies beside the project, or skip."""
    folder = Path(os.environ.get("EDGE_REDIS_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = folder / name
    if not path.exists():
        pytest.skip(f"no {path}: set EDGE_REDIS_DATA to the folder that holds {name}")
    return path


def synthetic(path: Path, *, nodes: int = 3, seconds: int = 60, seed: int = 1) -> Path:
    """Write a recording with silences of every length about 5 s, and values that repeat."""
    chance = random.Random(seed)
    rows = []
    for node in range(nodes):
        at, value = 1_700_000_000_000 + chance.randrange(1500), 20.0
        while at < 1_700_000_000_000 + seconds * 1000:
            rows.append((at, f"n{node}", f"{value:.2f}", f"{40 + node + chance.randrange(2)}", "open", ""))
            at += chance.choice([300, 500, 900, 1500, 4999, 5000, 5001, 7300])
            value += chance.choice([0, 0, 0, 0.01, 0.4, -0.3])
    rows.sort(key=lambda row: row[0])
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp_ms", "node_id", "temperature_c", "humidity", "door", "note"])
        writer.writerows(rows)
    return path


def excerpt(source: Path, path: Path, *, seconds: float) -> Path:
    """Write the first seconds of a recording in milliseconds to a file, packed if its name says so."""
    with gzip.open(source, "rt", newline="") as lines:
        rows = list(csv.reader(lines))
    end = min(int(row[0]) for row in rows[1:]) + seconds * 1000
    kept = [rows[0], *(row for row in rows[1:] if int(row[0]) <= end)]
    with gzip.open(path, "wt", newline="") as file:
        csv.writer(file).writerows(kept)
    return path


def _rows(path: Path) -> tuple[list[dict[str, str]], dict[str, list[dict[str, str]]]]:
    packed = path.read_bytes()
    text = (gzip.decompress(packed) if path.suffix == ".gz" else packed).decode()
    rows = list(csv.DictReader(text.splitlines()))
    by_node = defaultdict(list)
    for row in rows:
        by_node[row["node_id"]].append(row)
    return rows, by_node


def silences(path: Path, timeout: float) -> dict[str, int]:
    """Return how many silences of each node are longer than the timeout, in recorded seconds."""
    rows, by_node = _rows(path)
    end = max(int(row["timestamp_ms"]) for row in rows)
    found = {}
    for node, readings in by_node.items():
        times = [int(row["timestamp_ms"]) for row in readings] + [end]
        found[node] = sum(after - before > timeout * 1000 for before, after in pairwise(times))
    return found


def _verdicts(readings: list[dict[str, str]], end: int, timeout: float) -> list[bool]:
    times = [int(row["timestamp_ms"]) for row in readings] + [end]
    verdicts = []
    for before, after in pairwise(times):
        verdicts.append(True)
        if after - before > timeout * 1000:
            verdicts.append(False)
    return verdicts


def _misses(readings: list[dict[str, str]]) -> int:
    fields = list(readings[0])[2 : 2 + WATCHED]
    columns = [[float(f"{float(row[name]):.3g}") for row in readings] for name in fields]
    return sum(
        len({tuple(values[max(0, end - length) : end]) for end in range(1, len(values) + 1)})
        for length in WINDOWS.values()
        for values in columns
    )


def implied(path: Path, timeout: float) -> dict[str, Any]:
    """Return the numbers that the report of a whole replay must hold."""
    rows, by_node = _rows(path)
    end = max(int(row["timestamp_ms"]) for row in rows)
    nodes = {}
    for node, readings in by_node.items():
        verdicts = _verdicts(readings, end, timeout)
        last = verdicts[-10:]
        nodes[node] = {
            "readings": len(readings),
            "heartbeats": len(readings),
            "checks": len(verdicts),
            "unhealthy_spells": silences(path, timeout)[node],
            "flapping": sum(a != b for a, b in pairwise(last)) >= 3,
            "healthy": verdicts[-1],
        }
    misses = sum(map(_misses, by_node.values()))
    total = len(rows)
    return {
        "readings_processed": total,
        "invocations": total * len(WINDOWS),
        "nodes": nodes,
        "functions": {name: {"count": total, "success_rate": 100.0} for name in WINDOWS},
        "cache": {"size": misses, "misses": misses, "hits": total * len(WINDOWS) * WATCHED - misses, "evictions": 0},
        "sync": {
            "all_equal": True,
            "pending": 0,
            "conflicts": 0,
            "scopes": {
                node: {
                    "edge_version": len(readings),
                    "cloud_version": len(readings),
                    "pending": 0,
                    "conflicts": 0,
                    "equal": True,
                }
                for node, readings in by_node.items()
            },
        },
    }


def differences(report: Any, expected: Any, where: str = "report") -> list[str]:
    """Return every place where the report is not what is expected of it; what is not expected may be anything."""
    if not isinstance(expected, dict):
        return [] if report == expected else [f"{where}: {report!r}, not {expected!r}"]
    if not isinstance(report, dict):
        return [f"{where}: {report!r}, not a dict"]
    return [
        line
        for name, value in expected.items()
        for line in differences(report.get(name, "(missing)"), value, f"{where}.{name}")
    ]
