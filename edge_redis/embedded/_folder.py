"""The data folder of an embedded server, used by one server at a time."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, Final

from edge_redis._core import validation
from edge_redis.errors import EmbeddedServerError

CONFIGURATION: Final = "edge-redis.conf"
LOG: Final = "server.log"
PASSWORD_FILE: Final = "edge-redis.password"  # noqa: S105 -- the name of a file
_LOCK: Final = "edge-redis.lock"
_PREFIX: Final = "edge-redis-"
_PASSWORD_BYTES: Final = 24
_MAX_PASSWORD_BYTES: Final = 200
_PASSWORD_TEXT: Final = re.compile(r"[\w-]{32,}", re.ASCII)
_TAIL_BYTES: Final = 2_000
_LOOK_SECONDS: Final = 0.01


def open_private(path: Path) -> BinaryIO:
    """Open a file to append to, made for this user alone; a symbolic link is refused."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")


def _refuse_unsafe(path: Path) -> None:
    """Refuse a folder in which other users could replace files, or have placed links to files of this user."""
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise EmbeddedServerError(f"data_dir {path} belongs to another user (uid {found.st_uid})")
    if found.st_mode & stat.S_IWOTH:
        raise EmbeddedServerError(f"data_dir {path} can be written by every user: chmod o-w")
    for entry in path.iterdir():
        if entry.is_symlink() and entry.name != CONFIGURATION:  # the server's configuration is replaced, not followed
            raise EmbeddedServerError(f"data_dir {path} has a symbolic link, {entry.name}: remove it")


def _read_password(path: Path) -> str:
    """Return the password in a file that no other user could read or write; empty where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        text = file.read(_MAX_PASSWORD_BYTES).decode("ascii", "replace")
    is_safe = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return text if is_safe and _PASSWORD_TEXT.fullmatch(text) else ""


class Folder:
    """A data folder with a lock: two servers in one folder would destroy each other's append-only file."""

    def __init__(self, path: str | Path | None, wait: float) -> None:
        """Make ``path`` where needed (None: a private folder) and wait ``wait`` seconds for it to be free.

        Raises:
            InvalidTypeError: ``path`` is neither str nor Path.
            EmbeddedServerError: it cannot be made, written, or is in use.
        """
        self._lock: BinaryIO | None = None
        self._seen = 0
        self._has_password = False
        self.is_private = False
        if not isinstance(path, (str, Path, type(None))):
            raise validation.type_error("data_dir", path, "a str, a Path or None")
        try:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX) if path is None else path).absolute()
            self.is_private = path is None
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_unsafe(self.path)
            self._lock = open_private(self.path / _LOCK)
            open_private(self.log).close()
        except (OSError, ValueError) as error:
            raise EmbeddedServerError(f"data_dir {path} cannot be used: {error}") from error
        if not self._is_locked_within(wait):
            raise EmbeddedServerError(f"data_dir {self.path} is in use by another embedded server")
        self.mark()

    def __del__(self) -> None:
        self.close()

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.path / LOG

    @property
    def configuration(self) -> Path:
        """The server's configuration file."""
        return self.path / CONFIGURATION

    @property
    def lock_descriptor(self) -> int:
        """Descriptor of the lock. Watchdog and server keep it open, so that the folder stays locked until both end."""
        return self._lock.fileno() if self._lock else -1

    @property
    def password_file(self) -> Path | None:
        """File of the random password, if this folder's server has one."""
        return self.path / PASSWORD_FILE if self._has_password else None

    def create_password(self) -> str:
        """Return the password in the folder's file; make one if there is none, or if other users could read it.

        Raises:
            EmbeddedServerError: it cannot be written.
        """
        path = self.path / PASSWORD_FILE
        self._has_password = True
        try:
            password = _read_password(path)
            if not password:
                path.unlink(missing_ok=True)
                password = secrets.token_urlsafe(_PASSWORD_BYTES)
                with open_private(path) as file:
                    file.write(password.encode())
        except OSError as error:
            raise EmbeddedServerError(f"{path} cannot be used: {error.strerror}") from error
        return password

    def mark(self) -> None:
        """Make ``log_tail`` begin at the present end of the log."""
        self._seen = self.log.stat().st_size if self.log.exists() else 0

    def log_tail(self) -> str:
        """Return the last lines of the log since the mark."""
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._seen, size - _TAIL_BYTES))
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def is_left_within(self, seconds: float) -> bool:
        """Release the folder; return whether no server uses it any more within ``seconds``."""
        self._unlock()
        try:
            self._lock = (self.path / _LOCK).open("r+b")
        except OSError:  # removed by the watchdog, as its last step
            return True
        return self._is_locked_within(seconds)

    def hand_over(self) -> None:
        """Leave the folder, and the removal of a private one, to others: the watchdog, or the parent of this fork."""
        self.is_private = False
        self._unlock()

    def close(self) -> None:
        """Release the folder, and remove a private one. A server that still runs in it keeps it locked."""
        self._unlock()
        if self.is_private:
            shutil.rmtree(self.path, ignore_errors=True)

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _is_locked_within(self, seconds: float) -> bool:
        assert self._lock is not None
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > end:
                    return False
                time.sleep(_LOOK_SECONDS)
            else:
                return True
