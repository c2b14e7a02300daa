"""The programs of the tutorials run as they are printed, in processes of their own."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_redis.cli.main import main
from support.deadline import eventually

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorial"
SECONDS = 60.0  # far more than anything here needs, for machines that do much else

_FILE = re.compile(r'^```python title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)


def wait_for_line(read: Callable[[], str], pattern: str) -> None:
    """Wait until the text that is read has a line of the pattern."""
    eventually(lambda: re.search(pattern, read()), seconds=SECONDS, every=0.1)


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

    def run_here(self, program: str, *arguments: str) -> str:
        """Run a program that ends by itself in this process, which is faster; return its output."""
        with self._here() as out, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [program, *arguments])
            runpy.run_path(str(self.folder / program), run_name="__main__")
        return out.getvalue()

    def run_command(self, *arguments: str) -> str:
        """Run `edge-redis` in this process; return its output."""
        with self._here() as out:
            assert main(arguments) == 0
        return out.getvalue()

    @contextlib.contextmanager
    def _here(self) -> Iterator[io.StringIO]:
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield out

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


def test_the_tests_of_both_tutorials_pass(shop: Shop) -> None:
    assert write_programs("web-application.md", shop.folder)
    options = ("-W", "error", "-p", "no:cacheprovider", "-p", "edge_redis.testing", "-v")
    printed = shop.run("-m", "pytest", *options, "test_app.py", "test_till.py")
    assert printed.count("test_app.py::") == printed.count("test_till.py::") == 3
    assert "6 passed" in printed


def test_the_shop_chain_sells_synchronizes_and_notices_a_dead_till(shop: Shop) -> None:
    shop.start("servers.py")
    eventually(shop.load_urls, seconds=SECONDS)
    tills = {name: shop.start("till.py", name) for name in ("1", "2")}
    worker = shop.start("worker.py")
    shop.start("monitor.py")
    wait_for_line(lambda: shop.run_here("office.py"), r"till 1: \d+.*\ntill 2: \d+")
    assert "namespace shop: 2 nodes, 0 unhealthy" in shop.run_command("status", "--namespace", "shop")

    shop.run_here("office.py", "milk", "135000")  # one sale at this price shows in the takings
    wait_for_line(lambda: shop.run_here("office.py"), r"till 1: \d{4,}\.\d\d EUR")

    tills["2"].send_signal(signal.SIGQUIT)
    wait_for_line(lambda: shop.log("monitor.py"), r"2: .*-> unhealthy")
    shop.start("till.py", "2")
    wait_for_line(lambda: shop.log("monitor.py"), r"-> recovered")

    for process in (tills["1"], worker):
        process.terminate()
        assert process.wait(SECONDS) == 0
    assert re.search(r"1: \d+ sales", shop.log("till.py", "1"))
