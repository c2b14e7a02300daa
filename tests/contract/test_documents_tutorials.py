"""The programs of the tutorials run as they are printed, in processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.deadline import eventually

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorial"
SECONDS = 60.0  # far more than anything here needs, for machines that do much else

_FILE = re.compile(r'^```python title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)


def write_programs(tutorial: str, folder: Path) -> list[str]:
    """Write the titled blocks of a tutorial as files; return their names."""
    blocks = _FILE.findall((TUTORIALS / tutorial).read_text())
    for name, body in blocks:
        (folder / name).write_text(body)
    return [name for name, _ in blocks]


class Shop:
    """The folder of the tutorial, and the processes started in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        with (self.folder / f"{'-'.join(words)}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=self.folder, env=self.environment, stdout=log, stderr=log, text=True
            )
        self._running.append(process)
        return process

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def log(self, *words: str) -> str:
        return (self.folder / f"{'-'.join(words)}.log").read_text()

    def load_urls(self) -> bool:
        path = self.folder / "urls.env"
        found = re.findall(r"export (\w+)=(\S+)\n", path.read_text()) if path.exists() else []
        self.environment |= dict(found)
        return len(found) == 2

    def end(self) -> None:
        for process in reversed(self._running):
            process.terminate()
            process.wait(SECONDS)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    assert write_programs("shop-chain.md", tmp_path)
    made = Shop(tmp_path)
    yield made
    made.end()


def test_the_tests_of_the_web_application_pass(tmp_path: Path) -> None:
    assert write_programs("web-application.md", tmp_path)
    assert "3 passed" in Shop(tmp_path).run("-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "test_app.py")


def test_the_tests_of_the_shop_chain_pass(shop: Shop) -> None:
    assert "3 passed" in shop.run("-m", "pytest", "-p", "no:cacheprovider", "test_till.py")


def test_the_shop_chain_sells_synchronizes_and_notices_a_dead_till(shop: Shop) -> None:
    shop.start("servers.py")
    eventually(shop.load_urls, seconds=SECONDS, every=0.3)
    tills = {name: shop.start("till.py", name) for name in ("1", "2")}
    worker = shop.start("worker.py")
    shop.start("monitor.py")
    eventually(lambda: re.search(r"till 1: \d+.*\ntill 2: \d+", shop.run("office.py")), seconds=SECONDS, every=0.3)
    assert shop.run("-m", "edge_redis", "status", "--namespace", "shop")

    shop.run("office.py", "milk", "135000")  # one sale at this price shows in the takings
    eventually(lambda: re.search(r"till 1: \d{4,}\.\d\d EUR", shop.run("office.py")), seconds=SECONDS, every=0.3)

    tills["2"].send_signal(signal.SIGQUIT)
    eventually(
        lambda: "2: " in shop.log("monitor.py") and "-> unhealthy" in shop.log("monitor.py"), seconds=SECONDS, every=0.3
    )
    shop.start("till.py", "2")
    eventually(lambda: "-> recovered" in shop.log("monitor.py"), seconds=SECONDS, every=0.3)

    for process in (tills["1"], worker):
        process.terminate()
        assert process.wait(SECONDS) == 0
    assert re.search(r"1: \d+ sales", shop.log("till.py", "1"))
