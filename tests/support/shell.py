"""The command `edge-redis` with an environment of its own: in this process, or as the executable that users start."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_redis.cli.main import main

COMMAND = (sys.executable, "-m", "edge_redis")


class Shell:
    """Runs `edge-redis` on one server and namespace, with nothing else of the caller's environment or home."""

    def __init__(self, url: str, home: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._capture = capture
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EDGE_REDIS_")}
        self.environment = {
            **kept,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "EDGE_REDIS_URL": url,
            "EDGE_REDIS_NAMESPACE": "shop",
            "COLUMNS": "200",
        }

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run a command in this process; return exit code, output and errors."""
        self._capture.readouterr()
        with pytest.MonkeyPatch.context() as patch:
            wanted = self.environment | environment
            for name in os.environ.keys() - wanted.keys():
                patch.delenv(name)
            for name, value in wanted.items():
                patch.setenv(name, value)
            patch.setattr(sys, "stdin", io.StringIO())
            code = main(arguments)
        out, err = self._capture.readouterr()
        return code, out, err

    def json(self, *arguments: str, **environment: str) -> tuple[int, Any]:
        """Run a command in this process; return exit code and the JSON that it prints."""
        code, out, err = self.run(*arguments, "--json", **environment)
        assert err == "", err
        return code, json.loads(out)

    def execute(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run the executable; return exit code, output and errors."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the executable with a command that runs until it is stopped."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
