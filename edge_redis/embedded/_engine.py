"""A server process that is embedded: its program, folder, port and watchdog, from start to end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import util
from pathlib import Path
from typing import Final

from edge_redis.embedded import _options as embedded_options
from edge_redis.embedded._binary import Binary, Kind
from edge_redis.embedded._folder import Folder
from edge_redis.embedded._port import CAN_HOLD, Port, is_answering, was_taken
from edge_redis.embedded._supervised import Plan, SupervisedServer
from edge_redis.errors import EmbeddedServerError

_ATTEMPTS: Final = 5
_LOOK_SECONDS: Final = 0.003
# After the services, which flush into the server, and after multiprocessing has joined its children.
_EXIT_PRIORITY: Final = -100


@dataclass(frozen=True)
class ServerSpec:
    """The program, address and options of a server."""

    binary: Binary
    host: str
    port: int
    """0: any free one."""
    options: Mapping[str, str]
    is_sentinel: bool
    timeout: float
    """Seconds for a start, and again for an end before SIGKILL."""
    password: str = ""
    """Of clients; empty: none, or one in ``options`` that this package does not know."""


class Engine:
    """A server process in its folder, on its port, under its watchdog."""

    def __init__(self, spec: ServerSpec, folder: Folder) -> None:
        self._spec = spec
        self._folder = folder
        self._port: Port | None = None
        self._supervised: SupervisedServer | None = None
        self.is_foreign = False
        """Whether this is a forked child's copy: the server belongs to the process that started it."""
        self._exit: util.Finalize | None = None
        _alive.add(self)

    @property
    def kind(self) -> Kind:
        """The program's kind."""
        return self._spec.binary.kind

    @property
    def version(self) -> str:
        """The program's release."""
        return self._spec.binary.version

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return self._spec.host

    @property
    def port(self) -> int:
        """The port that it listens on; the same after a restart."""
        return self._port.number if self._port else self._spec.port

    @property
    def pid(self) -> int | None:
        """Process id of the server; None where it does not run."""
        return self._supervised.pid if self._supervised else None

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self.pid is not None

    @property
    def data_dir(self) -> Path:
        """Where its append-only file and its log are."""
        return self._folder.path

    @property
    def password_file(self) -> Path | None:
        """File of the random password, if there is one."""
        return self._folder.password_file

    @property
    def is_durable(self) -> bool:
        """Whether acknowledged writes survive a kill and a restart."""
        return embedded_options.is_on(self._spec.options, "appendonly")

    def start(self, timeout: float) -> None:
        """Start the server; it answers when this returns.

        Raises:
            EmbeddedServerError: it ended at its start or did not answer within ``timeout``
                seconds. The message has the end of its log.
        """
        end = time.monotonic() + timeout
        if self._port is not None:
            return self._start_on_port(end)
        for attempt in range(_ATTEMPTS):
            # Where no server can listen on a port that this process holds, the second attempt does not hold it.
            self._take_port(hold=CAN_HOLD and attempt == 0)
            try:
                return self._start_on_port(end)
            except EmbeddedServerError:
                is_race = self._spec.port == 0 and was_taken(self._folder.log_tail())
                if not is_race or attempt + 1 == _ATTEMPTS:
                    raise
        return None  # pragma: no cover -- the last attempt returns or raises

    def end(self, *, kill: bool) -> None:
        """End the server, by SIGKILL at once where ``kill``; its folder and port stay taken."""
        if self._supervised is not None:
            self._supervised.end(kill=kill)

    def release(self) -> None:
        """Let the watchdog end the server, without waiting for it; release folder and port."""
        self._forget_exit()
        if self._supervised is not None:
            self._supervised.release()
            self._folder.hand_over()
        else:
            self._folder.close()
        if self._port is not None:
            self._port.close()

    def close(self) -> None:
        """End the server, and release folder and port; may be called again, also after an interruption.

        Raises:
            EmbeddedServerError: the server or its watchdog had to be killed.
        """
        if self.is_foreign:
            return
        try:
            if self._supervised is not None:
                self._close_supervised(self._supervised)
        finally:
            self._folder.close()
            if self._port is not None:
                self._port.close()
        self._forget_exit()

    def after_fork(self) -> None:
        """Reset state in a forked child: close the descriptors that would keep the parent's folder and port in use."""
        self.is_foreign = True
        if self._supervised is not None:
            self._supervised.after_fork()
        if self._port is not None:
            self._port.close()
        self._folder.hand_over()

    def _take_port(self, *, hold: bool) -> None:
        if self._port is not None:
            self._port.close()
        spec = self._spec
        self._port = Port(spec.host, spec.port, embedded_options.bus_offset(spec.options), hold=hold)
        options = {
            "bind": spec.host,
            "port": str(self._port.number),
            "dir": embedded_options.quote(str(self._folder.path)),
            "logfile": embedded_options.quote(str(self._folder.log)),
            **spec.options,
        }
        try:
            embedded_options.write(self._folder.configuration, options)
        except OSError as error:
            raise EmbeddedServerError(f"{self._folder.configuration} cannot be written: {error.strerror}") from error

    def _start_on_port(self, end: float) -> None:
        self._folder.mark()
        if self._supervised is None:
            self._exit = util.Finalize(None, self.close, exitpriority=_EXIT_PRIORITY)
            self._supervised = SupervisedServer(self._plan())
        pid = self._supervised.start()
        while not is_answering(self.host, self.port, pid, self._spec.password):
            if self._supervised.pid is None:
                raise EmbeddedServerError(f"the embedded server ended at its start:\n{self._folder.log_tail()}")
            if time.monotonic() > end:
                raise EmbeddedServerError(f"the embedded server does not answer:\n{self._folder.log_tail()}")
            time.sleep(_LOOK_SECONDS)

    def _plan(self) -> Plan:
        command = [str(self._spec.binary.path), str(self._folder.configuration)]
        return Plan(
            command=[*command, "--sentinel"] if self._spec.is_sentinel else command,
            log=self._folder.log,
            lock=self._folder.lock_descriptor,
            private=self._folder.path if self._folder.is_private else None,
            grace=self._spec.timeout,
        )

    def _forget_exit(self) -> None:
        if self._exit is not None:
            self._exit.cancel()

    def _close_supervised(self, supervised: SupervisedServer) -> None:
        try:
            supervised.close()
        except EmbeddedServerError:
            self._end_orphan(supervised.pid)
            raise
        self._end_orphan(supervised.pid)

    def _end_orphan(self, orphan: int | None) -> None:
        """End a server whose watchdog was killed. On Linux the kernel terminates it, so this only waits."""
        if orphan is not None and not self._folder.is_left_within(self._spec.timeout):
            with contextlib.suppress(ProcessLookupError):
                os.kill(orphan, signal.SIGKILL)


_alive: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork() -> None:
    for engine in list(_alive):
        engine.after_fork()


os.register_at_fork(after_in_child=_after_fork)
