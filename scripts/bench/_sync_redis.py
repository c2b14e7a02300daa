"""edge_redis itself, and what one writes by hand on redis-py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, cast

import redis

from _sync_systems import (
    BATCH,
    CLAIM_SECONDS,
    GROUP,
    MAX_HISTORY,
    Gate,
    Site,
    Way,
    edge_had,
    edge_outcome,
    effect,
    messages,
    peer_had,
    peer_outcome,
)
from edge_redis import CloudWorker, RedisCloudStore
from sync import fill

Entry = tuple[bytes, dict[bytes, bytes]]
CONSUMER_CLAIM: Final = round(CLAIM_SECONDS * 1000)
ONCE: Final = """
if redis.call('SADD', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('HINCRBY', KEYS[3], ARGV[1], 1)
return 1
"""
"""The effect of a message that has had none yet."""


def _fill_outbox(site: Site, count: int) -> None:
    with redis.Redis.from_url(site.edge) as edge:
        fill(edge, site.name, count)


def _work(site: Site, gate: Gate) -> None:
    with redis.Redis.from_url(site.edge) as edge, redis.Redis.from_url(site.cloud) as cloud:
        store = RedisCloudStore(cloud, namespace=site.name, max_history=MAX_HISTORY)
        worker = CloudWorker(
            edge, store, namespace=site.name, batch_size=BATCH, claim_idle_seconds=CLAIM_SECONDS, group=GROUP
        )
        cloud.ping()
        edge.ping()
        gate.wait()
        worker.run()


def fill_stream(site: Site, count: int) -> None:
    """Write the messages to a stream, a pipeline of them at a time."""
    with redis.Redis.from_url(site.edge) as edge, edge.pipeline(transaction=False) as pipeline:
        for index, message in enumerate(messages(count)):
            pipeline.xadd(site.name, {"data": message})
            if index % 1000 == 0:
                pipeline.execute()
        pipeline.execute()
        edge.xgroup_create(site.name, GROUP, "0")


def _loop(site: Site, gate: Gate, *, noack: bool = False, claims: bool = False, once: bool = False) -> None:
    with (
        redis.Redis.from_url(site.edge, protocol=2) as edge,
        redis.Redis.from_url(site.cloud, protocol=2) as cloud,
    ):
        script = cloud.register_script(ONCE)
        cloud.script_load(ONCE)
        edge.ping()
        gate.wait()
        for entries in _entries(edge, site, noack=noack, claims=claims):
            with cloud.pipeline(transaction=False) as pipeline:
                for _, fields in entries:
                    if once:
                        _effect_once(pipeline, script, site.name, fields[b"data"])
                    else:
                        effect(pipeline, site.name, fields[b"data"])
                pipeline.execute()
            if not noack:
                edge.xack(site.name, GROUP, *(entry_id for entry_id, _ in entries))


def _entries(edge: redis.Redis, site: Site, *, noack: bool, claims: bool) -> Iterator[list[Entry]]:
    """Give new entries, and every half of the claim time those that another consumer has left."""
    name = f"consumer-{os.getpid()}"
    looked, cursor = time.monotonic(), b"0-0"
    while True:
        if claims and (cursor != b"0-0" or time.monotonic() - looked > CLAIM_SECONDS / 2):
            looked = time.monotonic()
            cursor, found, _ = edge.xautoclaim(site.name, GROUP, name, CONSUMER_CLAIM, cursor, count=BATCH)
            if found:
                yield found
        read = edge.xreadgroup(GROUP, name, {site.name: ">"}, count=BATCH, block=100, noack=noack)
        for _, entries in cast("list[tuple[bytes, list[Entry]]]", read):
            yield entries


def _effect_once(pipeline: Any, script: Any, name: str, message: bytes) -> None:
    key, _, body = message.partition(b" ")
    keys = [f"{name}:seen", f"{name}:state", f"{name}:effects"]
    pipeline.evalsha(script.sha, len(keys), *keys, key, key.partition(b":")[0], body)


EDGE_REDIS: Final = Way("edge_redis", "deduplicated, in order", _fill_outbox, _work, edge_had, edge_outcome)


def _loop_with(site: Site, gate: Gate, *, options: dict[str, bool]) -> None:
    _loop(site, gate, **options)


def _raw(guarantee: str, **options: bool) -> Way:
    work: Callable[[Site, Gate], None] = partial(_loop_with, options=options)
    return Way("redis-py loop", guarantee, fill_stream, work, peer_had, peer_outcome)


RAW: Final = (
    _raw("at most once", noack=True),
    _raw("acknowledged"),
    _raw("recovered", claims=True),
    _raw("deduplicated", claims=True, once=True),
)
