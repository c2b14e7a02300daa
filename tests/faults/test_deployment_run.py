"""The services of docker-compose.yml as processes of this machine: a whole site, each process as its own user."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import edge_redis
from edge_redis import EdgeRedis, RedisCloudStore, embedded
from support.deadline import eventually
from support.deployment import DEPLOY, own_services, read_compose

LONG_RUNNING = [name for name in own_services() if not name.startswith("acl-")]


VIEWS = ("", "nodes", "node?id=till-1", "functions", "cache", "sync", "scope?name=prices", "events")


class Site:
    """The processes, and where the servers and the secrets are."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self.secrets = folder / "secrets"
        self._acl = folder / "acl"
        self._acl.mkdir()
        subprocess.run([DEPLOY / "make-secrets.sh"], cwd=folder, check=True, capture_output=True)
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.shown: list[str] = []
        """What was printed, logged and served."""
        for name in ("acl-edge", "acl-cloud"):
            self.run(name, [])
        self.servers = {name: self._start_server(name) for name in ("edge", "cloud")}

    def _start_server(self, name: str) -> embedded.EmbeddedServer:
        words = read_compose()["services"][name]["command"][1:]
        options = {words[at].removeprefix("--"): words[at + 1] for at in range(0, len(words), 2)}
        options["aclfile"] = str(self._acl / f"{name}.acl")
        del options["appendonly"], options["appendfsync"]  # which the embedded server sets itself
        return self._stack.enter_context(embedded.start(password="", config=options))

    def url(self, user: str, server: str = "edge") -> str:
        return f"redis://{user}:{self.password(user)}@127.0.0.1:{self.servers[server].port}/0"

    def password(self, user: str) -> str:
        return (self.secrets / user).read_text().strip()

    def all_secrets(self) -> list[str]:
        """Return every password and token."""
        return [each.read_text().strip().rpartition(":")[2] for each in self.secrets.iterdir()]

    def files(self) -> list[Path]:
        """Return the files of the servers: logs, append-only files, ACL files."""
        folders = [self._acl, *(server.data_dir for server in self.servers.values() if server.data_dir is not None)]
        return [file for folder in folders for file in folder.rglob("*") if file.is_file()]

    def environment(self, name: str) -> dict[str, str]:
        found = dict(os.environ)
        for variable, value in own_services()[name].get("environment", {}).items():
            text = value.replace("/run/secrets", str(self.secrets))
            found[variable] = re.sub(
                r"@(edge|cloud):6379", lambda host: f"@127.0.0.1:{self.servers[host[1]].port}", text
            )
        return found

    def words(self, name: str) -> list[str]:
        words = [str(word).replace("/run/secrets", str(self.secrets)) for word in own_services()[name]["command"]]
        words = [word.replace("/acl/", f"{self._acl}/") if word.startswith("/acl/") else word for word in words]
        return [*words, "--port", "0"] if name in ("dashboard", "exporter") else words

    def run(self, name: str, words: list[str]) -> None:
        """Run a service's command to its end, or another command in its environment."""
        command = [sys.executable, "-m", "edge_redis", *(words or self.words(name))]
        environment = self.environment(name)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
        self.shown += [done.stdout, done.stderr]

    def start(self, name: str) -> None:
        """Start a service's command."""
        command = [sys.executable, "-m", "edge_redis", *self.words(name)]
        process = self._stack.enter_context(
            subprocess.Popen(
                command, env=self.environment(name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        self._stack.callback(process.kill)
        self.processes[name] = process

    def address(self, name: str) -> str:
        """Return where a service says that it listens."""
        output = self.processes[name].stdout
        assert output is not None
        line = output.readline()
        self.shown.append(line)
        found = re.search(r"http://\S+", line)
        assert found
        return found[0].replace("0.0.0.0", "127.0.0.1")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        made = Site(tmp_path, stack)
        for name in LONG_RUNNING:
            made.start(name)
        yield made


def _get(url: str, opener: urllib.request.OpenerDirector | None = None) -> tuple[int, str]:
    try:
        with (opener or urllib.request.build_opener()).open(url, timeout=30) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_services_of_the_compose_file_are_a_working_site_that_shows_no_secret(site: Site) -> None:
    with EdgeRedis.from_url(site.url("edge"), namespace="site") as edge:
        edge.synchronizer("prices").update_local({"tea": 3})
        with edge_redis.connect(site.url("operator", "cloud")) as client:
            cloud: Any = RedisCloudStore(client, namespace="site")
            state = eventually(lambda: cloud.get("prices"), seconds=30)
            assert state.data == {"tea": 3}
            cloud.update("prices", {"tea": 4}, is_delta=True)
            prices = edge.synchronizer("prices")
            eventually(lambda: (prices.get_local_state() or state).data == {"tea": 4}, seconds=30)
            cloud.close()
        eventually(lambda: {node.id for node in edge.health.nodes()} == {"till-1", "till-2"}, seconds=30)
        assert edge.health.check_cluster()["healthy_nodes"] == 2
    exported = site.address("exporter")
    eventually(lambda: 'edge_watch_led{namespace="site"} 1.0' in _get(exported)[1], seconds=30)
    assert 'edge_sync_dead_letters{namespace="site"} 0.0' in _get(exported)[1]
    page = site.address("dashboard")
    assert _get(f"{page}sign-in")[0] == 200
    assert "till-1" not in _get(page)[1], "nobody looks without a token"
    for name in ("worker-1", "dashboard"):
        site.run(name, ["doctor"])  # the image's health check
    site.shown += [_get(exported)[1], *_read_pages(site, page)]
    assert "till-1" in "".join(site.shown)
    titles = [Path(f"/proc/{process.pid}/cmdline").read_text() for process in site.processes.values()]
    for process in site.processes.values():
        process.send_signal(signal.SIGTERM)
    assert {name: process.wait(20) for name, process in site.processes.items()} == dict.fromkeys(LONG_RUNNING, 0)
    outputs = [process.stdout.read() for process in site.processes.values() if process.stdout is not None]
    assert any("worker started" in output for output in outputs)
    texts = [*titles, *outputs, *site.shown, *(file.read_text("latin1") for file in site.files())]
    for secret in site.all_secrets():
        assert not [text for text in texts if secret in text]


def _read_pages(site: Site, page: str) -> list[str]:
    """Sign in to the page as a viewer; return every view, and what a wrong token is answered."""
    _, token = site.password("viewers").split(":")
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    for given in (f"{token}x", token):
        form = re.search(r'name="csrf" value="([^"]+)"', _get(f"{page}sign-in", opener)[1])
        assert form
        data = urllib.parse.urlencode({"csrf": form[1], "token": given}).encode()
        request = urllib.request.Request(f"{page}sign-in", data, headers={"Origin": page.rstrip("/")})
        try:
            with opener.open(request, timeout=30) as response:
                site.shown.append(response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                site.shown.append(error.read().decode())
    found = [_get(f"{page}s/site/{view}", opener) for view in VIEWS]
    assert {status for status, _ in found} == {200}
    return [text for _, text in found]
