"""JetStream: a nats-server of our own, and a pull consumer of nats-py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import nats
import redis.asyncio
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, StorageType

from _sync_systems import BATCH, CLAIM_SECONDS, GROUP, Gate, Site, Way, effect, messages, peer_had, peer_outcome

PROGRAM: Final = Path(sys.executable).with_name("nats-server")
_START_SECONDS: Final = 20.0
_CONFIGURATION: Final = """
host: 127.0.0.1
port: -1
ports_file_dir: "{folder}"
jetstream {{ store_dir: "{folder}/js", sync_interval: {sync} }}
"""


class NatsServer:
    """A nats-server with a private folder, on a free port: another one after each restart."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edge-redis-nats-")
        self.url = ""

    def __enter__(self) -> Self:
        self._start("2m")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._folder.cleanup()

    def restart(self, sync: str) -> None:
        """Start again on the same data, which are forced to the disk as ``sync`` says."""
        self._end()
        self._start(sync)

    def _start(self, sync: str) -> None:
        folder = Path(self._folder.name)
        file = folder / "nats.conf"
        file.write_text(_CONFIGURATION.format(folder=folder, sync=sync))
        self._process = subprocess.Popen([PROGRAM, "-c", file], stderr=subprocess.DEVNULL)
        ports = folder / f"nats-server_{self._process.pid}.ports"
        end = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError, ValueError):
                self.url = json.loads(ports.read_text())["nats"][0]
                return
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError("nats-server did not start")
            time.sleep(0.01)

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait()


async def _publish(site: Site, count: int) -> None:
    client = await nats.connect(site.nats)
    stream = client.jetstream()
    await stream.add_stream(name=site.name, subjects=[site.name], storage=StorageType.FILE)
    for message in messages(count):
        headers = {"Nats-Msg-Id": message.partition(b" ")[0].decode()}
        await stream.publish_async(site.name, message, headers=headers)
    await stream.publish_async_completed()
    await client.close()


def _fill(site: Site, count: int) -> None:
    asyncio.run(_publish(site, count))


async def _serve(site: Site, gate: Gate, policy: AckPolicy, *, twofold: bool) -> None:
    client = await nats.connect(site.nats)
    cloud = redis.asyncio.Redis.from_url(site.cloud)
    wait = None if policy is AckPolicy.NONE else CLAIM_SECONDS
    config = ConsumerConfig(ack_policy=policy, ack_wait=wait)
    pull = await client.jetstream().pull_subscribe(site.name, durable=GROUP, config=config)
    await cloud.ping()
    gate.wait()
    while True:
        with contextlib.suppress(TimeoutError):
            batch = await pull.fetch(BATCH, timeout=0.5)
            async with cloud.pipeline(transaction=False) as pipeline:
                for message in batch:
                    effect(pipeline, site.name, message.data)
                await pipeline.execute()
            if policy is not AckPolicy.NONE:
                await _acknowledge(batch, twofold=twofold)


async def _acknowledge(batch: list[Msg], *, twofold: bool) -> None:
    if twofold:
        await asyncio.gather(*(message.ack_sync() for message in batch))
        return
    for message in batch:
        await message.ack()


def _consume(site: Site, gate: Gate, policy: AckPolicy, *, twofold: bool = False) -> None:
    asyncio.run(_serve(site, gate, policy, twofold=twofold))


def _of_nats(guarantee: str, policy: AckPolicy, *, twofold: bool = False) -> Way:
    consume = partial(_consume, policy=policy, twofold=twofold)
    return Way("NATS JetStream", guarantee, _fill, consume, peer_had, peer_outcome)


NATS: Final = (
    _of_nats("at most once", AckPolicy.NONE),
    _of_nats("recovered", AckPolicy.EXPLICIT),
    _of_nats("recovered, double ack", AckPolicy.EXPLICIT, twofold=True),
)
