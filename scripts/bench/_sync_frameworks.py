"""faststream's Redis stream subscriber and taskiq-redis, each as its documentation advises for throughput."""

from __future__ import annotations

import asyncio
import os
import uuid
from functools import partial
from typing import Any, Final

import redis
import redis.asyncio
from faststream.redis import RedisBroker, StreamSub
from taskiq import TaskiqMessage
from taskiq.acks import AcknowledgeType
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from _sync_systems import BATCH, CLAIM_SECONDS, GROUP, Gate, Site, Way, effect, messages, peer_had, peer_outcome

CLAIM_MS: Final = round(CLAIM_SECONDS * 1000)
TEN_MINUTES_MS: Final = 600_000
TASK: Final = "carry"
AS_TEXT: Final = "latin-1"
"""Both carry JSON; a text of as many characters as the message has bytes costs them least."""


def _make_group(edge: redis.Redis, site: Site) -> None:
    edge.xgroup_create(site.name, GROUP, "0", mkstream=True)


async def _publish(site: Site, count: int) -> None:
    broker = RedisBroker(site.edge, logger=None)
    client = redis.asyncio.Redis.from_url(site.edge)
    async with broker, client, client.pipeline(transaction=False) as pipeline:
        for index, message in enumerate(messages(count)):
            await broker.publish(message.decode(AS_TEXT), stream=site.name, pipeline=pipeline)
            if index % 1000 == 0:
                await pipeline.execute()
        await pipeline.execute()


def _fill_faststream(site: Site, count: int) -> None:
    with redis.Redis.from_url(site.edge) as edge:
        _make_group(edge, site)
    asyncio.run(_publish(site, count))


async def _serve_faststream(site: Site, gate: Gate, *, no_ack: bool, claims: bool) -> None:
    broker = RedisBroker(site.edge, logger=None, apply_types=False)
    cloud = redis.asyncio.Redis.from_url(site.cloud)

    async def handle(batch: list[str]) -> None:
        async with cloud.pipeline(transaction=False) as pipeline:
            for message in batch:
                effect(pipeline, site.name, message.encode(AS_TEXT))
            await pipeline.execute()

    stream = partial(StreamSub, site.name, group=GROUP, batch=True)
    broker.subscriber(stream=stream(consumer=f"new-{os.getpid()}", max_records=BATCH, no_ack=no_ack))(handle)
    if claims:
        broker.subscriber(stream=stream(consumer=f"left-{os.getpid()}", min_idle_time=CLAIM_MS))(handle)
    await broker.connect()
    await cloud.ping()
    gate.wait()
    await broker.start()
    await asyncio.Event().wait()


def _faststream(site: Site, gate: Gate, *, no_ack: bool = False, claims: bool = False) -> None:
    asyncio.run(_serve_faststream(site, gate, no_ack=no_ack, claims=claims))


def _taskiq_broker(site: Site, idle_timeout: int) -> RedisStreamBroker:
    return RedisStreamBroker(
        site.edge,
        queue_name=site.name,
        consumer_group_name=GROUP,
        consumer_id="0",
        idle_timeout=idle_timeout,
        unacknowledged_lock_timeout=CLAIM_SECONDS,
    )


def _fill_taskiq(site: Site, count: int) -> None:
    """Write what ``kiq`` would write: one by one it takes a minute."""
    broker = _taskiq_broker(site, TEN_MINUTES_MS)
    with redis.Redis.from_url(site.edge) as edge, edge.pipeline(transaction=False) as pipeline:
        _make_group(edge, site)
        for index, message in enumerate(messages(count)):
            arguments = [message.decode(AS_TEXT)]
            task = TaskiqMessage(task_id=uuid.uuid4().hex, task_name=TASK, labels={}, args=arguments, kwargs={})
            pipeline.xadd(site.name, {"data": broker.formatter.dumps(task).message})
            if index % 1000 == 0:
                pipeline.execute()
        pipeline.execute()


async def _serve_taskiq(site: Site, gate: Gate, *, ack: AcknowledgeType, idle_timeout: int) -> None:
    broker = _taskiq_broker(site, idle_timeout)
    cloud = redis.asyncio.Redis.from_url(site.cloud)

    async def handle(message: str) -> None:
        async with cloud.pipeline(transaction=False) as pipeline:
            effect(pipeline, site.name, message.encode(AS_TEXT))
            await pipeline.execute()

    broker.register_task(handle, task_name=TASK)
    await broker.startup()
    await cloud.ping()
    gate.wait()
    await run_receiver_task(broker, ack_time=ack)


def _taskiq(site: Site, gate: Gate, **options: Any) -> None:
    asyncio.run(_serve_taskiq(site, gate, **options))


def _faststream_with(site: Site, gate: Gate, *, options: dict[str, bool]) -> None:
    _faststream(site, gate, **options)


def _of_faststream(guarantee: str, **options: bool) -> Way:
    consume = partial(_faststream_with, options=options)
    return Way("faststream", guarantee, _fill_faststream, consume, peer_had, peer_outcome)


def _of_taskiq(guarantee: str, ack: AcknowledgeType, idle_timeout: int) -> Way:
    consume = partial(_taskiq, ack=ack, idle_timeout=idle_timeout)
    return Way("taskiq-redis", guarantee, _fill_taskiq, consume, peer_had, peer_outcome, share=5)


FRAMEWORKS: Final = (
    _of_faststream("at most once", no_ack=True),
    _of_faststream("acknowledged"),
    _of_faststream("recovered", claims=True),
    _of_taskiq("at most once", AcknowledgeType.WHEN_RECEIVED, TEN_MINUTES_MS),
    _of_taskiq("acknowledged", AcknowledgeType.WHEN_EXECUTED, TEN_MINUTES_MS),
    _of_taskiq("recovered", AcknowledgeType.WHEN_EXECUTED, CLAIM_MS),
)
