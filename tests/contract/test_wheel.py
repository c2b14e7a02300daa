"""The wheel that users install: it holds every script, and works without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMOKE = """
import sys
import edge_redis, fakeredis
assert edge_redis.__file__.startswith(sys.argv[1]), edge_redis.__file__
client = fakeredis.FakeRedis()
with edge_redis.EdgeRedis(client) as edge:
    edge.cache.put("k", (1, 2))
    assert edge.cache.get("k") == (1, 2)
    edge.health.register(edge_redis.EdgeNode("n", "N"))
    assert edge.health.check_node("n").healthy
    edge.metrics.record(edge_redis.InvocationRecord("f", "n", 1.0, True))
    assert edge.metrics.total_invocations() == 1
    assert edge.synchronizer("s").update_local({"a": 1}).version == 1
    edge_redis.CloudWorker(client, client).run_once()
    assert edge.synchronizer("s").is_synced
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def test_it_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("edge_redis/")}
    present = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "edge_redis").rglob("*")
        if path.is_file() and path.suffix in {".py", ".lua", ".typed", ".html", ".css", ".js", ".svg"}
    }
    assert packed == present
    assert "edge_redis/_core/lua/idempotency.lua" in packed
    assert "edge_redis/py.typed" in packed


def test_it_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:  # a pure wheel is installed by unpacking it
        archive.extractall(target)
    done = subprocess.run(
        [sys.executable, "-c", SMOKE, str(target)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
