"""Faults of a server and of the link to it: each a context in which a real server, or a proxy before it, is faulty."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeAlias

import redis

from edge_redis import embedded, errors
from edge_redis._io.connect_retry import BUDGET_SECONDS
from support.deadline import eventually
from support.faulty_program import FaultyProgram
from support.faulty_proxy import Breakage, FaultyProxy
from support.tls_front import TlsFront

Link: TypeAlias = Literal["direct", "proxy", "TLS"]

TIMEOUT_SECONDS: Final = 0.3
"""The ``socket_timeout`` of the clients, so that a run takes minutes; that of ``connect`` is 5 seconds."""

PROMPT: Final = 5.0
"""Seconds for an operation that does not wait for a time-out, on a busy machine."""

HUNG: Final = BUDGET_SECONDS + 2.0
"""Seconds for an operation that waits for time-outs: the retries' budget, one time-out, and a busy machine."""

_CONFIG: Final = {"hz": "100", "maxclients": "4000", "repl-diskless-sync-delay": "0"}


class FaultySite:
    """A real server with a user for the services, a proxy before it, and a TLS server where a fault asks for it."""

    user: Final = "app"

    def __init__(self, prefer: Any = None) -> None:
        self._stack = ExitStack()
        self.program = self._stack.enter_context(FaultyProgram(prefer))
        self.server = self._stack.enter_context(embedded.start(prefer=self.program.path, config=_CONFIG))
        self.proxy = self._stack.enter_context(FaultyProxy(self.server.port))
        self.admin = self._stack.enter_context(self.server.client())
        self.add_user()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add_user(self) -> None:
        """Give the services' user its password and all rights."""
        self.command("ACL", "SETUSER", self.user, "reset", "on", f">{self.user}", "~*", "&*", "+@all")

    def command(self, *args: Any) -> Any:
        return self.admin.execute_command(*args)

    @functools.cached_property
    def tls(self) -> TlsFront:
        return self._stack.enter_context(TlsFront(self.server.port))

    def url(self, link: Link = "direct") -> str:
        """Return the URL of the services, by one of the links."""
        user = f"{self.user}:{self.user}@127.0.0.1"
        if link == "TLS":
            return f"rediss://{user}:{self.tls.port}/0?{self.tls.options}"
        return f"redis://{user}:{self.proxy.port if link == 'proxy' else self.server.port}/0"

    def kill_connections(self) -> None:
        self.command("CLIENT", "KILL", "USER", self.user)

    def kill(self) -> None:
        """Kill the server's process."""
        pid = self.pid
        self.server.kill()
        self.program.clean_up_after(pid)

    @property
    def pid(self) -> int:
        assert self.server.pid is not None
        return self.server.pid

    def restart(self) -> None:
        self.server.restart()
        self.add_user()

    @contextlib.contextmanager
    def config(self, **settings: str) -> Iterator[None]:
        """Change settings, and put them back."""
        names = {name.replace("_", "-"): value for name, value in settings.items()}
        before = {name: self.admin.config_get(name)[name] for name in names}
        try:
            for name, value in names.items():
                self.admin.config_set(name, value)
            yield
        finally:
            for name, value in before.items():
                self.admin.config_set(name, value)


@dataclass(frozen=True)
class Fault:
    """One fault, and what is stated of every operation during it."""

    name: str
    description: str
    begin: Callable[[FaultySite], AbstractContextManager[None]]
    error: type[errors.StoreError] | None = None
    """The error of the operations that raise one. None: every operation succeeds."""
    seconds: float = PROMPT
    """The most that an operation takes."""
    keeps_data: bool = True
    link: Link = "direct"
    """How the services reach the server."""
    timeout_seconds: float = TIMEOUT_SECONDS
    without_effect: Collection[str] = ()
    """Operations that may find nothing to do."""
    is_quick: bool = False
    """Whether the short form of the matrix has it."""


@contextlib.contextmanager
def _nothing(_site: FaultySite) -> Iterator[None]:
    yield


@contextlib.contextmanager
def _replica(site: FaultySite, *, serves_stale: str) -> Iterator[None]:
    """Make the server a replica of a master that does not exist."""
    with site.config(replica_serve_stale_data=serves_stale):
        site.command("REPLICAOF", "127.0.0.1", "1")
        try:
            yield
        finally:
            site.command("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def _failed_save(site: FaultySite) -> Iterator[None]:
    """Have a snapshot fail: a folder has the name of its file."""
    folder = Path(str(site.server.data_dir)) / "dump.rdb"
    with contextlib.suppress(FileNotFoundError):
        folder.unlink()
    (folder / "full").mkdir(parents=True)
    try:
        with site.config(save="3600 1", stop_writes_on_bgsave_error="yes"):
            site.command("BGSAVE")
            eventually(lambda: site.admin.info("persistence")["rdb_last_bgsave_status"] != "ok")
            yield
    finally:
        shutil.rmtree(folder)
        site.command("BGSAVE")
        eventually(lambda: site.admin.info("persistence")["rdb_last_bgsave_status"] == "ok")
        (Path(str(site.server.data_dir)) / "dump.rdb").unlink()


@contextlib.contextmanager
def _busy(site: FaultySite) -> Iterator[None]:
    """Run a script without an end."""

    def run() -> None:
        with site.server.client(socket_timeout=None) as client, contextlib.suppress(redis.ResponseError):
            client.eval("while true do end", 0)

    with site.config(busy_reply_threshold="1"):
        thread = threading.Thread(target=run)
        thread.start()
        eventually(lambda: _is_busy(site))
        try:
            yield
        finally:
            site.command("SCRIPT", "KILL")
            thread.join(10)


def _is_busy(site: FaultySite) -> bool:
    try:
        site.admin.ping()
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False


@contextlib.contextmanager
def _full(site: FaultySite) -> Iterator[None]:
    """Let the server accept no more connections than it has without those of the services."""
    site.kill_connections()
    eventually(lambda: f"user={site.user}" not in str(site.command("CLIENT", "LIST")))
    with site.config(maxclients=str(site.admin.info("clients")["connected_clients"])):
        yield


@contextlib.contextmanager
def _killed_connections(site: FaultySite) -> Iterator[None]:
    site.kill_connections()
    yield


@contextlib.contextmanager
def _paused_writes(site: FaultySite) -> Iterator[None]:
    site.command("CLIENT", "PAUSE", "60000", "WRITE")
    try:
        yield
    finally:
        site.command("CLIENT", "UNPAUSE")


def _command(*args: str) -> Callable[[FaultySite], AbstractContextManager[None]]:
    """Return a fault that one command makes, and nothing mends."""

    @contextlib.contextmanager
    def begin(site: FaultySite) -> Iterator[None]:
        site.command(*args)
        yield

    return begin


@contextlib.contextmanager
def _stopped(site: FaultySite) -> Iterator[None]:
    pid = site.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def _full_disk(site: FaultySite) -> Iterator[None]:
    """Have the server fail to write to its append-only file."""
    with site.program.full_disk(site.pid):
        site.command("SET", "last", "1")
        eventually(lambda: site.admin.info("persistence")["aof_last_write_status"] != "ok")
        yield
    eventually(lambda: site.admin.info("persistence")["aof_last_write_status"] == "ok")


def _jump(seconds: int) -> Callable[[FaultySite], AbstractContextManager[None]]:
    """Return a fault in which the server's clock jumps to so far from this machine's, and stays there."""

    @contextlib.contextmanager
    def begin(site: FaultySite) -> Iterator[None]:
        site.program.set_clock(seconds)
        eventually(lambda: abs(site.admin.time()[0] - time.time() - seconds) < 60)
        yield

    return begin


@contextlib.contextmanager
def _expired_certificate(site: FaultySite) -> Iterator[None]:
    with site.tls.expired():
        yield


@contextlib.contextmanager
def _killed(site: FaultySite) -> Iterator[None]:
    site.kill()
    try:
        yield
    finally:
        site.restart()


@contextlib.contextmanager
def _restarted(site: FaultySite) -> Iterator[None]:
    site.kill()
    site.restart()
    yield


@contextlib.contextmanager
def _restarted_empty(site: FaultySite) -> Iterator[None]:
    site.kill()
    for path in Path(str(site.server.data_dir)).glob("appendonly*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    site.restart()
    yield


def _user(*rules: str, reconnects: bool) -> Callable[[FaultySite], AbstractContextManager[None]]:
    """Return a fault in which the services' user is changed."""

    @contextlib.contextmanager
    def begin(site: FaultySite) -> Iterator[None]:
        site.command("ACL", "SETUSER", site.user, *rules)
        if reconnects:
            site.kill_connections()
        try:
            yield
        finally:
            site.add_user()

    return begin


def _setting(**settings: str) -> Callable[[FaultySite], AbstractContextManager[None]]:
    return lambda site: site.config(**settings)


def _link(
    *,
    requests: Breakage | None = None,
    replies: Breakage | None = None,
    once: bool = False,
    delay_seconds: float = 0.0,
    lost: float = 0.0,
    answer: bytes = b"",
) -> Callable[[FaultySite], AbstractContextManager[None]]:
    return lambda site: site.proxy.broken(
        requests=requests, replies=replies, once=once, delay_seconds=delay_seconds, lost=lost, answer=answer
    )


NONE: Final = Fault("none", "the server works", _nothing, is_quick=True)

_UNAVAILABLE, _TIMEOUT = errors.StoreUnavailableError, errors.StoreTimeoutError
_READ_ONLY, _LOADING = errors.StoreReadOnlyError, errors.StoreLoadingError
_MEMORY, _REFUSED = errors.StoreOutOfMemoryError, errors.StoreRefusedError

FAULTS: Final = (
    Fault(
        "READONLY",
        "the server is made a replica",
        lambda site: _replica(site, serves_stale="yes"),
        _READ_ONLY,
        is_quick=True,
    ),
    Fault(
        "MASTERDOWN",
        "a replica without its master, which serves no stale data",
        lambda site: _replica(site, serves_stale="no"),
        _READ_ONLY,
    ),
    Fault(
        "NOREPLICAS",
        "a master that lost its replicas (`min-replicas-to-write`)",
        _setting(min_replicas_to_write="1"),
        _READ_ONLY,
    ),
    Fault("MISCONF", "a snapshot has failed (`stop-writes-on-bgsave-error`)", _failed_save, _READ_ONLY),
    Fault(
        "disk full",
        "the append-only file cannot be written to; as with a failed snapshot, the server takes no writes",
        _full_disk,
        _READ_ONLY,
        is_quick=True,
    ),
    Fault("OOM", "`maxmemory` is reached, with `noeviction`", _setting(maxmemory="1"), _MEMORY, is_quick=True),
    Fault("BUSY", "another client's script does not end", _busy, _LOADING, is_quick=True),
    Fault(
        "LOADING",
        "the server is loading its data set (the proxy's reply)",
        _link(answer=b"-LOADING Redis is loading the dataset in memory\r\n"),
        _LOADING,
        link="proxy",
    ),
    Fault(
        "CLUSTERDOWN",
        "slots are not served (the proxy's reply)",
        _link(answer=b"-CLUSTERDOWN The cluster is down\r\n"),
        _LOADING,
        link="proxy",
    ),
    Fault(
        "TRYAGAIN",
        "slots are being moved (the proxy's reply)",
        _link(answer=b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n"),
        _LOADING,
        link="proxy",
    ),
    Fault("maxclients", "the server accepts no more connections, and closed those that were", _full, _UNAVAILABLE),
    Fault("CLIENT KILL", "the server closes every connection once", _killed_connections, is_quick=True),
    Fault("CLIENT PAUSE", "the server executes no write", _paused_writes, _TIMEOUT, seconds=HUNG),
    Fault("SCRIPT FLUSH", "the server forgets all scripts", _command("SCRIPT", "FLUSH"), is_quick=True),
    Fault("FLUSHALL", "the server loses its data", _command("FLUSHALL"), keeps_data=False),
    Fault("SIGSTOP", "the server's process is stopped", _stopped, _TIMEOUT, seconds=HUNG),
    Fault("SIGKILL", "the server's process is killed; started again at the end", _killed, _UNAVAILABLE),
    Fault("restart", "killed, and started again with its append-only file", _restarted),
    Fault("empty restart", "killed, and started again without its data", _restarted_empty, keeps_data=False),
    Fault(
        "WRONGPASS",
        "the password is changed, and the connections closed",
        _user("resetpass", ">changed", reconnects=True),
        _REFUSED,
        is_quick=True,
    ),
    Fault("user off", "the user is disabled, and the connections closed", _user("off", reconnects=True), _REFUSED),
    Fault("NOPERM", "the user may run no command", _user("-@all", reconnects=False), _REFUSED),
    Fault("NOPERM keys", "the user may use no key", _user("resetkeys", reconnects=False), _REFUSED),
    Fault("NOPERM writes", "the user may run no write", _user("-@write", reconnects=False), _REFUSED),
    Fault(
        "script refused (Valkey)",
        "a script may not run a command of its own (the proxy's reply)",
        _link(answer=b"-ERR ACL failure in script: User app has no permissions to run the 'set' command\r\n"),
        _REFUSED,
        link="proxy",
    ),
    Fault(
        "script refused (Redis)",
        "the same, as Redis says it",
        _link(answer=b"-ERR The user executing the script can't run this command or subcommand\r\n"),
        _REFUSED,
        link="proxy",
    ),
    Fault(
        "NOAUTH",
        "the connection is not authenticated (the proxy's reply)",
        _link(answer=b"-NOAUTH Authentication required.\r\n"),
        _REFUSED,
        link="proxy",
    ),
    Fault(
        "WRONGTYPE",
        "a key holds another type of value (the proxy's reply)",
        _link(answer=b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
        errors.WrongKeyTypeError,
        link="proxy",
    ),
    Fault(
        "unknown error",
        "an error reply without a class of its own (the proxy's)",
        _link(answer=b"-XYZ something else\r\n"),
        errors.StoreReplyError,
        link="proxy",
    ),
    Fault(
        "cut reply",
        "of each connection one reply is cut in its middle",
        _link(replies="cut", once=True),
        link="proxy",
        is_quick=True,
    ),
    Fault("cut replies", "every reply is cut in its middle", _link(replies="cut"), _UNAVAILABLE, link="proxy"),
    Fault(
        "half-close",
        "the server's half of each connection ends instead of a reply",
        _link(replies="close"),
        _UNAVAILABLE,
        link="proxy",
    ),
    Fault("reset", "every connection is reset", _link(requests="reset"), _UNAVAILABLE, link="proxy"),
    Fault("delay", "every reply is late, within the time-out", _link(delay_seconds=0.05), link="proxy"),
    Fault(
        "random loss",
        "a fifth of what is sent either way is lost, and arrives when TCP has sent it again, some after the time-out",
        _link(lost=0.2),
        seconds=HUNG,
        link="proxy",
    ),
    Fault(
        "lost requests",
        "nothing reaches the server; connections open",
        _link(requests="lose"),
        _TIMEOUT,
        seconds=HUNG,
        link="proxy",
    ),
    Fault(
        "lost replies",
        "the server receives all, and nothing comes back",
        _link(replies="lose"),
        _TIMEOUT,
        seconds=HUNG,
        link="proxy",
    ),
    Fault(
        "expired certificate",
        "the certificate of the TLS server has expired, and the connections are closed",
        _expired_certificate,
        _UNAVAILABLE,
        seconds=HUNG,
        link="TLS",
        timeout_seconds=20.0,
    ),
    Fault(
        "clock back",
        "the server's clock jumps back an hour, and stays there: `purge_tombstones` finds no delete that is old enough",
        _jump(-3600),
        without_effect=("purge_tombstones",),
        is_quick=True,
    ),
    Fault(
        "clock ahead",
        "it jumps an hour ahead, and stays there: what lives less than that has expired",
        _jump(0),
        keeps_data=False,
    ),
)
"""Every fault of the matrix."""
