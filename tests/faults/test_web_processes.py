"""An application with all services under uvicorn, in two processes: work is shared, and SIGTERM ends it cleanly."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_redis import EdgeNode, EdgeRedis, RedisCloudStore
from support.deadline import eventually
from support.servers import Backend

ROOT = Path(__file__).parents[2]
SECONDS = 60.0

PROGRAM = """
import asyncio, logging, os

from fastapi import FastAPI, Request, Response

from edge_redis import EdgeNode
from edge_redis.integrations.starlette import EdgeLifespan, ResponseCache, cache_headers, health_endpoint

logging.basicConfig(level=logging.INFO)

app = FastAPI(
    lifespan=EdgeLifespan(
        namespace="web",
        node=EdgeNode(f"web-{os.getpid()}", "Web"),
        heartbeat_seconds=0.1,
        cloud=os.environ["EDGE_REDIS_URL"],
        watch={"heartbeat_timeout_seconds": 1.0, "interval_seconds": 0.1},
        relays={"log": lambda change: logging.warning("relayed %s of %s", change.state, change.node_id)},
    )
)
app.add_middleware(ResponseCache)
app.add_route("/health", health_endpoint(max_lag_seconds=30))


@app.get("/pid")
async def pid(request: Request) -> int:
    async with request.state.edge.metrics.track("pid", "web"):
        await request.state.edge.cache.incr("requests")
    return os.getpid()


@app.get("/slow")
async def slow(request: Request, response: Response) -> int:
    await asyncio.sleep(0.2)
    response.headers.update(cache_headers(60))
    return await request.state.edge.cache.incr("runs")
"""


class Site:
    """uvicorn with two processes, on a port of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        (folder / "service.py").write_text(PROGRAM)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = folder / "uvicorn.log"
        command = [sys.executable, "-m", "uvicorn", "service:app", "--workers", "2", "--port", str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "EDGE_REDIS_URL": url}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=SECONDS) as answer:
            return json.load(answer)

    def is_ready(self) -> bool:
        try:
            return bool(self.get("/health")["status"] == "healthy")
        except (urllib.error.URLError, ConnectionError):
            return False

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@pytest.fixture
def site(valkey: Backend, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, str(valkey.url))
    eventually(made.is_ready, seconds=SECONDS, every=0.05)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait(SECONDS)


def test_two_processes_share_the_work_and_end_cleanly_on_a_signal(site: Site, valkey: Backend) -> None:
    with valkey.client() as client, EdgeRedis(client, namespace="web") as edge:
        eventually(lambda: len(edge.health.nodes()) == 2, seconds=SECONDS)
        pids: set[int] = set()

        def have_both_answered() -> bool:
            pids.add(site.get("/pid"))
            return len(pids) == 2

        eventually(have_both_answered, seconds=SECONDS)
        assert {f"web-{pid}" for pid in pids} == {node.id for node in edge.health.nodes()}
        assert [site.get("/slow") for _ in range(3)] == [1, 1, 1]

        edge.synchronizer("settings").update_local({"tax": 19})
        cloud = RedisCloudStore(client, namespace="web")
        eventually(lambda: cloud.get("settings") is not None, seconds=SECONDS)
        cloud.update("settings", {"tax": 7})
        eventually(lambda: edge.synchronizer("settings").remote_version == 2, seconds=SECONDS)

        edge.health.register(EdgeNode("till", "Till"))  # which sends nothing more
        eventually(lambda: "relayed unhealthy of till" in site.log.read_text(), seconds=SECONDS)

        requests = edge.cache.get("requests")
        assert site.end() == 0
        text = site.log.read_text()
        assert not re.search(r"ERROR|Traceback|was never|Task was destroyed", text), text
        assert text.count("Application shutdown complete") == 2
        assert text.count("relayed unhealthy of till") == 1
        assert edge.metrics.total_invocations("pid") == requests
        with edge.watch() as watch:
            assert watch.run_once().leader, "the lease was given up"
