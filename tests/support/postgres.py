"""A PostgreSQL of the tests' own: in a temporary folder, on a socket in it, gone with the session."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from support.deadline import eventually

_QUICK = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB")
"""It need not outlive a power cut. What was committed outlives the server's own end all the same."""


def _binary(name: str) -> Path:
    """Return one of PostgreSQL's programs: Debian keeps the server's where PATH does not lead."""
    found = shutil.which(name) or next(iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    if found is None:
        pytest.skip("no PostgreSQL (Debian: apt-get install postgresql)")
    return Path(found)


class Postgres:
    """A running server. It refuses to be root's, so that root gives it to the user postgres.

    It has no port, unless it is given one.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port
        self._user: dict[str, Any] = {}
        initdb, self._server = _binary("initdb"), _binary("postgres")
        self.folder = Path(tempfile.mkdtemp(prefix="edge-redis-postgres-"))
        if os.geteuid() == 0:
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(self.folder, "postgres", "postgres")
        self._run(initdb, "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.url = f"postgresql+psycopg://postgres@/postgres?host={self.folder}"
        if port is not None:
            self.url += f"&port={port}"
        self.start()

    def _run(self, *command: Any) -> None:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, **self._user)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command: list[Any] = [self._server, "-D", "data", "-k", self.folder]
        address = ("listen_addresses=",) if self.port is None else ("listen_addresses=127.0.0.1", f"port={self.port}")
        for setting in (*_QUICK, *address):
            command += ["-c", setting]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self._user)
        engine = sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool)
        eventually(lambda: self._answers(engine), seconds=30, every=0.02)

    def _answers(self, engine: sqlalchemy.Engine) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            with engine.connect() as connection:
                return bool(connection.execute(sqlalchemy.text("SELECT 1")).scalar_one() == 1)
        except sqlalchemy.exc.OperationalError:
            return False

    def stop(self) -> None:
        """End it at once: what was committed is there at the next start."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def remove(self) -> None:
        """End it, and leave nothing."""
        self.stop()
        shutil.rmtree(self.folder)
