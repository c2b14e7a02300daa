#!/usr/bin/env python3
"""edge_redis beside other ways to carry changes from one server to another: speed, losses, repeats, and a kill.

    scripts/bench/run sync_peers [--changes N] [--rounds N] [--only WORD]

The same payloads (50 scopes, in turn) are queued on one server; one consumer process reads them, lets each have its
effect on a second server, and acknowledges after that. Filling the queue and starting the process are not timed. A
row is a system with one of the guarantees that it offers:

* at most once: acknowledged before the effect, or never to be;
* acknowledged: after the effect; what a dead consumer had taken is left to the consumer that looks for it;
* recovered: another consumer takes over what has not been acknowledged for a second;
* deduplicated: and what has had its effect has none again. In order: no scope goes back to an older state.

The settings, each as its documentation advises for throughput:

* edge_redis: ``update_local`` into the outbox, ``CloudWorker`` with batch_size=200 and claim_idle_seconds=1,
  ``RedisCloudStore``. Every change leaves an event in the cloud's history: by these it is counted.
* redis-py loop: XREADGROUP COUNT 200; the effects of a batch in one pipeline (HSET of the state, HINCRBY of the
  message's id, by which repeats are counted); one XACK a batch. At most once: NOACK. Recovered: XAUTOCLAIM COUNT 200
  every half second. Deduplicated: a script of one's own that remembers every id for ever.
* faststream: a batch subscriber (max_records=200), the same pipeline, logger off, apply_types=False. At most once:
  no_ack=True. Recovered: a second subscriber with min_idle_time=1000, as its documentation has it; that one claims
  one message a call. (claim_min_idle_time needs a Redis of 8.4.)
* taskiq-redis: RedisStreamBroker, no result backend, 100 tasks at once (the default), each with a pipeline of its
  own, for it has no batches. It moves a fifth of the messages, or it would take most of the time. At most once:
  WHEN_RECEIVED. Acknowledged: WHEN_EXECUTED and idle_timeout as it is by default, ten minutes. Recovered:
  idle_timeout=1000; it looks for what was left after it has read something new.
* NATS JetStream: a file stream, published with Nats-Msg-Id, which deduplicates on the way in; a durable pull
  consumer, fetch(200), the same pipeline. At most once: AckNone. Recovered: AckExplicit with ack_wait=1. Double ack:
  ack_sync, all of a batch at once.

Two groups of equal durability: nothing is forced to the disk (appendfsync no; JetStream's default of two minutes),
and all is before it is answered (appendfsync always on both servers; sync_interval always).

In the second run of a row the consumer is killed by SIGKILL after a third, and another one, that stood by, goes on:
the seconds are from the kill to the last effect. A run ends when all messages have had their effect, or none has had
any for twelve seconds: what is missing then counts as lost, though a longer wait might bring it. "older" are scopes
whose last state in the cloud is not the last that was written.

Needs ``edge-redis[bench]``. Exits with 1 where edge_redis lost a change, let one take effect twice, or left a scope
with an older state.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
from collections.abc import Sequence
from typing import Final

from _sync_frameworks import FRAMEWORKS
from _sync_nats import NATS, NatsServer
from _sync_redis import EDGE_REDIS, RAW
from _sync_run import Run, Servers, run
from _sync_systems import Way
from edge_redis import embedded
from sync import SCOPES

WAYS: Final = (EDGE_REDIS, *RAW, *FRAMEWORKS, *NATS)
_FIGURES: Final = ("messages/s", "ratio", "lost", "twice", "older", "kill: s", "lost", "twice", "older")
_HEAD: Final = ("system", "guarantee", *_FIGURES)
_LEFT: Final = 2


def measured(ways: Sequence[Way], servers: Servers, count: int, rounds: int, *, is_durable: bool) -> list[list[Run]]:
    """Return each way's runs, those of a round next to each other in time, and the one with the kill as the last."""
    found: list[list[Run]] = [[] for _ in ways]
    for turn in range(rounds + 1):
        for way, runs in zip(ways, found, strict=True):
            runs.append(run(way, servers, count, is_durable=is_durable, with_kill=turn == rounds))
            print(f"  {way.system}, {way.guarantee}: {runs[-1]}", file=sys.stderr, flush=True)
    return found


def row(way: Way, runs: Sequence[Run], ours: Sequence[Run]) -> list[str]:
    """Return a row of the table; the ratio is the median of the rounds' own."""
    *plain, killed = runs
    rates = [each.rate for each in plain]
    ratio = statistics.median(rate / our.rate for rate, our in zip(rates, ours, strict=False))
    worst = [max(figures) for figures in zip(*(each.outcome for each in plain), strict=True)]
    figures = [f"{statistics.median(rates):,.0f}", f"{ratio:.2f}", *(f"{figure:,}" for figure in worst)]
    after = [f"{killed.seconds:.1f}", *(f"{figure:,}" for figure in killed.outcome)]
    return [way.system, way.guarantee, *figures, *after]


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print the table."""
    widths = [max(len(cells[column]) for cells in [_HEAD, *rows]) for column in range(len(_HEAD))]
    for cells in [_HEAD, *rows]:
        words = [
            cell.ljust(width) if index < _LEFT else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        print("  ".join(words))


def main() -> int:
    """Run all; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changes", type=int, default=20_000, help="messages of a run (default: 20000)")
    parser.add_argument("--rounds", type=int, default=3, help="runs without a kill (default: 3)")
    parser.add_argument("--only", default="", help="the systems that have this word in their name, beside edge_redis")
    arguments = parser.parse_args()
    count = arguments.changes // SCOPES * SCOPES
    if count < 10 * SCOPES or arguments.rounds < 1:
        parser.error(f"at least {10 * SCOPES} changes and one round")
    logging.disable(logging.WARNING)
    ways = [way for way in WAYS if way is EDGE_REDIS or arguments.only in way.system]
    wrong = 0
    with embedded.start() as edge, embedded.start() as cloud, NatsServer() as nats:
        for is_durable in (False, True):
            found = measured(ways, Servers(edge, cloud, nats), count, arguments.rounds, is_durable=is_durable)
            forced = "every write forced to the disk" if is_durable else "nothing forced to the disk"
            print(f"\n{count:,} messages, {arguments.rounds} rounds, {edge.kind} {edge.version}, {forced}:")
            show([row(way, runs, found[0]) for way, runs in zip(ways, found, strict=True)])
            wrong += sum(sum(each.outcome) for each in found[0])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
