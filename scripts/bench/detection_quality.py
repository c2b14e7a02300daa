"""Compare failure detectors: false suspicions a node-hour at equal mean detection time, as a Markdown table.

    scripts/bench/run detection_quality [FOLDER]

FOLDER has room_climate.csv.gz, the readings of four real sensor nodes, each taken for a heartbeat;
without it the generated heartbeats alone are compared.

A suspicion is false where the node is heard again. A node is taken to die at any moment with equal
probability, so the mean detection time is the limit less the silence there was at that moment. Each
detector's parameter is chosen so that this time is the same for all: then the suspicions can be compared.

Of a timeout with suspicion, what counts is the verdict that is confirmed: after four more seconds of
silence (waiting), or where the node does not answer over another way (asking). That way loses as much as the
heartbeats' own, and each question for itself; where a node pauses, it does not answer either.
"""

from __future__ import annotations

import csv
import gzip
import math
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

LEAST, MOST, FLOOR = 10, 200, 0.1  # as in edge_redis/_health/lua/include: intervals known, kept; least deviation
NODES, BEATS, PERIOD = 20, 3000, 4.0
NOT_THERE = "-"  # one way was recorded, or the node itself pauses
CONFIRMING = 4.0  # seconds from the suspicion to its confirmation, and between two questions
BEGINS_LOSS, PROLONGS_LOSS = 1 / 200, 3 / 4
LOST = BEGINS_LOSS / (BEGINS_LOSS + 1 - PROLONGS_LOSS)  # of all messages
DETECTION_SECONDS = (6.0, 10.0, 15.0, 20.0)

Stream = list[float]
"""The moments at which a heartbeat was heard, in seconds."""
Judge = Callable[[Sequence[Stream], float], "Quality"]


class Quality:
    """What a detector did with the streams of some nodes."""

    def __init__(self) -> None:
        self.suspicions = 0.0
        self.hours = 0.0
        self._waited = 0.0

    def add(self, silent_before: float, interval: float, limit: float, share: float = 1.0) -> None:
        """Count an interval until the next heartbeat; ``silent_before`` is the silence at its beginning.

        ``share``: how probable it is that a silence of this length counts as a death.
        """
        self.hours += interval / 3600
        self.suspicions += share * (silent_before + interval > limit)
        self._waited += interval * max(0.0, limit - silent_before - interval / 2)

    @property
    def detection(self) -> float:
        """Mean time to detect a death, in seconds."""
        return self._waited / (self.hours * 3600)

    @property
    def false_an_hour(self) -> float:
        """False suspicions a node-hour."""
        return self.suspicions / self.hours


def by_timeout(streams: Sequence[Stream], limit: float) -> Quality:
    """Judge each node by one limit."""
    quality = Quality()
    for stream in streams:
        for before, after in pairwise(stream):
            quality.add(0.0, after - before, limit)
    return quality


def by_waiting(streams: Sequence[Stream], limit: float) -> Quality:
    """Judge each node by a suspicion, and by what is heard in the seconds after it: the limit is that of both."""
    quality = Quality()
    for stream in streams:
        for before, after in pairwise(stream):
            suspected = before + limit - CONFIRMING < after
            heard_meanwhile = after <= before + limit
            quality.add(0.0, after - before, limit, 1.0 if suspected and not heard_meanwhile else 0.0)
    return quality


def by_asking(streams: Sequence[Stream], limit: float) -> Quality:
    """Judge each node by one limit, and a question over another way, again and again while it is silent."""
    quality = Quality()
    for stream in streams:
        for before, after in pairwise(stream):
            questions = max(0, math.ceil((after - before - limit) / CONFIRMING))
            quality.add(0.0, after - before, limit, 1 - (1 - LOST) ** questions)
    return quality


def by_phi(streams: Sequence[Stream], deviations: float) -> Quality:
    """Judge each node by its own rhythm: silence this many deviations above its mean interval is too long."""
    quality = Quality()
    for stream in streams:
        count = total = squares = 0.0
        for before, after in pairwise(stream):
            interval = after - before
            if count >= LEAST:
                mean = total / count
                spread = max(math.sqrt(max(0.0, squares / count - mean * mean)), FLOOR * mean)
                quality.add(0.0, interval, mean + deviations * spread)
                if interval < mean / 10:
                    continue
            if count >= MOST:
                count, total, squares = count / 2, total / 2, squares / 2
            count, total, squares = count + 1, total + interval, squares + interval * interval
    return quality


def by_two_of_three(observed: Sequence[Sequence[Stream]], limit: float) -> Quality:
    """Judge each node by three observers, each with losses of its own: suspected by one, confirmed by another."""
    quality = Quality()
    for streams in observed:
        heard = [0.0] * len(streams)
        last = 0.0
        for moment, observer in sorted((moment, index) for index, stream in enumerate(streams) for moment in stream):
            if last:
                quality.add(last - sorted(heard)[1], moment - last, limit)
            heard[observer] = last = moment
            heard = [known or moment for known in heard]
    return quality


def real(folder: Path) -> list[Stream]:
    """Return the moments of each recorded node's readings."""
    moments: dict[str, Stream] = defaultdict(list)
    with gzip.open(folder / "room_climate.csv.gz", "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            moments[row["node_id"]].append(int(row["timestamp_ms"]) / 1000)
    return [sorted(found) for found in moments.values()]


def steady(pick: random.Random) -> float:
    """Beat with a jitter of a tenth of the period."""
    return max(0.1, pick.gauss(PERIOD, PERIOD / 10))


def heavy_tailed(pick: random.Random) -> float:
    """Beat with delays of a Pareto distribution without a variance."""
    return PERIOD + 0.2 * (pick.paretovariate(1.5) - 1)


def heard_by(stream: Stream, pick: random.Random) -> Stream:
    """Return what is left where losses come in bursts: one beat in 200 begins one, three in four prolong it."""
    left, lost = [], False
    for moment in stream:
        lost = pick.random() < (PROLONGS_LOSS if lost else BEGINS_LOSS)
        if not lost:
            left.append(moment)
    return left


def generated(interval: Callable[[random.Random], float], seed: int = 1) -> list[Stream]:
    """Return the moments at which nodes beat."""
    pick = random.Random(seed)  # noqa: S311 -- a repeatable sample
    return [list(accumulate(interval(pick) for _ in range(BEATS))) for _ in range(NODES)]


def at(judge: Callable[[float], Quality], seconds: float) -> str:
    """Return the false suspicions with the parameter that detects in ``seconds`` on average."""
    low, high = -10.0, 2000.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if judge(middle).detection < seconds else (low, middle)
    return f"{judge(high).false_an_hour:.3f}"


def rows(name: str, streams: Sequence[Stream], observed: Sequence[Sequence[Stream]] = ()) -> Iterator[str]:
    """Yield a row of the table for each detection time."""
    for seconds in DETECTION_SECONDS:
        timeout = at(lambda limit: by_timeout(streams, limit), seconds)
        phi = at(lambda deviations: by_phi(streams, deviations), seconds)
        waiting = at(lambda limit: by_waiting(streams, limit), seconds)
        asking = at(lambda limit: by_asking(streams, limit), seconds) if observed else NOT_THERE
        confirmed = at(lambda limit: by_two_of_three(observed, limit), seconds) if observed else NOT_THERE
        yield f"| {name} | {seconds:g} s | {timeout} | {phi} | {waiting} | {asking} | {confirmed} |"


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    print(
        "| heartbeats arrive | time to find a death (mean) | false alarms: timeout | phi detector "
        "| timeout + 4 s wait | timeout + probe | 2 of 3 watching sites |"
    )
    print("|---|---|---|---|---|---|---|")
    if arguments:
        print(*rows("four real sensors", real(Path(arguments[0]))), sep="\n")
    pick = random.Random(2)  # noqa: S311 -- a repeatable sample
    for name, beats in (("steady", generated(steady)), ("heavy-tailed delays", generated(heavy_tailed))):
        print(*rows(name, beats), sep="\n")
    beats = generated(steady)[: NODES // 2]
    observed = [[heard_by(stream, pick) for _ in range(3)] for stream in beats]
    print(*rows("losses in bursts", [streams[0] for streams in observed], observed), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
