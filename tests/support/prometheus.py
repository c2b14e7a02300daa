"""A real Prometheus, and its tool: Debian's package ``prometheus``."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest

from support.deadline import eventually

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "docs" / "deploy"
RULES: Final = DEPLOY / "prometheus" / "rules.yml"
BOARD: Final = DEPLOY / "grafana" / "dashboards" / "edge-redis.json"


def promtool(*words: str | Path) -> str:
    """Run promtool; return its output, or fail with it."""
    done = subprocess.run([_find("promtool"), *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def board_queries(*, interval: str) -> dict[str, str]:
    """Return the queries of the Grafana board by their panels, with its variables filled in."""
    found = {}
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$namespace", ".*").replace("$__rate_interval", interval)
            found[f"{panel['title']} {target['refId']}"] = query.replace("[5m]", f"[{interval}]")
    return found


class Prometheus:
    """A running Prometheus that scrapes one exporter and evaluates rules, several times a second."""

    def __init__(self, folder: Path, target: str, rules: str) -> None:
        (folder / "rules.yml").write_text(rules)
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\n"
            "rule_files: [rules.yml]\n"
            f"scrape_configs: [{{job_name: edge-redis, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}"
        self._log = (folder / "log").open("w")
        words = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        self._process = subprocess.Popen(
            [_find("prometheus"), *words, f"--web.listen-address=127.0.0.1:{port}", "--query.lookback-delta=5s"],
            stderr=self._log,
        )
        try:
            eventually(self._is_ready, seconds=30)
        except BaseException:
            self.close()
            raise

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query; fail where Prometheus refuses it."""
        answer = self._get("query", query=expression)["data"]
        return answer["result"] if answer["resultType"] == "vector" else [answer]

    def firing(self, name: str) -> list[dict[str, str]]:
        """Return the labels of the alerts of this name that fire."""
        alerts = self._get("alerts")["data"]["alerts"]
        return [each["labels"] for each in alerts if each["labels"]["alertname"] == name and each["state"] == "firing"]

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                found: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{parameters}: {error.read().decode()}")
        return found

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program} on PATH (Debian: apt-get install prometheus)")
    return found
