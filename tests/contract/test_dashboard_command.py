"""The command `edge-redis dashboard`: where it listens, for whom, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from edge_redis import InvalidArgumentError
from edge_redis.cli.main import main
from edge_redis.dashboard import _serve
from edge_redis.dashboard._serve_options import ServeOptions, is_loopback, read_tokens
from support.servers import Backend

TOKEN = "0123456789abcdef"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServeOptions]:
    """What would be served, in place of serving it."""
    found: list[ServeOptions] = []
    monkeypatch.setattr(_serve, "serve", lambda options, _: found.append(options))
    return found


def test_a_page_that_others_can_reach_needs_tokens(
    served: list[ServeOptions], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["dashboard", "--host", "0.0.0.0"]) == 2
    assert "--token-file" in capsys.readouterr().err
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann:{TOKEN}\n")
    assert main(["dashboard", "--host", "0.0.0.0", "--token-file", str(tokens)]) == 0
    assert served[0].operators == {"ann": TOKEN}
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "10.0.0.1", "store")] == [
        *(True, True, True),
        *(False, False),
    ]


def test_namespaces_come_from_options_and_the_settings_file(served: list[ServeOptions], tmp_path: Path) -> None:
    settings = tmp_path / "config.toml"
    settings.write_text('namespace = "shop"\n[dashboard]\nport = 9000\n')
    assert main(["--config", str(settings), "dashboard"]) == 0
    assert (served[0].namespaces, served[0].port) == (["shop"], 9000)
    assert main(["dashboard", "--namespace", "a", "--namespace", "b"]) == 0
    assert served[1].namespaces == ["a", "b"]
    assert main(["dashboard", "--namespace", "a", "--namespace", "a"]) == 2


def test_tokens_are_read_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# operators\n\nann: {TOKEN}\n{TOKEN}2\n")
    assert read_tokens(path, "operator") == {"ann": TOKEN, "operator": f"{TOKEN}2"}
    assert read_tokens(None, "operator") == {}
    path.write_text("# none\n")
    with pytest.raises(InvalidArgumentError, match="holds no token"):
        read_tokens(path, "operator")
    with pytest.raises(InvalidArgumentError, match="cannot be read"):
        read_tokens(tmp_path / "none", "operator")


def test_a_port_that_is_taken_and_a_server_that_is_not_there_are_said(
    valkey: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    assert valkey.url is not None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["dashboard", "--url", valkey.url, "--port", str(port)]) == 1
        assert "choose another with --port" in capsys.readouterr().err
    assert main(["dashboard", "--url", f"redis://127.0.0.1:{port}/0", "--port", "0"]) == 3
    assert "is the server running" in capsys.readouterr().err


def test_a_missing_extra_is_said_with_its_pip_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("edge_redis.dashboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert main(["dashboard"]) == 1
    assert "pip install 'edge-redis[dashboard]'" in capsys.readouterr().err


def test_sigterm_ends_the_command_with_success_while_a_stream_is_open(valkey: Backend) -> None:
    assert valkey.url is not None
    environment = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "edge_redis", "dashboard", "--url", valkey.url, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        try:
            base = _read_url(process)
            with urllib.request.urlopen(f"{base}live/default/nodes") as stream:
                assert stream.readline() == b"retry: 1000\n"
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
        finally:
            process.kill()


def _read_url(process: subprocess.Popen[str]) -> str:
    output: Any = process.stdout
    line = output.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert found is not None, line
    return found[0]
