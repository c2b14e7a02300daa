"""The servers and processes of an experiment, each of which can be killed and comes back as what it was."""

from __future__ import annotations

import abc
import contextlib
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from edge_redis import ConflictStrategy, EdgeSynchronizer, embedded
from edge_redis._sync.keys import SyncKeys
from support.history import actors
from support.history.actors import CLOUD, Plan, Role
from support.history.proxy import Link, Proxy

EDGES = (0, 1)
ENDS = (*EDGES, CLOUD)
NAMES = ("edge-0", "edge-1", "cloud")
_START = multiprocessing.get_context("forkserver")
_NAMES = ("cache", "cloud", "health", "health_watch", "metrics", "sync", "worker")
_SERVICES = [f"edge_redis._services.blocking.{name}" for name in _NAMES]
_START.set_forkserver_preload(
    [*_SERVICES, "edge_redis._io.connect", "redis.asyncio", "redis", "msgpack"]
)  # so that another life begins at once
_CONFIG = {
    "auto-aof-rewrite-percentage": "0",  # the file is the history of the server
    "hash-max-listpack-entries": "64",
}


class Member:
    """A process in its lives."""

    def __init__(
        self, group: ProcessGroup, target: Any, name: str, end: int, links: Sequence[str], number: int
    ) -> None:
        self.name, self.number = name, number
        self._group, self._target, self._end, self._links = group, target, end, links
        self._life = -1
        self._process: Any = None
        self.paused = False

    def start(self) -> None:
        """Begin the next life."""
        self._life += 1
        group = self._group
        group.busy[self.number] = group.is_busy_at_start
        role = Role(
            group.plan, self.name, self._life, self._end, group.ports(self._links), group.phase, group.busy,
            self.number, group.skews, self.number + self._life,
        )  # fmt: skip
        self._process = _START.Process(target=self._target, args=(role,), daemon=True)
        self._process.start()

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)
        self.paused = number == signal.SIGSTOP

    def kill(self) -> None:
        """End this life at whatever instruction it is."""
        self.signal(signal.SIGKILL)
        self._process.join(10)
        self.paused = False
        self._group.busy[self.number] = 0

    def end(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self._process.join(5)
            if self.is_alive:
                self.kill()
            self._process.close()


class ProcessGroup(abc.ABC):
    """Servers, the proxy before them, and processes, of which the last ``workers`` serve the others."""

    servers: list[Any]
    proxy: Proxy
    members: list[Member]
    is_busy_at_start = False
    """Whether a process has something to do before it may rest."""

    def __init__(self, plan: Plan, ends: int, writers: int, workers: int) -> None:
        self.plan = plan
        self.phase = _START.RawValue("i", actors.REST)
        self.busy = _START.RawArray("i", writers + workers)
        self.skews = _START.RawArray("i", ends)
        self._workers = workers
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @abc.abstractmethod
    def open(self, stack: contextlib.ExitStack) -> None:
        """Start all servers and processes, and leave to the stack how they end."""

    def ports(self, links: Sequence[str]) -> tuple[int, ...]:
        """Return the ports by which a process reaches the servers."""
        return tuple(self.proxy.links[link].port for link in links)

    def start(self, members: Sequence[tuple[Any, str, int, Sequence[str]]]) -> None:
        """Start a process for each target, name, end and links."""
        self.members = [
            Member(self, target, name, end, links, number) for number, (target, name, end, links) in enumerate(members)
        ]
        for member in self.members:
            member.start()

    @property
    def writers(self) -> list[Member]:
        return self.members[: len(self.members) - self._workers]

    @property
    def workers(self) -> list[Member]:
        return self.members[len(self.members) - self._workers :]

    def links(self, of: str) -> list[Link]:
        return [link for name, link in self.proxy.links.items() if name.startswith(of)]

    def client(self, end: int) -> redis.Redis:
        """Return a client that reaches a server directly."""
        client: redis.Redis = self.servers[end].client(socket_timeout=10)
        return client

    def mend(self) -> None:
        """Bring back whatever is dead, stopped or cut."""
        self.proxy.heal()
        for server in self.servers:
            if not server.running:
                server.restart()
        self.mend_members()

    def mend_members(self) -> None:
        """Bring back the processes that are dead or stopped."""
        for member in self.members:
            if member.paused:
                member.signal(signal.SIGCONT)
            if not member.is_alive:
                member.start()

    def write_stacks(self) -> None:
        """Let every process write what its threads are doing to a file in the folder of the experiment."""
        for member in self.members:
            if member.is_alive:
                member.signal(signal.SIGUSR1)
        time.sleep(1)

    def rest(self, seconds: float = 20.0) -> None:
        """Let the writers end the calls they are in, and begin no other."""
        self.phase.value = actors.REST
        deadline = time.monotonic() + seconds
        while any(self.busy):
            if time.monotonic() > deadline:
                raise AssertionError("a call of a writer does not come back")
            time.sleep(0.01)

    def end(self) -> None:
        """End all processes."""
        self.phase.value = actors.END
        for member in self.members:
            member.end()


class Fleet(ProcessGroup):
    """Two edges with their writers, a cloud with its editor, and the workers between."""

    def __init__(self, plan: Plan, writers: int = 4, workers: int = 3) -> None:
        super().__init__(plan, len(ENDS), len(EDGES) * writers + 1, workers)
        self._writers = writers

    def open(self, stack: contextlib.ExitStack) -> None:
        self.servers = [stack.enter_context(self._server(end)) for end in ENDS]
        upstreams = {}
        for end, server in zip(ENDS, self.servers, strict=True):
            upstreams[f"writers to {NAMES[end]}"] = upstreams[f"workers to {NAMES[end]}"] = server.port
        self.proxy = stack.enter_context(Proxy(upstreams, self.plan.seed))
        stack.callback(self.end)
        for edge in EDGES:
            self.open_scopes(edge)
        self._start()

    def _server(self, end: int) -> Any:
        """Start a server: a Valkey at each edge, and in the cloud a Redis where there is one."""
        other = shutil.which("redis-server")
        prefer = Path(other) if other and end == CLOUD else None
        return embedded.start(
            self.plan.folder / NAMES[end], appendfsync="always", prefer=prefer, config=_CONFIG, timeout=30, password=""
        )

    def _start(self) -> None:
        links = [f"workers to {name}" for name in NAMES]
        self.start([
            *(
                (actors.write, f"edge-{edge}.{number}", edge, [f"writers to {NAMES[edge]}"])
                for edge in EDGES
                for number in range(self._writers)
            ),
            (actors.write, "editor", CLOUD, ["writers to cloud"]),
            *((actors.work, f"worker-{number}", CLOUD, links) for number in range(self._workers)),
        ])  # fmt: skip

    @contextlib.contextmanager
    def clients(self) -> Iterator[list[redis.Redis]]:
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self.client(end)) for end in ENDS]

    def open_scopes(self, edge: int, *, wiped: bool = False) -> None:
        """Record at an edge of which scopes it has the authority, as its processes do when they begin.

        Where it is to be wiped, all its data are removed before, in the same step: an edge
        without this record lets the cloud win.
        """
        with self.client(edge) as client, client.pipeline(transaction=True) as pipeline:
            if wiped:
                pipeline.flushall()
            if ConflictStrategy.LOCAL_WINS in self.plan.strategies:
                pipeline.hset(SyncKeys("local_wins", "sync").scopes, mapping=self._authority(client, edge))
            pipeline.execute()

    def _authority(self, client: redis.Redis, edge: int) -> dict[str, str]:
        words = {}
        for scope in range(self.plan.scopes):
            if self.plan.authority(scope) == edge:
                sync = EdgeSynchronizer(client, **self.plan.settings(ConflictStrategy.LOCAL_WINS, scope, edge))
                words[f"s{scope}"] = sync._component._config.settings
        return words

    def aof(self, end: int) -> list[Path]:
        """Return the files that tell all that a server ever did, in their order."""
        folder = self.servers[end].data_dir / "appendonlydir"
        return sorted(folder.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))
