#!/usr/bin/env python3
"""Run `edge-redis up` for any time, and tell how fast its processes and its keys grow.

    python scripts/dev/soak.py [--seconds 3600] [--every 15] [--samples FILE] [-- OPTIONS OF edge-redis up ...]

Starts a server, runs the site on it, and takes a sample every so many seconds: resident memory, descriptors and threads
of each process, and the server's keys, used memory and clients. Each sample is a line of JSON. At the end prints the
slope of each series an hour, after the warm-up, with its 95 % confidence interval: the samples are averaged in ten
equal spans of time, so that samples which depend on their neighbours count once. Ctrl-C ends it early, with what was
sampled until then. With ``--read FILE`` prints the slopes of samples of another run.

Needs ``edge-redis[agent,embedded]``, and Linux or another system with descriptors that psutil can count.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from edge_redis import embedded

SPANS: Final = 10
_STUDENT_95: Final = 2.306
"""Quantile of Student's t for an interval of 95 % of a slope of ten means: eight degrees of freedom."""
_FIRST_PARTS: Final = ("cloud worker", "monitor")
"""The order in which the site starts its processes; the edges follow."""


@dataclass(frozen=True)
class Slope:
    """How fast a series grows: an hour, give or take ``interval``."""

    first: float
    """Mean of the first span after the warm-up."""
    last: float
    per_hour: float
    interval: float

    @property
    def is_flat(self) -> bool:
        """Whether a series that does not grow at all may look like this."""
        return abs(self.per_hour) <= self.interval


def fit(times: Sequence[float], values: Sequence[float]) -> Slope:
    """Fit a line to the means of ten equal spans of time; ``times`` are seconds, in order, two or more a span."""
    begin, width = times[0], (times[-1] - times[0]) / SPANS
    spans: list[list[float]] = [[] for _ in range(SPANS)]
    for moment, value in zip(times, values, strict=True):
        spans[min(SPANS - 1, int((moment - begin) / width))].append(value)
    means = [sum(span) / len(span) for span in spans]
    middle, level = (SPANS - 1) / 2, sum(means) / SPANS
    spread = sum((at - middle) ** 2 for at in range(SPANS))
    step = sum((at - middle) * (mean - level) for at, mean in enumerate(means)) / spread
    residuals = sum((mean - level - step * (at - middle)) ** 2 for at, mean in enumerate(means))
    error = (residuals / (SPANS - 2) / spread) ** 0.5
    hour = 3600 / width
    return Slope(means[0], means[-1], step * hour, _STUDENT_95 * error * hour)


def series_of(samples: Sequence[dict[str, Any]], warm_up: float) -> dict[str, Slope]:
    """Return the slope of everything that each sample after the warm-up holds, by name."""
    later = [sample for sample in samples if sample["seconds"] >= warm_up]
    if len(later) < 2 * SPANS:
        raise SystemExit(f"{len(later)} samples after the warm-up are too few: {2 * SPANS} are needed")
    times = [sample["seconds"] for sample in later]
    names = [name for name in later[0]["values"] if all(name in sample["values"] for sample in later)]
    return {name: fit(times, [sample["values"][name] for sample in later]) for name in names}


def print_slopes(samples: Sequence[dict[str, Any]], warm_up: float) -> None:
    """Print one line a series, and which series were not there in all samples."""
    slopes = series_of(samples, warm_up)
    seconds = samples[-1]["seconds"] - warm_up
    print(f"{len(samples)} samples; slopes over {seconds / 60:.1f} minutes, after a warm-up of {warm_up / 60:.1f}")
    print(f"{'series':<28} {'first':>10} {'last':>10} {'an hour':>10} {'+-':>8}")
    for name, slope in slopes.items():
        note = "" if slope.is_flat else "  *"
        print(
            f"{name:<28} {slope.first:>10.2f} {slope.last:>10.2f} {slope.per_hour:>+10.3f} {slope.interval:>8.3f}{note}"
        )
    print("* the interval does not hold zero")
    partial = {name for sample in samples for name in sample["values"]} - slopes.keys()
    if partial:
        print(f"not in all samples: {', '.join(sorted(partial))}")


def name_processes(server_pid: int | None, site: psutil.Process) -> dict[str, psutil.Process]:
    """Return the processes of the run by the names of their tasks; one that was started again has another name."""
    named = {"up": site}
    if server_pid is not None:
        named["server"] = psutil.Process(server_pid)
    parts = [child for child in site.children() if "_start.py" in " ".join(child.cmdline())]
    for number, part in enumerate(sorted(parts, key=lambda child: (child.create_time(), child.pid))):
        edge = number - len(_FIRST_PARTS)
        named[_FIRST_PARTS[number] if edge < 0 else f"edge {edge + 1}"] = part
    return named


def sample_processes(processes: dict[str, psutil.Process]) -> dict[str, float]:
    """Return memory, descriptors and threads of each process that is alive."""
    values: dict[str, float] = {}
    for name, process in processes.items():
        try:
            with process.oneshot():
                values[f"{name}: RSS MB"] = process.memory_info().rss / 1e6
                values[f"{name}: descriptors"] = process.num_fds()
                values[f"{name}: threads"] = process.num_threads()
        except psutil.NoSuchProcess:
            continue
    return values


def sample_server(client: Any) -> dict[str, float]:
    """Return what the server has: keys, memory of its data, clients."""
    info = client.info()
    return {
        "Redis: keys": client.dbsize(),
        "Redis: used memory MB": info["used_memory"] / 1e6,
        "Redis: data MB": info["used_memory_dataset"] / 1e6,
        "Redis: clients": info["connected_clients"],
    }


def sample_site(options: argparse.Namespace) -> Generator[dict[str, Any]]:
    """Run the site; yield a sample every so many seconds until it ends."""
    with tempfile.TemporaryDirectory(prefix="edge-redis-soak-") as folder, embedded.start(folder) as server:
        command = [sys.executable, "-m", "edge_redis", "up", "--url", server.url, "--duration", str(options.seconds)]
        errors = Path(folder) / "errors.txt"
        with server.client() as client, errors.open("w") as log:
            site = subprocess.Popen([*command, "--quiet", *options.up], stdout=subprocess.DEVNULL, stderr=log)
            began = time.monotonic()
            try:
                yield from _samples(site, server.pid, client, began, options.every, options.seconds)
            finally:
                code = end_site(site)
                print(f"the site ended with code {code}. {errors.read_text()}".strip(), file=sys.stderr)


def end_site(site: subprocess.Popen[bytes], seconds: float = 60.0) -> int:
    """Let the site end by itself, or end it; return its exit code."""
    try:
        return site.wait(seconds)
    except subprocess.TimeoutExpired:
        site.send_signal(signal.SIGINT)
        return site.wait(seconds)


def _samples(
    site: subprocess.Popen[bytes], server_pid: int | None, client: Any, began: float, every: float, seconds: float
) -> Iterator[dict[str, Any]]:
    """Yield samples while the site runs, without drift. A part that is missing at first is looked for again."""
    top = psutil.Process(site.pid)
    while site.poll() is None and time.monotonic() - began < seconds:
        elapsed = time.monotonic() - began
        try:
            processes = name_processes(server_pid, top)
        except psutil.NoSuchProcess:
            return
        yield {"seconds": round(elapsed, 3), "values": {**sample_processes(processes), **sample_server(client)}}
        pause = every - (time.monotonic() - began) % every
        try:
            site.wait(pause)
        except subprocess.TimeoutExpired:
            continue


def main() -> int:
    """Run or read a soak, and print its slopes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600, help="duration of the run (default: 3600)")
    parser.add_argument("--every", type=float, default=15, help="seconds between samples (default: 15)")
    parser.add_argument("--warm-up", type=float, help="seconds that no slope is of (default: a quarter of the run)")
    parser.add_argument("--samples", type=Path, help="write the samples here, one line of JSON each")
    parser.add_argument("--read", type=Path, help="run nothing: print the slopes of these samples")
    parser.add_argument("up", nargs="*", help="after --: options of edge-redis up")
    options = parser.parse_args()
    samples = read(options.read) if options.read else record(options)
    warm_up = samples[-1]["seconds"] / 4 if options.warm_up is None else options.warm_up
    print_slopes(samples, warm_up)
    return 0


def read(path: Path) -> list[dict[str, Any]]:
    """Return the samples of another run."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def record(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run a soak, and return its samples; each is written as soon as it is taken."""
    samples = []
    path = options.samples or Path("/dev/null")
    with path.open("w", buffering=1) as file:
        running = sample_site(options)
        try:
            for sample in running:
                samples.append(sample)
                file.write(json.dumps(sample) + "\n")
        except KeyboardInterrupt:
            running.close()
    return samples


if __name__ == "__main__":
    sys.exit(main())
